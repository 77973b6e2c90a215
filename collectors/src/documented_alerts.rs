//! Compares the stock alerts with docs/charts.md and docs/alerts.md: what an alert names exists, and what it
//! does is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Variables of Netdata's own, and those that charts send from configuration.
const VARIABLES: [&str; 7] = [
    "this",
    "status",
    "now",
    "last_collected_t",
    "WARNING",
    "CRITICAL",
    "held_idle_after",
];
/// Keys that every alert must have.
const KEYS: [&str; 9] = [
    "on",
    "class",
    "type",
    "component",
    "units",
    "every",
    "summary",
    "info",
    "to",
];

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// Definitions of all alerts, by name: keys and values, lines that continue joined.
fn alerts() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut alerts = BTreeMap::<String, BTreeMap<String, String>>::new();
    let mut files = 0;
    for entry in fs::read_dir(file("conf.d/health.d")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        files += 1;
        let mut name = String::new();
        let joined = text.replace("\\\n", " ");
        for line in joined.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.split_once(':') else {
                assert_eq!(line.trim(), "", "no key");
                continue;
            };
            let (key, value) = (key.trim(), value.trim());
            if key == "template" {
                value.clone_into(&mut name);
            }
            let alert = alerts.entry(name.clone()).or_default();
            let before = alert.insert(key.to_owned(), value.to_owned());
            assert_eq!(before, None, "{name}: {key} twice");
        }
    }
    assert!(files >= 3, "only {files} files");
    alerts
}

/// Dimensions of every chart, by context, as docs/charts.md has them.
fn charts() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(file("docs/charts.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let split = |row: &str| {
        let (context, rest) = row.split_once('`')?;
        let dims = rest.split('|').nth(2)?.split(',');
        Some((
            context.to_owned(),
            dims.map(|dim| dim.trim().to_owned()).collect(),
        ))
    };
    rows.filter_map(split).collect()
}

#[test]
fn every_alert_watches_a_chart_and_dimensions_that_exist() {
    let charts = charts();
    let variable = Regex::new(r"\$([a-zA-Z0-9_]+)").unwrap();
    let of = Regex::new(r" of ([a-z0-9_,]+)$").unwrap();
    for (name, alert) in alerts() {
        let dims = charts.get(&alert["on"]);
        let dims = dims.unwrap_or_else(|| panic!("{name}: no chart {}", alert["on"]));
        let mut named: Vec<&str> = vec![];
        for key in ["calc", "warn", "crit"] {
            let text = alert.get(key).map_or("", String::as_str);
            named.extend(
                variable
                    .captures_iter(text)
                    .map(|found| found.get(1).unwrap().as_str()),
            );
        }
        named.retain(|name| !VARIABLES.contains(name));
        if let Some(lookup) = alert.get("lookup") {
            let found = of
                .captures(lookup)
                .unwrap_or_else(|| panic!("{name}: {lookup}"));
            named.extend(found.get(1).unwrap().as_str().split(','));
        }
        for dim in named {
            assert!(dims.contains(dim), "{name}: {} has no {dim}", alert["on"]);
        }
    }
}

#[test]
fn every_alert_says_what_it_is_and_what_to_do_and_does_not_flap() {
    for (name, alert) in alerts() {
        for key in KEYS {
            assert!(
                alert.get(key).is_some_and(|value| !value.is_empty()),
                "{name}: no {key}"
            );
        }
        let text = format!("{alert:?}");
        assert!(
            text.contains("$status") || alert.contains_key("delay"),
            "{name} may flap"
        );
        assert!(
            alert.contains_key("warn") || alert.contains_key("crit"),
            "{name}"
        );
        assert!(
            matches!(alert["to"].as_str(), "sysadmin" | "silent"),
            "{name}"
        );
        assert!(
            alert["to"] != "silent" || !alert.contains_key("crit"),
            "{name}: silent and critical"
        );
    }
}

#[test]
fn the_page_of_alerts_has_each_under_what_it_does() {
    let page = fs::read_to_string(file("docs/alerts.md")).unwrap();
    let (pages, silent) = page.split_once("## These are shown, and silent").unwrap();
    let listed = |text: &str| -> BTreeSet<String> {
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let names = rows.flat_map(|row| row.split('|').next().unwrap().split(','));
        names
            .map(|name| name.trim().trim_matches('`').to_owned())
            .collect()
    };
    let to = |silent: bool| -> BTreeSet<String> {
        let of = alerts()
            .into_iter()
            .filter(|(_, alert)| (alert["to"] == "silent") == silent);
        of.map(|(name, _)| name).collect()
    };
    assert_eq!(listed(pages), to(false));
    assert_eq!(listed(silent), to(true));
}
