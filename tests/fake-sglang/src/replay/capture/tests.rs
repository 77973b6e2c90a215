//! Pages of real captures, replayed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::load::{Load, Progress, Wave};
use super::*;

const VERSIONS: [&str; 4] = ["0.4.6.post5", "0.5.12", "0.5.23", "0.5.23-dp2-auth"];

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/sglang")
        .join(version)
}

fn file(version: &str, page: &str) -> String {
    fs::read_to_string(folder(version).join(format!("metrics_{page}.txt"))).unwrap()
}

fn load(version: &str, model: Option<&str>) -> Capture {
    Capture::load(&folder(version), model, &[]).unwrap()
}

fn after(intervals: f64) -> Moment {
    let progress = Progress {
        fast: intervals,
        slow: 0.0,
        late: 0.0,
    };
    Moment {
        progress,
        prefill_since: None,
        swing: None,
        from_zero: false,
        unrounded: false,
    }
}

fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|l| l.rsplit_once(' ').unwrap())
        .map(|(h, v)| (h.into(), v.parse().unwrap()))
        .collect()
}

#[test]
fn frozen_pages_are_the_captured_ones_to_the_byte() {
    for version in VERSIONS {
        let capture = load(version, None);
        for (page, name) in [
            (Page::Idle, "idle"),
            (Page::T0, "load_t0"),
            (Page::T10, "load_t10"),
            (Page::After, "after"),
        ] {
            let shown = capture.render(page, &after(3.0), |_| false, |_| None);
            assert!(shown == file(version, name), "{version} {name}");
        }
    }
}

#[test]
fn the_live_page_starts_at_t0_and_has_the_counters_of_t10_after_ten_seconds() {
    for version in VERSIONS {
        let capture = load(version, None);
        let start = capture.render(Page::Live, &after(0.0), |_| false, |_| None);
        assert!(start == file(version, "load_t0"), "{version}");
        let end = samples(&capture.render(Page::Live, &after(1.0), |_| false, |_| None));
        let swung = Moment {
            prefill_since: None,
            swing: Some(1.0),
            ..after(1.0)
        };
        let swung = samples(&capture.render(Page::Live, &swung, |_| false, |_| None));
        for (head, captured) in samples(&file(version, "load_t10")) {
            if captured.is_nan() {
                continue;
            }
            assert!(
                (swung[&head] - captured).abs() < 1e-6 * captured.abs().max(1.0),
                "{head}"
            );
            if head.contains("_total{") || head.contains("_bucket{") {
                assert!(
                    (end[&head] - captured).abs() < 1e-6 * captured.max(1.0),
                    "{head}"
                );
            }
        }
    }
}

#[test]
fn replayed_histograms_stay_consistent_under_any_load() {
    for version in VERSIONS {
        let capture = load(version, None);
        for (wave, growth) in [(Wave::Flat, 20.0), (Wave::Wave, 7.3)] {
            let load = Load::new(wave, growth);
            for second in [0.0, 0.7, 13.1, 100.9, 86_400.5] {
                let moment = Moment {
                    progress: load.progress(second),
                    ..after(0.0)
                };
                let page = capture.render(Page::Live, &moment, |_| false, |_| None);
                assert_consistent(&page, version);
            }
        }
    }
}

/// Relies on captures listing the buckets of a histogram in order, `_count` right behind them.
fn assert_consistent(page: &str, version: &str) {
    let (mut last, mut histogram) = (0.0, false);
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# TYPE ") {
            histogram = comment.ends_with(" histogram");
            continue;
        }
        let sample = histogram && !line.starts_with('#');
        let Some((head, value)) = line.rsplit_once(' ').filter(|_| sample) else {
            continue;
        };
        let value: f64 = value.parse().unwrap();
        if head.contains("_bucket{") {
            assert!(
                value >= last && value.fract() == 0.0,
                "{version}: {line} after {last}"
            );
            last = value;
        } else {
            if head.contains("_count{") || head.ends_with("_count") {
                assert_eq!(value, last, "{version}: {line}");
            }
            last = 0.0;
        }
    }
}

#[test]
fn another_model_name_replaces_the_captured_one_everywhere() {
    let capture = load("0.5.23", Some("meta \"Llama\" (replayed)"));
    for page in [Page::Live, Page::Idle, Page::After] {
        let text = capture.render(page, &after(0.0), |_| false, |_| None);
        assert!(text.contains(r#"model_name="meta \"Llama\" (replayed)""#));
        assert!(!text.contains("tiny-llama"));
    }
    assert_eq!(load("0.5.23", None).model, "tiny-llama");
}

#[test]
fn a_withheld_series_is_absent_and_an_empty_family_too() {
    let capture = load("0.5.23", None);
    let prefix = "sglang:realtime_tokens_total{engine_type=\"unified\",mode=\"decode\"";
    let text = capture.render(
        Page::Live,
        &after(0.0),
        |head| head.starts_with(prefix),
        |_| None,
    );
    assert!(!text.contains("mode=\"decode\""));
    assert!(text.contains("mode=\"prefill_cache\""));
    let text = capture.render(
        Page::T0,
        &after(0.0),
        |head| head.starts_with("sglang:token_usage"),
        |_| None,
    );
    assert!(!text.contains("sglang:token_usage"));
}

#[test]
fn a_gauge_range_moves_its_gauge_only() {
    let range: GaugeRange = "num_running_reqs=20:60".parse().unwrap();
    let capture = Capture::load(&folder("0.5.23"), None, &[range]).unwrap();
    let moment = Moment {
        prefill_since: None,
        swing: Some(0.5),
        ..after(0.0)
    };
    let shown = samples(&capture.render(Page::Live, &moment, |_| false, |_| None));
    let of = |name: &str| {
        *shown
            .iter()
            .find(|(head, _)| head.starts_with(name))
            .unwrap()
            .1
    };
    assert_eq!(of("sglang:num_running_reqs{"), 40.0);
    assert_eq!(of("sglang:max_total_num_tokens{"), 20_000.0);
    let unknown: GaugeRange = "no_such=1".parse().unwrap();
    assert!(Capture::load(&folder("0.5.23"), None, &[unknown]).is_err());
}

#[test]
fn what_only_t10_shows_joins_its_family_or_follows_at_the_end() {
    let t0 = parse("# TYPE a counter\na{x=\"1\"} 4.0\n", None).unwrap();
    let t10 = "# TYPE a counter\na{x=\"1\"} 5.0\na{x=\"2\"} 6.0\n# TYPE b counter\nb 2.0\n";
    let merged = merge(&t0, &parse(t10, None).unwrap());
    let heads: Vec<_> = merged
        .iter()
        .flat_map(|f| &f.series)
        .map(|s| s.head.as_str())
        .collect();
    assert_eq!(heads, ["a{x=\"1\"}", "a{x=\"2\"}", "b"]);
    assert_eq!(merged[0].series[1].text(&after(0.5)), "3.0");
    assert_eq!(merged[1].series[0].text(&after(2.0)), "4.0");
}

#[test]
fn a_page_that_is_none_is_refused_with_its_line() {
    let error = parse("# TYPE a counter\nnonsense\n", None).unwrap_err();
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn a_value_that_is_set_is_shown_on_every_page() {
    let capture = load("0.5.23", None);
    for page in [Page::Live, Page::After] {
        let set = |head: &str| head.starts_with("sglang:num_queue_reqs{").then_some(42.0);
        let page = samples(&capture.render(page, &after(3.0), |_| false, set));
        let queued = page
            .iter()
            .find(|(head, _)| head.starts_with("sglang:num_queue_reqs{"));
        assert_eq!(queued.unwrap().1, &42.0);
    }
}

#[test]
fn in_a_long_prefill_only_computed_prompt_tokens_move() {
    let capture = load("0.5.23", None);
    let moment = Moment {
        prefill_since: Some(after(1.0).progress),
        ..after(5.0)
    };
    let at = |moment| samples(&capture.render(Page::Live, moment, |_| false, |_| None));
    let (before, during) = (at(&after(1.0)), at(&moment));
    let moved = before
        .iter()
        .filter(|(head, value)| during[*head] != **value && !value.is_nan());
    let moved: Vec<_> = moved.map(|(head, _)| head).collect();
    assert!(!moved.is_empty());
    assert!(
        moved
            .iter()
            .all(|head| head.contains("mode=\"prefill_compute\"")),
        "{moved:?}"
    );
}
