use std::fs;
use std::time::Duration;

use super::*;
use crate::fixtures;

fn page() -> String {
    let path = fixtures::sglang("router-0.3.2").join("metrics.txt");
    fs::read_to_string(path).unwrap()
}

fn tree(listening: &[&str]) -> Tree {
    let mut server = Server::new("sglang", "127.0.0.1", 30000);
    (server.router, server.metrics_port) = (true, Some(29000));
    Tree {
        pid: 10,
        start_ticks: 1,
        server,
        listening: Some(listening.iter().map(|it| it.parse().unwrap()).collect()),
        members: vec![],
    }
}

/// The frame after pages 10 s apart; a page of `None` was not answered.
fn after(pages: &[Option<String>]) -> (Frame, Life) {
    let mut life = Life::new(&tree(&[]), &Options::default());
    let (start, mut frame) = (Instant::now(), Frame::default());
    for (i, page) in pages.iter().enumerate() {
        let now = start + Duration::from_secs(10 * i as u64);
        let state = match page {
            Some(page) if life.pages.take(page.as_bytes(), now) => "ready",
            _ => "unreachable",
        };
        frame.clear();
        record(state, &mut life, &mut frame);
    }
    (frame, life)
}

fn value(frame: &Frame, prefix: &str, chart: &str, dim: &str) -> Option<f64> {
    let mut charts = frame.charts();
    let chart = charts.find(|it| it.chart().id == chart && it.instance().prefix == prefix)?;
    chart.values().find(|(name, _)| *name == dim)?.1
}

/// The capture after 30 more completions in 10 s, 20 of them within 0.1 s, the other 10 within 0.25 s.
fn later() -> String {
    let raise = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let value: f64 = value.parse().ok()?;
        let more = if series.contains("router_requests_total") {
            15.0
        } else if series.contains("http_responses_total") {
            30.0
        } else if series.contains("router_request_duration_seconds_bucket") {
            let bound = series.split("le=\"").nth(1)?.split('"').next()?;
            let bound: f64 = bound.parse().ok()?;
            if bound >= 0.25 {
                30.0
            } else if bound >= 0.1 {
                20.0
            } else {
                0.0
            }
        } else if series.contains("router_request_duration_seconds_count") {
            30.0
        } else if series.contains("router_request_duration_seconds_sum") {
            6.0
        } else {
            return None;
        };
        Some(format!("{series} {}", value + more))
    };
    let page = page();
    let lines = page
        .lines()
        .map(|line| raise(line).unwrap_or_else(|| line.to_owned()));
    lines.map(|line| line + "\n").collect()
}

#[test]
fn requests_answers_and_latency_are_what_the_router_counted() {
    let (frame, _) = after(&[Some(page()), Some(later())]);
    assert_eq!(value(&frame, "", "state", "ready"), Some(1.0));
    assert_eq!(value(&frame, "", "requests", "completions"), Some(3.0));
    assert_eq!(value(&frame, "", "responses", "2xx"), Some(3.0));
    assert_eq!(value(&frame, "", "responses", "5xx"), Some(0.0));
    assert_eq!(
        value(&frame, "", "request_duration", "average"),
        Some(200.0)
    );
    // The 15th of 30 is the 15th of the 20 between 0.05 and 0.1 s.
    let p50 = value(&frame, "", "request_duration", "p50").unwrap();
    assert!((p50 - 87.5).abs() < 1e-6, "{p50}");
    assert_eq!(value(&frame, "", "time_to_first_token", "p50"), None);
}

#[test]
fn each_server_behind_it_has_its_health() {
    let (frame, _) = after(&[Some(page())]);
    let of = |chart, dim| value(&frame, "127_0_0_1_31525_", chart, dim);
    assert_eq!(value(&frame, "", "workers", "healthy"), Some(1.0));
    assert_eq!(value(&frame, "", "workers", "unhealthy"), Some(0.0));
    assert_eq!(of("worker_state", "healthy"), Some(1.0));
    assert_eq!(of("worker_state", "circuit_open"), Some(0.0));
    assert_eq!(of("worker_requests", "active"), Some(0.0));
    let ill = page()
        .replace(
            "smg_worker_health{worker=\"http://127.0.0.1:31525\"} 1",
            "smg_worker_health{worker=\"http://127.0.0.1:31525\"} 0",
        )
        .replace(
            "smg_worker_cb_state{worker=\"http://127.0.0.1:31525\"} 0",
            "smg_worker_cb_state{worker=\"http://127.0.0.1:31525\"} 1",
        );
    let (frame, _) = after(&[Some(ill)]);
    let of = |chart, dim| value(&frame, "127_0_0_1_31525_", chart, dim);
    assert_eq!(value(&frame, "", "workers", "unhealthy"), Some(1.0));
    assert_eq!(of("worker_state", "healthy"), Some(0.0));
    assert_eq!(of("worker_state", "circuit_open"), Some(1.0));
}

#[test]
fn a_restarted_router_is_a_gap_and_one_that_does_not_answer_has_its_state_only() {
    let (frame, _) = after(&[Some(later()), Some(page())]);
    assert_eq!(value(&frame, "", "requests", "completions"), None);
    let (frame, _) = after(&[Some(page()), None]);
    assert_eq!(value(&frame, "", "state", "unreachable"), Some(1.0));
    assert_eq!(frame.charts().count(), 1);
    let (frame, _) = after(&[Some("up 1\n".to_owned())]);
    assert_eq!(value(&frame, "", "state", "unreachable"), Some(1.0));
}

#[test]
fn its_metrics_are_asked_for_where_its_own_socket_is() {
    let at = |listening: &[&str]| metrics_address(&tree(listening)).unwrap().to_string();
    assert_eq!(at(&[]), "127.0.0.1:29000");
    assert_eq!(at(&["0.0.0.0:29000", "127.0.0.1:30000"]), "127.0.0.1:29000");
    assert_eq!(at(&["10.0.0.1:29000"]), "10.0.0.1:29000");
}

#[test]
fn routers_before_0_3_have_other_names_for_the_same() {
    let page = |n: u32| {
        format!(
            "sgl_router_requests_total{{route=\"/generate\"}} {0}\n\
             sgl_router_request_errors_total{{route=\"/generate\",error_type=\"timeout\"}} {n}\n\
             sgl_router_http_responses_total{{status_code=\"200\"}} {0}\n\
             sgl_router_request_duration_seconds_bucket{{route=\"/generate\",le=\"0.1\"}} {0}\n\
             sgl_router_request_duration_seconds_bucket{{route=\"/generate\",le=\"+Inf\"}} {0}\n\
             sgl_router_request_duration_seconds_count{{route=\"/generate\"}} {0}\n\
             sgl_router_worker_health{{worker=\"http://127.0.0.1:31525\"}} 1\n\
             sgl_router_cb_state{{worker=\"http://127.0.0.1:31525\"}} 0\n\
             sgl_router_running_requests{{worker=\"http://127.0.0.1:31525\"}} 3\n\
             sgl_router_requests_total_of_nothing 1\n",
            20 * n
        )
    };
    let (frame, _) = after(&[Some(page(1)), Some(page(2))]);
    let worker = "127_0_0_1_31525_";
    for (prefix, chart, dim, expected) in [
        ("", "state", "ready", 1.0),
        ("", "requests", "/generate", 2.0),
        ("", "errors", "timeout", 0.1),
        ("", "responses", "2xx", 2.0),
        ("", "request_duration", "p50", 50.0),
        ("", "workers", "healthy", 1.0),
        (worker, "worker_state", "healthy", 1.0),
        (worker, "worker_requests", "active", 3.0),
    ] {
        assert_eq!(value(&frame, prefix, chart, dim), Some(expected), "{chart}");
    }
}
