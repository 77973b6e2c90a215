//! Every metric of 22 versions, one at a time, on pages made for it: it is on a chart, or left out on purpose.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::*;
use crate::sglang::unlisted::{MAX_METRICS, is_known};

/// Values of labels that decide what a sample is for; any other value is like the next one.
const VALUES: &[(&str, &[&str])] = &[
    (
        "mode",
        &["decode", "prefill_compute", "input", "device_hit"],
    ),
    ("kind", &["scheduled", "imbalance"]),
    ("rank_state", &["active"]),
    ("phase", &["load_weight"]),
    ("component", &["tokenizer"]),
    ("endpoint", &["/generate"]),
    ("method", &["POST"]),
    ("status_code", &["200"]),
    ("is_streaming", &["true"]),
];

/// The label sets of a metric's samples, in braces.
fn label_sets(labels: &str) -> Vec<String> {
    let mut sets = vec![String::from("{model_name=\"m\",tp_rank=\"0\"")];
    for label in labels.split(',').filter(|label| !label.is_empty()) {
        let known = VALUES.iter().find(|(name, _)| *name == label);
        let values = known.map_or(&["some"][..], |(_, values)| values);
        let with = |set: &String| {
            values
                .iter()
                .map(|it| format!("{set},{label}=\"{it}\""))
                .collect::<Vec<_>>()
        };
        sets = sets.iter().flat_map(with).collect();
    }
    sets
}

/// What a server shows of a metric at the `n`th time.
fn samples(name: &str, kind: &str, labels: &str, n: u32) -> String {
    let mut page = String::new();
    // The client library gives counters this ending on every page.
    let name = match kind {
        "Counter" if !name.ends_with("_total") => format!("{name}_total"),
        _ => name.to_owned(),
    };
    let _ = writeln!(page, "# TYPE {name} {}", kind.to_lowercase());
    for set in label_sets(labels) {
        let _ = match kind {
            "Histogram" => writeln!(
                page,
                "{name}_bucket{set},le=\"1.0\"}} {0}\n{name}_bucket{set},le=\"+Inf\"}} {0}\n{name}_count{set}}} {0}\n\
                 {name}_sum{set}}} {1}",
                200 * n,
                70 * n
            ),
            "Summary" => writeln!(
                page,
                "{name}_count{set}}} {}\n{name}_sum{set}}} {}",
                10 * n,
                7 * n
            ),
            "GaugeHistogram" => writeln!(page, "{name}{set},gt=\"0\",le=\"1\"}} {n}"),
            _ => writeln!(page, "{name}{set}}} {}", 30 * n),
        };
    }
    page
}

/// Everything that two pages of a server have on charts.
fn charted(page: impl Fn(u32) -> String) -> BTreeSet<String> {
    let mut played = Played::new();
    played.page(0, page(1));
    let frame = played.page(10, page(2));
    let mut charted = BTreeSet::new();
    for chart in frame.charts() {
        for (dim, value) in chart.values().filter(|(_, value)| value.is_some()) {
            charted.insert(format!("{} {dim} {value:?}", chart.chart().id));
        }
    }
    charted
}

#[test]
fn every_metric_of_every_version_is_charted_or_left_out_on_purpose() {
    // What moves, so that gauges are believed.
    let around = [
        "sglang:num_running_reqs 3\n",
        "sglang:num_grammar_queue_reqs 0\n",
        "sglang:generation_tokens_total 100\n",
        "sglang:http_requests_total 100\n",
    ];
    let base = |without: &str, n: u32| {
        let lines = around
            .iter()
            .filter(|line| !line.starts_with(&format!("{without} ")));
        lines
            .map(|line| line.replace("100", &format!("{}", 100 * n)))
            .collect::<String>()
    };
    let rows = fixtures::metrics_of_all_versions();
    assert!(rows.len() > 170, "{} metrics", rows.len());
    let mut missing = vec![];
    for [name, first, last, kind, labels] in &rows {
        let with = charted(|n| base(name, n) + &samples(name, kind, labels, n));
        let without = charted(|n| base(name, n));
        let on_purpose = is_known(name.strip_prefix("sglang:").unwrap());
        if with.is_subset(&without) != on_purpose {
            missing.push(format!(
                "{name} ({kind}, {first} to {last}), left out on purpose: {on_purpose}"
            ));
        }
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn a_server_that_uses_everything_leaves_room_for_versions_to_come() {
    let rows = fixtures::metrics_of_all_versions();
    let page = |n: u32| -> String {
        let rows = rows.iter().filter(|[_, _, last, ..]| last == "0.5.23");
        rows.map(|[name, _, _, kind, labels]| samples(name, kind, labels, n))
            .collect()
    };
    let (mut played, mut frame) = (Played::new(), Frame::default());
    for n in 1..=2 {
        frame = played.page(u64::from(10 * n), page(n));
    }
    let other = frame
        .charts()
        .filter(|it| it.chart().family == "other metrics")
        .count();
    assert!(
        (30..=MAX_METRICS / 2).contains(&other),
        "{other} metrics without a chart of their own"
    );
}
