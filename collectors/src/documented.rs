//! Compares docs/charts.md with the charts that the code defines.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Every context named in a chart's definition below `dir`.
fn defined(dir: &Path, contexts: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "fuzz" {
            // Its charts are made to be broken.
        } else if path.is_dir() {
            defined(&path, contexts);
        } else if name.ends_with(".rs") && !name.contains("test") {
            let text = fs::read_to_string(&path).unwrap();
            let named = text
                .split("context: \"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next());
            contexts.extend(named.filter(|name| name.contains('.')).map(str::to_owned));
        }
    }
}

#[test]
fn every_chart_has_a_row_in_the_docs_and_every_row_a_chart() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut contexts = BTreeSet::new();
    defined(&root.join("src"), &mut contexts);
    defined(&root.join("core/src"), &mut contexts);
    contexts.extend(crate::prometheus_job::contexts());
    let page = fs::read_to_string(root.join("../docs/charts.md")).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let rows: BTreeSet<_> = rows
        .filter(|name| name.contains('.'))
        .map(str::to_owned)
        .collect();
    let only = |left: &BTreeSet<String>, right| left.difference(right).cloned().collect::<Vec<_>>();
    assert_eq!(only(&contexts, &rows), [""; 0], "charts without a row");
    assert_eq!(only(&rows, &contexts), [""; 0], "rows without a chart");
}
