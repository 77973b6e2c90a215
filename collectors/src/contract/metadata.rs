//! metadata.yaml of each module. What comes after the marker is written from the code; `UPDATE=1 cargo test
//! metadata` writes it anew.

use std::fmt::Write as _;

use super::charts::{Definition, defined};
use super::{directory, read};
use crate::modules::MODULES;

/// The line after which the file is written from the code.
const MARKER: &str = "# Written from the code from here on, by `UPDATE=1 cargo test metadata`.\n";

fn render(charts: impl Iterator<Item = Definition>) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let mut out = String::new();
    for chart in charts {
        let Definition {
            context,
            title,
            units,
            kind,
            dims,
            dynamic,
        } = chart;
        let (title, units) = (quoted(&title), quoted(&units));
        let _ = write!(
            out,
            "            - name: {context}\n              description: {title}\n              unit: {units}\n              \
             chart_type: {kind}\n              dimensions:\n"
        );
        for dim in dims {
            let _ = writeln!(out, "                - name: {dim}");
        }
        if dynamic {
            out.push_str("                - name: a dimension for each that was seen\n");
        }
    }
    out
}

#[test]
fn every_chart_and_dimension_of_the_code_is_in_metadata_and_nothing_else() {
    for module in MODULES {
        let dir = directory(module.name);
        let path = dir.join("metadata.yaml");
        let text = read(&path);
        let (head, listed) = text
            .split_once(MARKER)
            .expect("metadata.yaml has the marker");
        let charts = render(defined(&dir).into_values());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, format!("{head}{MARKER}{charts}")).unwrap();
        } else {
            assert_eq!(listed, charts, "{}", path.display());
        }
        assert!(head.contains(&format!("module_name: {}\n", module.name)));
        // Where go.d has it: the whole is YAML.
        crate::config::to_json(&text).expect("metadata.yaml is YAML");
    }
}
