//! Pages in, frames out.

use std::collections::BTreeSet;

use netdata_plugin::chart::Kind;

use super::*;
use crate::fixtures;
use crate::prometheus::Lines;

const NOW_MS: i64 = 1_800_000_000_000;

/// A store and its clock.
struct Bench {
    store: Store,
    now: Instant,
}

impl Bench {
    fn new(max_series: usize) -> Self {
        Self::wanting(max_series, |_| true)
    }

    fn wanting(max_series: usize, wanted: impl Fn(&Sample<'_>) -> bool + Send + 'static) -> Self {
        let style = Style {
            job: "shop".to_owned(),
            app: None,
            dimensions: vec!["code".to_owned(), "state".to_owned()],
        };
        let window = Duration::from_secs(60);
        Self {
            store: Store::new(style, Box::new(wanted), max_series, window),
            now: Instant::now(),
        }
    }

    /// Takes `page`, 10 s after the one before.
    fn page(&mut self, page: impl AsRef<[u8]>) -> Frame {
        self.now += Duration::from_secs(10);
        self.store.begin();
        Lines::new(page.as_ref()).for_each(|line| self.store.take(line, NOW_MS));
        self.store.finish(self.now);
        let mut frame = Frame::default();
        self.store.record(&mut frame);
        frame
    }

    fn miss(&mut self) {
        self.now += Duration::from_secs(10);
        self.store.begin();
        self.store.miss(self.now);
    }
}

/// The value of `dim` in the chart `id`.
fn value(frame: &Frame, id: &str, dim: &str) -> Option<f64> {
    let mut found = frame.charts().filter(|it| {
        let instance = it.instance();
        format!("{}{}", it.chart().id, instance.suffix) == id
    });
    let recorded = found.next()?;
    let mut values = recorded.values();
    values.find(|(name, _)| *name == dim)?.1
}

fn ids(frame: &Frame) -> Vec<String> {
    let id = |it: netdata_plugin::frame::Recorded<'_>| {
        format!("{}{}", it.chart().id, it.instance().suffix)
    };
    frame.charts().map(id).collect()
}

#[test]
fn counters_are_rates_gauges_values_and_the_unit_scales() {
    let mut bench = Bench::new(100);
    let page = |jobs: f64| {
        format!(
            "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total {jobs}\n\
             # TYPE queue_depth gauge\nqueue_depth 7\n# TYPE hit_ratio gauge\nhit_ratio 0.25\n"
        )
    };
    let first = bench.page(page(100.0));
    assert_eq!(value(&first, "jobs_total", "jobs_total"), None);
    let second = bench.page(page(130.0));
    assert_eq!(value(&second, "jobs_total", "jobs_total"), Some(3.0));
    assert_eq!(value(&second, "queue_depth", "queue_depth"), Some(7.0));
    assert_eq!(value(&second, "hit_ratio", "hit_ratio"), Some(25.0));
    let chart = second.charts().next().unwrap();
    let chart = chart.chart();
    assert_eq!((chart.title, chart.units), ("Jobs done", "jobs/s"));
    assert_eq!(chart.context, "prometheus.shop.jobs_total");
    assert_eq!(chart.family, "jobs");
}

#[test]
fn labels_make_instances_and_some_of_them_lines() {
    let mut bench = Bench::new(100);
    let frame = bench.page(
        "# TYPE up gauge\n\
         up{zone=\"b\",host=\"x\",state=\"on\"} 1\nup{host=\"x\",state=\"off\",zone=\"b\"} 2\n\
         up{host=\"y\",zone=\"b\",state=\"on\"} 3\n",
    );
    assert_eq!(ids(&frame), ["up-host_x-zone_b", "up-host_y-zone_b"]);
    assert_eq!(value(&frame, "up-host_x-zone_b", "on"), Some(1.0));
    assert_eq!(value(&frame, "up-host_x-zone_b", "off"), Some(2.0));
    let charts: Vec<_> = frame.charts().collect();
    let labels: Vec<_> = charts[0]
        .instance()
        .labels
        .iter()
        .map(|label| (&*label.key, label.value.as_str()))
        .collect();
    assert_eq!(labels, [("host", "x"), ("zone", "b")]);
}

#[test]
fn labels_that_ids_cannot_tell_apart_still_make_two_charts() {
    let mut bench = Bench::new(100);
    let frame = bench.page("a{p=\"x/y\"} 1\na{p=\"x_y\"} 2\na:b 3\na_b 4\n");
    let found = ids(&frame);
    assert_eq!(found.len(), 4);
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 4, "{found:?}");
}

#[test]
fn a_histogram_has_percentiles_a_distribution_and_its_count() {
    let page = |low: u32, high: u32| {
        format!(
            "# TYPE t_seconds histogram\n\
             t_seconds_bucket{{le=\"0.1\"}} {low}\nt_seconds_bucket{{le=\"1\"}} {high}\n\
             t_seconds_bucket{{le=\"+Inf\"}} {high}\nt_seconds_sum {}\nt_seconds_count {high}\n",
            f64::from(low) * 0.05 + f64::from(high - low) * 0.5
        )
    };
    let mut bench = Bench::new(100);
    bench.page(page(100, 100));
    let frame = bench.page(page(150, 200));
    assert_eq!(value(&frame, "t_seconds", "p50"), Some(0.1));
    let p90 = value(&frame, "t_seconds", "p90").unwrap();
    assert!((p90 - 0.82).abs() < 1e-9, "{p90}");
    assert_eq!(value(&frame, "t_seconds", "average"), Some(0.275));
    assert_eq!(value(&frame, "t_seconds_distribution", "0.1"), Some(5.0));
    assert_eq!(value(&frame, "t_seconds_distribution", "1"), Some(5.0));
    assert_eq!(
        value(&frame, "t_seconds_observations", "in_window"),
        Some(100.0)
    );
    assert!(
        !ids(&frame).contains(&"t_seconds_volume".to_owned()),
        "a sum of times"
    );
}

#[test]
fn a_page_without_types_has_histograms_summaries_and_counters_all_the_same() {
    let page = |n: u32| {
        format!(
            "h_bucket{{le=\"5\"}} {n}\nh_bucket{{le=\"9\"}} {n}\nh_sum {n}\nh_count {n}\n\
             s{{quantile=\"0.5\"}} 3\ns{{quantile=\"0.999\"}} NaN\ns_sum {n}\ns_count {n}\n\
             c_total {n}\ng {n}\n"
        )
    };
    let mut bench = Bench::new(100);
    bench.page(page(10));
    let frame = bench.page(page(30));
    assert_eq!(value(&frame, "h_distribution", "5"), Some(2.0));
    assert_eq!(value(&frame, "h_distribution", "+Inf"), Some(0.0));
    assert_eq!(value(&frame, "h_volume", "volume"), Some(2.0));
    assert_eq!(value(&frame, "s", "p50"), Some(3.0));
    assert_eq!(value(&frame, "s", "p99.9"), None);
    assert_eq!(value(&frame, "s", "average"), Some(1.0));
    assert_eq!(value(&frame, "s_observations", "observations"), Some(2.0));
    assert_eq!(value(&frame, "c_total", "c_total"), Some(2.0));
    assert_eq!(value(&frame, "g", "g"), Some(30.0));
}

#[test]
fn openmetrics_names_states_information_and_creation_times_are_understood() {
    let mut bench = Bench::new(100);
    let page = |n: u32| {
        format!(
            "# TYPE foo counter\n# HELP foo Things.\nfoo_total {n} # {{id=\"1\"}} 1\nfoo_created 1.7e9\n\
             # TYPE mode stateset\nmode{{mode=\"a\"}} 1\nmode{{mode=\"b\"}} 0\n\
             # TYPE build info\nbuild_info{{v=\"1\"}} 1\n# TYPE node_info gauge\nnode_info 1\n# EOF\n"
        )
    };
    bench.page(page(0));
    let frame = bench.page(page(50));
    assert_eq!(ids(&frame), ["foo_total", "mode"]);
    assert_eq!(value(&frame, "foo_total", "foo_total"), Some(5.0));
    assert_eq!(frame.charts().next().unwrap().chart().title, "Things");
    assert_eq!(value(&frame, "mode", "a"), Some(1.0));
}

#[test]
fn what_is_no_number_or_stale_is_a_gap() {
    let mut bench = Bench::new(100);
    let old = NOW_MS - STALE_AFTER_MS - 1;
    let frame = bench.page(format!("a NaN\nb +Inf\nc 5 {old}\nd 6 {NOW_MS}\n"));
    assert_eq!(value(&frame, "a", "a"), None);
    assert_eq!(value(&frame, "b", "b"), None);
    assert!(!ids(&frame).contains(&"c".to_owned()));
    assert_eq!(value(&frame, "d", "d"), Some(6.0));
}

#[test]
fn a_page_that_failed_makes_the_next_rate_a_gap() {
    let mut bench = Bench::new(100);
    bench.page("a_total 1\n");
    bench.page("a_total 11\n");
    bench.miss();
    let frame = bench.page("a_total 31\n");
    assert_eq!(value(&frame, "a_total", "a_total"), None);
    let frame = bench.page("a_total 41\n");
    assert_eq!(value(&frame, "a_total", "a_total"), Some(1.0));
}

#[test]
fn the_cap_holds_and_says_how_many_are_left_out() {
    let mut bench = Bench::new(10);
    let page: String = (0..50).map(|i| format!("a{{i=\"{i}\"}} {i}\n")).collect();
    for _ in 0..3 {
        let frame = bench.page(&page);
        assert_eq!((ids(&frame).len(), bench.store.dropped()), (10, 40));
    }
}

#[test]
fn a_histogram_that_does_not_fit_is_left_out_whole() {
    let mut page = "g1 1\ng2 2\n".to_owned();
    for le in 0..20 {
        page.push_str(&format!("h_bucket{{le=\"{le}\"}} 1\n"));
    }
    page.push_str("h_sum 1\nh_count 1\ng3 3\n");
    let mut bench = Bench::new(10);
    for _ in 0..25 {
        let frame = bench.page(&page);
        assert_eq!(ids(&frame), ["g1", "g2", "g3"]);
        assert_eq!((bench.store.charted(), bench.store.dropped()), (3, 22));
    }
}

#[test]
fn series_that_are_gone_make_room_for_others() {
    let mut bench = Bench::new(2);
    bench.page("a 1\nb 1\nc 1\n");
    assert_eq!((bench.store.charted(), bench.store.dropped()), (2, 1));
    for _ in 0..30 {
        bench.page("b 1\nc 1\n");
    }
    let frame = bench.page("b 1\nc 1\n");
    assert_eq!(ids(&frame).len(), 2);
    assert_eq!(bench.store.dropped(), 0);
}

#[test]
fn a_selector_is_asked_once_for_each_series() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let mut bench = Bench::wanting(100, move |sample| {
        counter.fetch_add(1, Ordering::Relaxed);
        sample.name != "b"
    });
    for _ in 0..5 {
        let frame = bench.page("a 1\nb 2\nc 3\n");
        assert_eq!(ids(&frame), ["a", "c"]);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert_eq!(bench.store.dropped(), 0);
}

#[test]
fn a_hostile_page_stays_within_bounds() {
    let mut bench = Bench::new(2000);
    for round in 0..3 {
        let mut page = String::new();
        for i in 0..150_000 {
            page.push_str(&format!("m{}{{l=\"{round}-{i}\"}} {i}\n", i % 500));
        }
        bench.page(&page);
        assert!(bench.store.series.len() <= MAX_REMEMBERED);
        assert!(bench.store.charted() <= 2000);
        assert!(bench.store.groups.len() <= 4000);
    }
    let long = format!(
        "a{{x=\"{}\"}} 1\n{} 1\n",
        "é".repeat(6000),
        "n".repeat(9000)
    );
    let frame = Bench::new(10).page(long);
    let recorded = frame.charts().next().unwrap();
    assert!(recorded.instance().labels[0].value.len() <= 200);
    assert_eq!(frame.charts().count(), 1);
}

#[test]
fn many_values_of_a_line_label_are_split_over_charts() {
    let page: String = (0..150)
        .map(|i| format!("r_total{{code=\"{i}\"}} 1\n"))
        .collect();
    let frame = Bench::new(1000).page(page);
    let lines: Vec<_> = frame.charts().map(|it| it.values().count()).collect();
    assert_eq!(lines, [64, 64, 22]);
    assert_eq!(ids(&frame).iter().collect::<BTreeSet<_>>().len(), 3);
}

fn engine(name: &str) -> (Frame, Store) {
    let mut bench = Bench::new(2000);
    bench.page(fixtures::engine_page(name, 0));
    let frame = bench.page(fixtures::engine_page(name, 10));
    (frame, bench.store)
}

#[test]
fn vllms_page_is_charted_by_its_profile_and_what_is_left_by_itself() {
    let (frame, store) = engine("vllm");
    let at = "-engine_0-model_name_example_Model_8B_Instruct";
    let get = |id: &str, dim: &str| value(&frame, &format!("vllm_{id}{at}"), dim);
    assert_eq!(get("requests_in_flight", "running"), Some(12.0));
    assert_eq!(get("requests_in_flight", "waiting"), Some(5.0));
    assert_eq!(get("requests_waiting", "deferred"), Some(1.0));
    assert_eq!(get("requests_finished", "stop"), Some(2.0));
    assert_eq!(get("token_throughput", "generation"), Some(910.0));
    assert_eq!(get("prompt_tokens", "local_cache_hit"), Some(800.0));
    assert_eq!(get("kv_cache_usage", "usage"), Some(42.1875));
    assert_eq!(get("engine_sleep_state", "awake"), Some(1.0));
    let ttft = get("time_to_first_token", "average").unwrap();
    assert!((ttft - 216.0).abs() < 1.0, "{ttft} ms");
    assert!(get("e2e_latency", "p50").is_some_and(|ms| (3_000.0..6_000.0).contains(&ms)));
    let cpu = value(
        &frame,
        "process_cpu_seconds_total",
        "process_cpu_seconds_total",
    );
    assert!(cpu.is_some_and(|cpu| (cpu - 0.45).abs() < 1e-9));
    let ids = ids(&frame);
    assert!(
        ids.iter()
            .all(|id| !id.contains("created") && !id.contains("_info"))
    );
    let contexts: Vec<_> = frame
        .charts()
        .map(|it| it.chart().context.to_owned())
        .collect();
    assert!(contexts.contains(&"prometheus.vllm.e2e_latency".to_owned()));
    assert!(contexts.contains(&"prometheus.shop.http_requests_total".to_owned()));
    assert_eq!(store.dropped(), 0);
}

#[test]
fn llama_cpps_page_is_charted_by_its_profile_whatever_it_calls_a_counter() {
    let (frame, _) = engine("llamacpp");
    let get = |id: &str, dim: &str| value(&frame, &format!("llamacpp_{id}"), dim);
    assert_eq!(get("requests_in_flight", "processing"), Some(2.0));
    assert_eq!(get("token_throughput", "prompt"), Some(120.0));
    assert_eq!(get("token_speed", "generation"), Some(75.25));
    assert_eq!(
        get("computing_time", "generation").map(f64::round),
        Some(60.0)
    );
    assert_eq!(get("busy_slots", "busy"), Some(1.8125));
    assert_eq!(get("longest_sequence", "tokens"), Some(4096.0));
    assert_eq!(get("kv_cache_usage", "usage"), Some(31.25));
    assert_eq!(frame.charts().count(), 9);
}

#[test]
fn tgis_page_fits_the_default_cap_and_its_tokens_come_from_sums() {
    let (frame, store) = engine("tgi");
    assert_eq!(store.dropped(), 0);
    let get = |id: &str, dim: &str| value(&frame, &format!("tgi_{id}"), dim);
    assert_eq!(get("requests_in_flight", "running"), Some(9.0));
    assert_eq!(get("requests", "received"), Some(3.0));
    assert_eq!(get("request_failures", "overloaded"), Some(1.0));
    assert_eq!(get("batch_inferences", "decode"), Some(48.0));
    assert_eq!(get("generated_tokens", "volume"), Some(288.0));
    let per_token = get("time_per_output_token", "average").unwrap();
    assert!((per_token - 28.8).abs() < 0.1, "{per_token} ms");
    assert!(value(&frame, "tgi_batch_forward_time-method_prefill", "average").is_some());
    let sizes = frame
        .charts()
        .find(|it| it.chart().id == "tgi_batch_size_distribution")
        .unwrap();
    let lines = sizes.values().count();
    assert!((20..=41).contains(&lines), "{lines} lines");
    assert_eq!(sizes.chart().kind, Kind::Heatmap);
}
