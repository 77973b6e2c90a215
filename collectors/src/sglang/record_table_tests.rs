//! The charts of every captured version, against plain arithmetic on the text of its pages.

use super::*;

/// Charts of a version that the one before does not have; each has a value under load.
const ADDED: &[(&str, &[&str])] = &[
    (
        "0.4.6.post5",
        &[
            "server_state",
            "requests_in_flight",
            "requests",
            "time_to_first_token",
            "time_to_first_token_distribution",
            "time_to_first_token_observations",
            "inter_token_latency",
            "inter_token_latency_distribution",
            "inter_token_latency_observations",
            "e2e_latency",
            "e2e_latency_distribution",
            "e2e_latency_observations",
            "slo_attainment",
            "slo_burn_rate",
            "token_throughput",
            "tokens_finished",
            "prefix_cache_hit_rate",
            "seconds_since_last_token",
            "kv_cache_tokens",
            "kv_cache_usage",
            "headroom",
            "spec_decode",
            "disaggregation_queues",
            "scrape",
            "scrape_interval",
            "scrape_share",
        ],
    ),
    (
        "0.5.12",
        &[
            "http_responses",
            "http_requests_active",
            "queue_time",
            "queue_time_distribution",
            "queue_time_observations",
            "stage_latency",
            "request_length",
            "retractions",
            "retracted_tokens",
            "evictions",
            "eviction_time",
            "pool_usage",
            "swa_tokens",
            "mamba_states",
            "routing_keys",
            "engine_cpu",
            "cuda_graph",
            "startup_time",
            "spec_accept_rate",
        ],
    ),
    (
        "0.5.23",
        &[
            "time_per_output_token",
            "time_per_output_token_distribution",
            "time_per_output_token_observations",
            "engine_time",
            "engine_memory",
            "dp_balance",
            "dp_steps",
        ],
    ),
    ("0.5.23-dp2-auth", &[]),
];

/// Nothing was evicted with two replicas: there is no time that it took.
const NOT_OF_TWO: &str = "eviction_time";

#[test]
fn every_version_has_every_chart_that_it_supports() {
    let mut supported = vec![];
    for (version, added) in ADDED {
        supported.extend(added.iter().copied());
        let frame = Played::new().capture(version);
        let charts = frame.charts().filter(|it| it.instance().prefix.is_empty());
        let mut charted: Vec<_> = charts
            .filter(|chart| chart.values().any(|(_, value)| value.is_some()))
            .map(|chart| chart.chart().id)
            .collect();
        let mut expected = supported.clone();
        if version.ends_with("dp2-auth") {
            expected.retain(|id| *id != NOT_OF_TWO);
        }
        charted.sort_unstable();
        expected.sort_unstable();
        assert_eq!(charted, expected, "{version}");
    }
}

/// A line, the series it is the gain of in a second, and the factor to its unit.
const RATES: &[(&str, &str, &[&str], f64)] = &[
    ("requests", "finished", &[":num_requests_total{"], 1.0),
    (
        "requests",
        "aborted",
        &[":num_aborted_requests_total{"],
        1.0,
    ),
    ("tokens_finished", "prompt", &[":prompt_tokens_total{"], 1.0),
    (
        "tokens_finished",
        "generation",
        &[":generation_tokens_total{"],
        1.0,
    ),
    ("tokens_finished", "cached", &[":cached_tokens_total{"], 1.0),
    ("evictions", "evicted", &[":evicted_tokens_total{"], 1.0),
    (
        "engine_cpu",
        "tokenizer",
        &[":process_cpu_seconds_total{", "\"tokenizer\""],
        100.0,
    ),
    (
        "engine_cpu",
        "detokenizer",
        &[":process_cpu_seconds_total{", "\"detokenizer\""],
        100.0,
    ),
    (
        "engine_cpu",
        "scheduler",
        &[":scheduler_process_cpu_seconds_total{"],
        100.0,
    ),
    (
        "cuda_graph",
        "decode_none",
        &[":cuda_graph_passes_total{", "\"decode_none\""],
        1.0,
    ),
    (
        "cuda_graph",
        "prefill_none",
        &[":cuda_graph_passes_total{", "\"prefill_none\""],
        1.0,
    ),
    (
        "dp_steps",
        "active",
        &[":dp_attention_steps_total{", "\"active\""],
        1.0,
    ),
];

/// A line, the series it is the sum of, and the factor to its unit.
const GAUGES: &[(&str, &str, &[&str], f64)] = &[
    (
        "requests_in_flight",
        "running",
        &[":num_running_reqs{"],
        1.0,
    ),
    ("requests_in_flight", "queued", &[":num_queue_reqs{"], 1.0),
    ("requests_in_flight", "paused", &[":num_paused_reqs{"], 1.0),
    ("kv_cache_tokens", "used", &[":num_used_tokens{"], 1.0),
    (
        "kv_cache_tokens",
        "evictable",
        &[":kv_evictable_tokens{"],
        1.0,
    ),
    ("kv_cache_tokens", "free", &[":kv_available_tokens{"], 1.0),
    ("swa_tokens", "used", &[":swa_used_tokens{"], 1.0),
    ("routing_keys", "active", &[":routing_keys_active"], 1.0),
    (
        "engine_memory",
        "kv_cache",
        &[":kv_cache_memory_usage_gb{"],
        1.0,
    ),
    ("engine_memory", "graphs", &[":graph_memory_usage_gb{"], 1.0),
    (
        "startup_time",
        "scheduler_e2e",
        &[":startup_time_seconds{", "\"scheduler_e2e\""],
        1.0,
    ),
    (
        "disaggregation_queues",
        "decode_transfer",
        &[":num_decode_transfer_queue_reqs{"],
        1.0,
    ),
    (
        "disaggregation_queues",
        "prefill_inflight",
        &[":num_prefill_inf"],
        1.0,
    ),
];

fn lines_with(version: &str, parts: &[&str]) -> Vec<f64> {
    let page = String::from_utf8(fixtures::page(version, "load_t10")).unwrap();
    page.lines()
        .filter(|line| !line.starts_with('#') && parts.iter().all(|it| line.contains(it)))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect()
}

#[test]
fn rates_are_the_gain_of_the_pages_counters() {
    let mut compared = 0;
    for version in fixtures::VERSIONS {
        let frame = Played::new().capture(version);
        for (chart, dim, parts, times) in RATES {
            if !lines_with(version, parts).is_empty() {
                let expected = times * gained(version, parts);
                let what = format!("{version} {chart} {dim}");
                assert_near(value(&frame, chart, dim), expected, &what);
                compared += 1;
            }
        }
    }
    assert!(compared > 30, "only {compared}");
}

#[test]
fn gauges_are_the_sums_of_the_page() {
    let mut compared = 0;
    for version in fixtures::VERSIONS {
        let frame = Played::new().capture(version);
        for (chart, dim, parts, times) in GAUGES {
            let found = lines_with(version, parts);
            if !found.is_empty() {
                let expected = times * found.iter().sum::<f64>();
                let what = format!("{version} {chart} {dim}");
                assert_near(value(&frame, chart, dim), expected, &what);
                compared += 1;
            }
        }
    }
    assert!(compared > 35, "only {compared}");
}

#[test]
fn stages_and_engine_time_are_those_of_the_page() {
    for version in ["0.5.12", "0.5.23", "0.5.23-dp2-auth"] {
        let frame = Played::new().capture(version);
        for stage in ["prefill_forward", "request_process"] {
            let part = |end: &str| {
                let name = format!(":per_stage_req_latency_seconds_{end}{{");
                gained(version, &[&name, &format!("\"{stage}\"")])
            };
            let expected = 1000.0 * part("sum") / part("count");
            assert_near(value(&frame, "stage_latency", stage), expected, version);
        }
    }
    for (version, ranks) in [("0.5.23", 1.0), ("0.5.23-dp2-auth", 2.0)] {
        let frame = Played::new().capture(version);
        for category in ["run_batch", "process_batch_result"] {
            let parts = [
                ":scheduler_stage_seconds_total{",
                &format!("\"{category}\""),
            ];
            let expected = 100.0 * gained(version, &parts) / ranks;
            assert_near(value(&frame, "engine_time", category), expected, version);
        }
    }
}

#[test]
fn hits_are_shares_of_all_prompt_tokens() {
    for version in fixtures::VERSIONS {
        let frame = Played::new().capture(version);
        let (found, all) = if version == "0.4.6.post5" {
            let all = gained(version, &[":prompt_tokens_total{"]);
            (gained(version, &[":cached_tokens_total{"]), all)
        } else {
            let mode = |mode: &str| {
                let mode = format!("mode=\"{mode}\"");
                gained(version, &[":realtime_tokens_total{", &mode])
            };
            let found = mode("prefill_cache");
            (found, found + mode("prefill_compute"))
        };
        let device = value(&frame, "prefix_cache_hit_rate", "device");
        assert_near(device, 100.0 * found / all, version);
        let host = value(&frame, "prefix_cache_hit_rate", "host");
        let told_apart = version.starts_with("0.5.23");
        assert_eq!(host, told_apart.then_some(0.0), "{version}");
    }
}

#[test]
fn our_own_scrapes_are_no_answers() {
    for version in ["0.5.12", "0.5.23", "0.5.23-dp2-auth"] {
        let frame = Played::new().capture(version);
        let inference = ["/generate", "/v1/completions", "/v1/chat/completions"];
        for (dim, status) in [("2xx", "\"200\""), ("4xx", "\"400\"")] {
            let of = |endpoint: &&str| {
                let endpoint = format!("endpoint=\"{endpoint}\"");
                gained(version, &[":http_responses_total{", &endpoint, status])
            };
            let expected: f64 = inference.iter().map(of).sum();
            assert_near(value(&frame, "http_responses", dim), expected, version);
        }
        assert_eq!(value(&frame, "http_responses", "5xx"), Some(0.0));
    }
}

#[test]
fn each_rank_has_charts_of_its_own_where_there_are_several() {
    let version = "0.5.23-dp2-auth";
    let frame = Played::new().capture(version);
    for rank in ["0", "1"] {
        let label = format!("dp_rank=\"{rank}\"");
        let of_rank = |chart: &str, dim: &str| {
            let mut charts = frame.charts();
            let prefix = format!("dp{rank}_");
            let chart = charts.find(|it| it.chart().id == chart && it.instance().prefix == prefix);
            let chart = chart.unwrap();
            let labels = &chart.instance().labels;
            assert!(
                labels
                    .iter()
                    .any(|it| it.key == "dp_rank" && it.value == rank)
            );
            chart.values().find(|(name, _)| *name == dim).unwrap().1
        };
        let running = lines_with(version, &[":num_running_reqs{", &label])[0];
        assert_eq!(of_rank("requests_in_flight", "running"), Some(running));
        let parts = [":realtime_tokens_total{", "\"decode\"", &label];
        let decode = gained(version, &parts);
        assert_near(of_rank("token_throughput", "decode"), decode, version);
        let usage = 100.0 * lines_with(version, &[":token_usage{", &label])[0];
        assert_near(of_rank("kv_cache_usage", "usage"), usage, version);
    }
    let all = label(&frame, "requests_in_flight", "dp_rank");
    assert_eq!(all.as_deref(), Some("all"));
    let alone = Played::new().capture("0.5.23");
    assert_eq!(label(&alone, "requests_in_flight", "dp_rank"), None);
}

#[test]
fn request_lengths_are_percentiles_of_the_pages_histograms() {
    for version in ["0.5.12", "0.5.23", "0.5.23-dp2-auth"] {
        let frame = Played::new().capture(version);
        for (dim, histogram) in [
            ("prompt_p50", "prompt_tokens_histogram"),
            ("generation_p50", "generation_tokens_histogram"),
        ] {
            let expected = quantile_ms(version, 0.5, histogram, &[]) / 1000.0;
            assert_near(value(&frame, "request_length", dim), expected, version);
        }
    }
}

#[test]
fn the_version_is_known_from_what_a_page_shows() {
    for (version, expected) in [
        ("0.4.6.post5", "0.4.6 or newer"),
        ("0.5.12", "0.5.12 or newer"),
        ("0.5.23", "0.5.22 or newer"),
    ] {
        let frame = Played::new().capture(version);
        let label = label(&frame, "requests_in_flight", "version");
        assert_eq!(label.as_deref(), Some(expected));
    }
}
