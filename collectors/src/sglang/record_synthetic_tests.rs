//! Pages that no capture shows: other ranks, other versions, metrics of versions to come, and what goes wrong.

use super::*;
use crate::sglang::unlisted::MAX_METRICS;

fn played(pages: &[&str]) -> Frame {
    let (mut played, mut frame) = (Played::new(), Frame::default());
    for (i, page) in pages.iter().enumerate() {
        frame = played.page(10 * i as u64, page);
    }
    frame
}

#[test]
fn stages_and_tensor_ranks_report_the_same_again() {
    let page = |n: u32| {
        let mut page = String::new();
        for (pp, tp) in [(1, 0), (0, 1), (0, 0), (1, 1)] {
            let ranks = format!("pp_rank=\"{pp}\",tp_rank=\"{tp}\"");
            page += &format!("sglang:num_running_reqs{{{ranks}}} 3\n");
            page += &format!("sglang:evicted_tokens_total{{{ranks}}} {}\n", 100 * n);
            for (le, count) in [("0.1", 20 * n), ("+Inf", 20 * n)] {
                page +=
                    &format!("sglang:queue_time_seconds_bucket{{{ranks},le=\"{le}\"}} {count}\n");
            }
            page += &format!("sglang:queue_time_seconds_count{{{ranks}}} {}\n", 20 * n);
        }
        page
    };
    let frame = played(&[&page(1), &page(2)]);
    assert_eq!(value(&frame, "requests_in_flight", "running"), Some(3.0));
    assert_eq!(value(&frame, "evictions", "evicted"), Some(10.0));
    assert_eq!(
        value(&frame, "queue_time_observations", "in_window"),
        Some(20.0)
    );
}

#[test]
fn headroom_is_a_share_of_what_the_command_line_allows() {
    let page = "sglang:num_running_reqs 48\n";
    assert_eq!(value(&played(&[page]), "headroom", "requests"), None);
    let mut limited = Played::new();
    limited.server.max_running = Some(64);
    assert_eq!(
        value(&limited.page(0, page), "headroom", "requests"),
        Some(75.0)
    );
}

#[test]
fn versions_without_a_histogram_tell_the_queue_of_the_last_batch() {
    let page = "sglang:avg_request_queue_latency{tp_rank=\"0\"} 0.25\nsglang:num_running_reqs{tp_rank=\"0\"} 1\n";
    let frame = played(&[page]);
    assert_eq!(value(&frame, "queue_time", "average"), Some(250.0));
    assert_eq!(value(&frame, "queue_time", "p50"), None);
}

#[test]
fn the_empty_priority_is_the_total_and_pids_add_up() {
    let frame = played(&["sglang:num_running_reqs{priority=\"\"} 5\n\
        sglang:num_running_reqs{priority=\"1\"} 3\nsglang:num_running_reqs{priority=\"2\"} 2\n\
        sglang:num_paused_reqs{pid=\"7\",dp_rank=\"0\"} 1\nsglang:num_paused_reqs{pid=\"8\",dp_rank=\"1\"} 2\n"]);
    assert_eq!(value(&frame, "requests_in_flight", "running"), Some(5.0));
    assert_eq!(value(&frame, "requests_in_flight", "paused"), Some(3.0));
}

#[test]
fn events_count_once_under_their_priority_or_under_none() {
    // As `--enable-priority-scheduling` shows them: requests that name no priority have the empty one.
    let page = |n: u32| {
        let of = |priority: &str, share: u32| {
            let labels = format!("engine_type=\"unified\",priority=\"{priority}\"");
            format!(
                "sglang:num_requests_total{{{labels}}} {0}\nsglang:prompt_tokens_total{{{labels}}} {0}\n\
                 # TYPE sglang:jumps_total counter\nsglang:jumps_total{{{labels}}} {0}\n\
                 sglang:e2e_request_latency_seconds_bucket{{{labels},le=\"1\"}} {0}\n\
                 sglang:e2e_request_latency_seconds_bucket{{{labels},le=\"+Inf\"}} {0}\n\
                 sglang:e2e_request_latency_seconds_count{{{labels}}} {0}\n",
                share * n
            )
        };
        of("", 100) + &of("1", 20) + &of("None", 30)
    };
    let frame = played(&[&page(1), &page(2)]);
    assert_eq!(value(&frame, "requests", "finished"), Some(15.0));
    assert_eq!(value(&frame, "tokens_finished", "prompt"), Some(15.0));
    assert_eq!(
        value(&frame, "e2e_latency_observations", "in_window"),
        Some(150.0)
    );
    let jumps = frame.charts().find(|it| it.chart().id == "rate").unwrap();
    assert_eq!(jumps.values().collect::<Vec<_>>(), [("value", Some(15.0))]);
}

#[test]
fn early_versions_have_the_time_of_an_output_token_under_its_first_name() {
    let page = |n: u32| {
        let name = "sglang:time_per_output_token_seconds";
        format!(
            "sglang:num_running_reqs 1\n{name}_bucket{{le=\"0.05\"}} {0}\n{name}_bucket{{le=\"+Inf\"}} {0}\n\
             {name}_sum {1}\n{name}_count {0}\n",
            40 * n,
            n
        )
    };
    let frame = played(&[&page(1), &page(2)]);
    assert_eq!(
        value(&frame, "time_per_output_token", "average"),
        Some(25.0)
    );
    assert_eq!(value(&frame, "time_per_output_token", "p50"), Some(25.0));
}

#[test]
fn what_is_no_number_is_a_gap_and_bounds_of_gauges_make_no_histogram() {
    let frame = played(&["sglang:num_running_reqs NaN\nsglang:num_queue_reqs 1\n\
        # TYPE sglang:fwd_occupancy gauge\nsglang:fwd_occupancy NaN\n\
        # TYPE sglang:routing_key_all_req_count gauge\nsglang:routing_key_all_req_count{gt=\"0\",le=\"1\"} 4\n"]);
    assert_eq!(value(&frame, "requests_in_flight", "running"), None);
    assert_eq!(value(&frame, "requests_in_flight", "queued"), Some(1.0));
    assert_eq!(
        frame.charts().filter(|it| it.chart().id == "gauge").count(),
        0
    );
}

#[test]
fn a_transfers_time_is_a_gauge_before_it_becomes_a_histogram() {
    let old = "sglang:num_running_reqs 1\nsglang:kv_transfer_latency_ms 12.5\n";
    assert_eq!(
        value(&played(&[old]), "kv_transfer_time", "transfer"),
        Some(12.5)
    );
    let new = |sum, count| {
        format!(
            "sglang:kv_transfer_latency_ms_bucket{{le=\"+Inf\"}} {count}\n\
             sglang:kv_transfer_latency_ms_sum {sum}\nsglang:kv_transfer_latency_ms_count {count}\n"
        )
    };
    let frame = played(&[&new(100, 10), &new(190, 16)]);
    assert_eq!(value(&frame, "kv_transfer_time", "transfer"), Some(15.0));
}

#[test]
fn an_absent_counter_is_zero_only_on_versions_that_have_it() {
    // As 0.4.0 to 0.4.2, which count no requests.
    let older = "sglang:num_running_reqs 1\nsglang:prompt_tokens_total 7\n";
    let frame = played(&[older, older]);
    assert_eq!(value(&frame, "requests", "finished"), None);
    assert_eq!(value(&frame, "tokens_finished", "cached"), None);
    assert_eq!(value(&frame, "token_throughput", "prefill_compute"), None);
    assert_eq!(value(&frame, "tokens_finished", "prompt"), Some(0.0));
    let old = "sglang:num_running_reqs 1\nsglang:num_grammar_queue_reqs 0\n";
    let frame = played(&[old, old]);
    assert_eq!(value(&frame, "requests", "finished"), Some(0.0));
    assert_eq!(value(&frame, "tokens_finished", "cached"), Some(0.0));
    assert_eq!(value(&frame, "requests", "aborted"), None);
    assert_eq!(value(&frame, "retractions", "retracted"), None);
    let new = "sglang:num_running_reqs{tp_rank=\"0\"} 1\nsglang:http_requests_total 5\n\
        sglang:max_total_num_tokens 10\n";
    let frame = played(&[new, new]);
    assert_eq!(value(&frame, "requests", "aborted"), Some(0.0));
    assert_eq!(value(&frame, "retractions", "retracted"), Some(0.0));
    assert_eq!(value(&frame, "evictions", "evicted"), Some(0.0));
}

#[test]
fn a_counter_that_resets_or_loses_a_series_is_a_gap() {
    let page = |a: u32, b: Option<u32>| {
        let b = b.map(|b| format!("sglang:evicted_tokens_total{{dp_rank=\"1\"}} {b}\n"));
        format!(
            "sglang:evicted_tokens_total{{dp_rank=\"0\"}} {a}\n{}",
            b.unwrap_or_default()
        )
    };
    let evicted = |pages: &[String]| {
        let pages: Vec<_> = pages.iter().map(String::as_str).collect();
        value(&played(&pages), "evictions", "evicted")
    };
    assert_eq!(evicted(&[page(100, None), page(200, None)]), Some(10.0));
    assert_eq!(evicted(&[page(100, None), page(5, None)]), None);
    assert_eq!(evicted(&[page(100, None), page(200, Some(9000))]), None);
    let again = [
        page(100, None),
        page(200, Some(9000)),
        page(210, Some(9010)),
    ];
    assert_eq!(evicted(&again), Some(2.0));
}

#[test]
fn metrics_of_versions_to_come_are_charted_as_their_type_says_and_only_so_many() {
    let page = |n: u32| {
        format!(
            "# TYPE sglang:num_running_reqs gauge\nsglang:num_running_reqs 1\n\
             # TYPE sglang:warp_drives gauge\nsglang:warp_drives{{model_name=\"m\",bay=\"left\"}} 4\n\
             # TYPE sglang:jumps_total counter\nsglang:jumps_total {}\n\
             # TYPE sglang:jump_seconds histogram\nsglang:jump_seconds_bucket{{le=\"+Inf\"}} {n}\n\
             sglang:jump_seconds_sum {}\nsglang:jump_seconds_count {n}\n",
            10 * n,
            3 * n
        )
    };
    let frame = played(&[&page(1), &page(2)]);
    let of = |prefix: &str, id: &str, dim: &str| {
        let mut charts = frame.charts();
        let chart = charts.find(|it| it.chart().id == id && it.instance().prefix == prefix);
        chart
            .unwrap()
            .values()
            .find(|(name, _)| *name == dim)
            .unwrap()
            .1
    };
    assert_eq!(of("warp_drives_", "gauge", "left"), Some(4.0));
    assert_eq!(of("jumps_total_", "rate", "value"), Some(1.0));
    assert_eq!(of("jump_seconds_", "average", "value"), Some(3.0));
    let mut flood = "sglang:num_running_reqs 1\n".to_owned();
    for i in 0..5000 {
        flood += &format!("# TYPE sglang:x{i} gauge\nsglang:x{i}{{a=\"{i}\"}} 1\n");
        flood += &format!("sglang:cuda_graph_passes_total{{mode=\"{i}\"}} 1\n");
    }
    let frame = played(&[&flood]);
    assert_eq!(
        frame.charts().filter(|it| it.chart().id == "gauge").count(),
        MAX_METRICS
    );
    let mut charts = frame.charts();
    let modes = charts.find(|it| it.chart().id == "cuda_graph").unwrap();
    assert_eq!(modes.values().count(), 32);
}

#[test]
fn a_page_without_any_one_family_still_has_the_others() {
    let page = String::from_utf8(fixtures::page("0.5.23", "load_t10")).unwrap();
    let mut families: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    families.dedup();
    let charts = |page: &str| {
        let frame = Played::new().page(0, page);
        let known = frame
            .charts()
            .filter(|it| it.values().any(|(_, value)| value.is_some()));
        known.count()
    };
    let all = charts(&page);
    for family in families {
        let without: String = page
            .lines()
            .filter(|line| !line.starts_with(family))
            .map(|line| format!("{line}\n"))
            .collect();
        // A chart at most is lost with its only source; capacity and ranks make zeros known.
        assert!(charts(&without) + 5 >= all, "{family}");
    }
}

#[test]
fn a_new_rank_is_charted_from_its_second_page_on() {
    let page = |ranks: u32, n: u32| {
        let rank = |dp: u32| {
            format!(
                "sglang:num_running_reqs{{dp_rank=\"{dp}\"}} 1\n\
                 sglang:realtime_tokens_total{{dp_rank=\"{dp}\",mode=\"decode\"}} {}\n",
                100 * n
            )
        };
        (0..ranks).map(rank).collect::<String>()
    };
    let decode = |frame: &Frame, rank: u32| {
        let prefix = format!("dp{rank}_");
        let mut charts = frame.charts();
        let chart = charts
            .find(|it| it.chart().id == "token_throughput" && it.instance().prefix == prefix)?;
        chart.values().find(|(name, _)| *name == "decode")?.1
    };
    let frame = played(&[&page(1, 1), &page(2, 2)]);
    assert_eq!((decode(&frame, 0), decode(&frame, 1)), (None, None));
    let frame = played(&[&page(1, 1), &page(2, 2), &page(2, 3)]);
    assert_eq!(
        (decode(&frame, 0), decode(&frame, 1)),
        (Some(10.0), Some(10.0))
    );
}

#[test]
fn labels_that_hold_keys_become_no_dimension() {
    let frame = played(&["# TYPE sglang:warp_drives gauge\n\
        sglang:warp_drives{api_key=\"s3cret\",Authorization=\"Bearer s3cret\",side=\"left\"} 4\n\
        sglang:warp_drives{token=\"s3cret\",side=\"left\"} 2\n"]);
    let chart = frame.charts().find(|it| it.chart().id == "gauge").unwrap();
    let lines: Vec<_> = chart.values().collect();
    assert_eq!(lines, [("left", Some(6.0))]);
}

#[test]
fn a_page_in_openmetrics_says_the_same() {
    // As servers in gRPC mode write it: counters announced without their ending, an end.
    let rewritten = |moment: &str| {
        let page = String::from_utf8(fixtures::page("0.5.23", moment)).unwrap();
        let line = |line: &str| match line.strip_suffix("_total counter") {
            Some(announced) => format!("{announced} counter\n"),
            None => format!("{line}\n"),
        };
        page.lines().map(line).collect::<String>() + "# EOF\n"
    };
    let plain =
        ["load_t0", "load_t10"].map(|it| String::from_utf8(fixtures::page("0.5.23", it)).unwrap());
    let open = ["load_t0", "load_t10"].map(rewritten);
    assert_ne!(plain, open);
    let charted = |pages: &[String; 2]| {
        let frame = played(&[&pages[0], &pages[1]]);
        let lines = frame.charts().flat_map(|chart| {
            let of = format!("{}{}", chart.instance().prefix, chart.chart().id);
            let values = chart.values().filter(|(_, value)| value.is_some());
            // A counter that no chart knows goes by the name that was announced.
            let of = of.replace("_total_rate", "_rate");
            let lines = values.map(|(dim, value)| format!("{of} {dim} {value:?}"));
            lines.collect::<Vec<_>>()
        });
        lines.collect::<std::collections::BTreeSet<_>>()
    };
    let (plain, open) = (charted(&plain), charted(&open));
    assert!(plain.len() > 200, "{}", plain.len());
    assert_eq!(plain, open);
}
