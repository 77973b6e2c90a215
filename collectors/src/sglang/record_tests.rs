use std::time::Instant;

use netdata_plugin::frame::Recorded;

use super::super::scrape::Reader;
use super::*;
use crate::engine::{Identity, identify};
use crate::fixtures;

const EVERY: Duration = Duration::from_secs(5);

fn server(host: &str, port: u16) -> Server {
    let line = format!("python\0-m\0sglang.launch_server\0--host\0{host}\0--port\0{port}\0");
    match identify(line.as_bytes()) {
        Some(Identity::Server(server)) => *server,
        other => panic!("{other:?}"),
    }
}

/// A server whose pages come at given seconds.
struct Played {
    start: Instant,
    history: History,
    reader: Reader,
    snapshot: Snapshot,
    instances: Instances,
    server: Server,
    slo: Slo,
}

impl Played {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            history: History::new(Duration::from_secs(60)),
            reader: Reader::default(),
            snapshot: Snapshot::default(),
            instances: Instances::default(),
            server: server("127.0.0.1", 30000),
            slo: Slo {
                ttft_ms: Some(450.0),
                e2e_ms: Some(4000.0),
                ..Slo::default()
            },
        }
    }

    fn page(&mut self, second: u64, page: impl AsRef<[u8]>) -> Frame {
        let now = self.start + Duration::from_secs(second);
        let History {
            readings, unlisted, ..
        } = &mut self.history;
        self.reader
            .read(page.as_ref(), &mut self.snapshot, readings, unlisted);
        self.history.take(&self.snapshot, now);
        self.history.spend(&self.slo, now);
        let reading = Reading {
            server: &self.server,
            state: State::Ready,
            page: Some(Page {
                snapshot: &self.snapshot,
                history: &self.history,
                slo: self.slo,
                fresh: self.history.activity.fresh(now, EVERY),
                at: now,
                took: Duration::from_millis(12),
                every: EVERY,
            }),
        };
        let mut frame = Frame::default();
        record(&reading, &mut self.instances, &mut frame);
        frame
    }

    fn capture(&mut self, version: &str) -> Frame {
        self.page(0, fixtures::page(version, "load_t0"));
        self.page(10, fixtures::page(version, "load_t10"))
    }
}

/// A chart of the server as a whole.
fn of_server<'a>(frame: &'a Frame, chart: &str) -> Option<Recorded<'a>> {
    let mut charts = frame.charts();
    charts.find(|it| it.chart().id == chart && it.instance().prefix.is_empty())
}

/// The value of a dimension, whatever the chart's labels.
fn value(frame: &Frame, chart: &str, dim: &str) -> Option<f64> {
    of_server(frame, chart)?
        .values()
        .find(|(name, _)| *name == dim)?
        .1
}

fn label(frame: &Frame, chart: &str, key: &str) -> Option<String> {
    let recorded = of_server(frame, chart)?;
    let labels = &recorded.instance().labels;
    let label = labels.iter().find(|label| label.key == key)?;
    Some(label.value.clone())
}

/// Plain arithmetic on the text of the two pages, 10 s apart: what the samples gained in a second.
fn gained(version: &str, parts: &[&str]) -> f64 {
    let sum = |moment| -> f64 {
        let page = String::from_utf8(fixtures::page(version, moment)).unwrap();
        page.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    (sum("load_t10") - sum("load_t0")) / 10.0
}

fn assert_near(value: Option<f64>, expected: f64, what: &str) {
    let value = value.unwrap_or_else(|| panic!("{what} is a gap"));
    assert!(
        (value - expected).abs() <= 1e-6 * expected.abs(),
        "{what}: {value} instead of {expected}"
    );
}

#[test]
fn tokens_of_every_version_are_the_gain_of_its_counters() {
    for version in fixtures::VERSIONS {
        let frame = Played::new().capture(version);
        let decode = value(&frame, "token_throughput", "decode");
        let cached = value(&frame, "token_throughput", "prefill_cache");
        let computed = value(&frame, "token_throughput", "prefill_compute");
        let counters = label(&frame, "token_throughput", "counters");
        if version == "0.4.6.post5" {
            let prompt = gained(version, &["sglang:prompt_tokens_total{"]);
            let hit = gained(version, &["sglang:cached_tokens_total{"]);
            let generated = gained(version, &["sglang:generation_tokens_total{"]);
            assert_near(decode, generated, version);
            assert_near(cached, hit, version);
            assert_near(computed, prompt - hit, version);
            assert_eq!(counters.as_deref(), Some("finished"));
        } else {
            let mode = |mode| {
                let mode = format!("mode=\"{mode}\"");
                gained(version, &["sglang:realtime_tokens_total{", &mode])
            };
            assert_near(decode, mode("decode"), version);
            assert_near(cached, mode("prefill_cache"), version);
            assert_near(computed, mode("prefill_compute"), version);
            assert_eq!(counters.as_deref(), Some("realtime"));
        }
    }
}

#[test]
fn kv_usage_is_exact_where_tokens_are_known_and_the_gauge_elsewhere() {
    for (version, expected) in [
        ("0.4.6.post5", 13.0),
        ("0.5.12", 27.425),
        ("0.5.23", 19.705),
        ("0.5.23-dp2-auth", 7.8275),
    ] {
        let frame = Played::new().capture(version);
        assert_near(value(&frame, "kv_cache_usage", "usage"), expected, version);
    }
    let second_pool = "sglang:token_usage 0.9\nsglang:swa_token_usage 0.9\n\
        sglang:num_used_tokens 1\nsglang:max_total_num_tokens 10\n";
    let frame = Played::new().page(0, second_pool);
    assert_near(value(&frame, "kv_cache_usage", "usage"), 90.0, "two pools");
}

#[test]
fn requests_add_up_over_data_parallel_ranks() {
    let frame = Played::new().capture("0.5.23-dp2-auth");
    assert_eq!(value(&frame, "requests_in_flight", "running"), Some(7.0));
    assert_eq!(value(&frame, "requests_in_flight", "queued"), Some(0.0));
}

#[test]
fn observations_and_distribution_are_what_the_window_gained() {
    let version = "0.5.23";
    let frame = Played::new().capture(version);
    let count = gained(
        version,
        &[
            "sglang:time_to_first_token_seconds_count{",
            "is_streaming=\"true\"",
        ],
    );
    let in_window = value(&frame, "time_to_first_token_observations", "in_window");
    assert_near(in_window, count * 10.0, "in_window");
    let chart = frame
        .charts()
        .find(|chart| chart.chart().id == "time_to_first_token_distribution")
        .unwrap();
    let total = chart.values().filter_map(|(_, rate)| rate).sum();
    assert_near(Some(total), count, "the distribution's sum");
    assert!(chart.values().any(|(name, _)| name == "+Inf"));
}

#[test]
fn a_latency_says_when_it_includes_requests_that_do_not_stream() {
    let of = |version| {
        let frame = Played::new().capture(version);
        label(&frame, "time_to_first_token", "includes_nonstreaming")
    };
    assert_eq!(of("0.5.12").as_deref(), Some("yes"));
    assert_eq!(of("0.5.23"), None);
}

#[test]
fn the_first_page_has_gauges_and_no_rates() {
    let frame = Played::new().page(0, fixtures::page("0.5.23", "load_t0"));
    assert_eq!(value(&frame, "requests_in_flight", "running"), Some(13.0));
    assert_eq!(value(&frame, "scrape", "duration"), Some(12.0));
    assert_eq!(value(&frame, "scrape_interval", "interval"), Some(5.0));
    for (chart, dim) in [
        ("token_throughput", "decode"),
        ("time_to_first_token", "p50"),
        ("time_to_first_token_observations", "in_window"),
    ] {
        assert_eq!(value(&frame, chart, dim), None, "{chart}");
    }
}

#[test]
fn a_restarted_server_is_a_gap_and_never_a_spike() {
    let mut played = Played::new();
    played.capture("0.5.23");
    let frame = played.page(15, fixtures::page("0.5.23", "idle"));
    assert_eq!(value(&frame, "token_throughput", "decode"), None);
    assert_eq!(value(&frame, "e2e_latency", "p50"), None);
}

#[test]
fn gauges_that_nothing_moves_become_gaps_unless_they_are_zero() {
    let page = "sglang:num_running_reqs 1\nsglang:num_queue_reqs 0\nsglang:token_usage 0.4\n";
    let mut played = Played::new();
    let frame = played.page(0, page);
    assert_eq!(value(&frame, "requests_in_flight", "running"), Some(1.0));
    let frame = played.page(60, page);
    assert_eq!(value(&frame, "requests_in_flight", "running"), None);
    assert_eq!(value(&frame, "requests_in_flight", "queued"), Some(0.0));
    assert_eq!(value(&frame, "kv_cache_usage", "usage"), None);
}

#[test]
fn a_server_without_metrics_has_its_state_and_nothing_else() {
    let (server, mut frame) = (server("0.0.0.0", 30001), Frame::default());
    let reading = Reading {
        server: &server,
        state: State::NoMetrics,
        page: None,
    };
    record(&reading, &mut Instances::default(), &mut frame);
    let expected = "sglang_30001.server_state\n  starting = 0\n  ready = 0\n  no_metrics = 1\n  \
        stalled = 0\n  unreachable = 0\n";
    assert_eq!(frame.to_string(), expected);
}

/// The quantile, in milliseconds, of what the text of the two pages gained by bucket.
fn quantile_ms(version: &str, q: f64, histogram: &str, parts: &[&str]) -> f64 {
    let name = format!("sglang:{histogram}_bucket{{");
    let page = String::from_utf8(fixtures::page(version, "load_t10")).unwrap();
    let mut bounds: Vec<f64> = page
        .lines()
        .filter(|line| line.starts_with(&name))
        .map(|line| line.split("le=\"").nth(1).unwrap())
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let at_or_under = |bound: f64| {
        // As the page writes it: "0.1", "1.0", "+Inf".
        let le = if bound.is_infinite() {
            "le=\"+Inf\"".to_owned()
        } else {
            format!("le=\"{bound:?}\"")
        };
        gained(version, &[&[name.as_str(), &le], parts].concat())
    };
    let rank = q * at_or_under(f64::INFINITY);
    let at = bounds.iter().position(|bound| at_or_under(*bound) >= rank);
    let at = at.unwrap();
    let (lower, below) = match at {
        0 => (0.0, 0.0),
        _ => (bounds[at - 1], at_or_under(bounds[at - 1])),
    };
    let share = (rank - below) / (at_or_under(bounds[at]) - below);
    1000.0 * (lower + (bounds[at] - lower) * share)
}

#[test]
fn percentiles_and_averages_are_those_of_the_two_pages() {
    let streaming = "is_streaming=\"true\"";
    for version in fixtures::VERSIONS {
        let frame = Played::new().capture(version);
        for (chart, histogram, split) in [
            ("time_to_first_token", "time_to_first_token_seconds", true),
            ("e2e_latency", "e2e_request_latency_seconds", false),
        ] {
            let parts = if split && version.starts_with("0.5.23") {
                &[streaming][..]
            } else {
                &[]
            };
            let part = |suffix: &str| {
                let name = format!("sglang:{histogram}_{suffix}{{");
                gained(version, &[&[name.as_str()], parts].concat())
            };
            let average = 1000.0 * part("sum") / part("count");
            let what = format!("{version} {chart}");
            assert_near(value(&frame, chart, "average"), average, &what);
            for (dim, q) in [("p50", 0.5), ("p90", 0.9)] {
                let expected = quantile_ms(version, q, histogram, parts);
                assert_near(value(&frame, chart, dim), expected, &what);
            }
        }
    }
}

#[test]
fn attainment_is_the_share_of_requests_under_the_nearest_bucket_bound() {
    for version in fixtures::VERSIONS {
        let frame = Played::new().capture(version);
        let streaming = if version.starts_with("0.5.23") {
            "is_streaming=\"true\""
        } else {
            ""
        };
        for (dim, histogram, le, split) in [
            ("ttft", "time_to_first_token_seconds", "0.4", streaming),
            ("e2e", "e2e_request_latency_seconds", "4.0", ""),
        ] {
            let at_or_under = |le: &str| {
                let (name, le) = (format!(":{histogram}_bucket{{"), format!("le=\"{le}\""));
                gained(version, &[&name, &le, split])
            };
            let expected = 100.0 * at_or_under(le) / at_or_under("+Inf");
            assert_near(value(&frame, "slo_attainment", dim), expected, version);
        }
        for dim in ["ttft", "e2e"] {
            // Both windows hold the same two pages, and 1 % may miss.
            let missed = 100.0 - value(&frame, "slo_attainment", dim).unwrap();
            assert_near(value(&frame, "slo_burn_rate", dim), missed, version);
        }
        assert_eq!(value(&frame, "slo_attainment", "itl"), None);
        assert_eq!(value(&frame, "slo_burn_rate", "itl"), None);
        let edge = label(&frame, "slo_attainment", "ttft_edge_ms");
        assert_eq!(edge.as_deref(), Some("400"));
    }
}

#[test]
fn without_thresholds_there_is_no_attainment() {
    let mut played = Played::new();
    played.slo = Slo::default();
    let frame = played.capture("0.5.23");
    let mut charts = frame.charts();
    let chart = charts.find(|chart| chart.chart().id == "slo_attainment");
    assert!(chart.is_none_or(|chart| chart.values().all(|(_, value)| value.is_none())));
}

#[path = "record_synthetic_tests.rs"]
mod synthetic;
#[path = "record_table_tests.rs"]
mod table;
#[path = "record_versions_tests.rs"]
mod versions;
