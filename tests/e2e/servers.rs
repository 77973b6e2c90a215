//! What is charted of the replayed servers, against what their captures imply.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::capture::{Capture, agrees};
use harness::server::Server;

use crate::lab::{GROWTH, Lab};

/// One per cent: rounding to three decimals and the interval's jitter stay far below it.
const TOLERANCE: f64 = 0.01;
/// Charts at 5 s have taken three values after this long.
const SEVERAL_SCRAPES: Duration = Duration::from_secs(70);
/// The window of percentiles is full.
const WINDOW_IS_FULL: Duration = Duration::from_secs(85);

/// Charts whose values change from scrape to scrape under a swinging load.
const MOVING: &[(&str, &str)] = &[
    ("token_throughput", "decode"),
    ("token_throughput", "prefill_compute"),
    ("requests_in_flight", "running"),
    ("kv_cache_usage", "usage"),
    ("scrape", "duration"),
    ("time_to_first_token_observations", "in_window"),
    ("e2e_latency_observations", "in_window"),
];

/// Every counter-based and swinging chart takes at least three different values in a minute.
pub fn charts_move(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(SEVERAL_SCRAPES);
    for (name, dim) in MOVING {
        let chart = Lab::chart_of(&lab.swinging, name);
        let mut values = lab.instance.api().series(&chart, 60)?.values(dim)?;
        values.sort_by(f64::total_cmp);
        values.dedup();
        ensure!(
            values.len() >= 3,
            "{chart} {dim}: only {values:?} in a minute"
        );
    }
    let roles = lab.instance.api().ids_of("inference.process_cpu")?;
    let port = format!("server_{}.", lab.swinging.port);
    let roles: Vec<_> = roles
        .into_iter()
        .filter(|id| id.starts_with(&port))
        .collect();
    ensure!(
        roles.len() >= 3,
        "roles of a server with four ranks: {roles:?}"
    );
    Ok(())
}

/// Its state and its processes are charted, the state says why, and nothing pretends to come from metrics.
pub fn without_metrics(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(25));
    let charts = lab.instance.api().charts()?;
    let port = lab.silent.port;
    let of_it: Vec<_> = charts
        .keys()
        .filter(|id| id.starts_with(&format!("sglang_{port}.")))
        .collect();
    let state = lab
        .instance
        .api()
        .series(&Lab::chart_of(&lab.silent, "server_state"), 15)?;
    ensure!(
        state.values("no_metrics")?.last() == Some(&1.0),
        "its state is {state:?}"
    );
    ensure!(
        !of_it
            .iter()
            .any(|id| id.contains("latency") || id.contains("time_to_first")),
        "charts of metrics it does not have: {of_it:?}"
    );
    // What is charted of its requests comes from its log or its load endpoints, and says so.
    for id in of_it.iter().filter(|id| id.contains("token")) {
        let source = &charts[id.as_str()]["chart_labels"]["source"];
        ensure!(
            source == "log" || source == "api",
            "{id} is said to come from {source}"
        );
    }
    let processes = charts
        .keys()
        .filter(|id| id.starts_with(&format!("server_{port}.")))
        .count();
    ensure!(processes >= 4, "{processes} charts of its processes");
    Ok(())
}

/// Rates, the 99th percentile and KV usage equal what plain arithmetic on the capture gives.
pub fn equal_the_capture(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(WINDOW_IS_FULL);
    let capture = Capture::read(&lab.steady.capture)?;
    let rate = |mode: &str| {
        GROWTH * capture.rate(&["sglang:realtime_tokens_total{", &format!("mode=\"{mode}\"")])
    };
    for mode in ["decode", "prefill_compute", "prefill_cache"] {
        same(lab, &lab.steady, "token_throughput", mode, rate(mode))?;
    }
    let streaming = &["is_streaming=\"true\""][..];
    for (chart, histogram, parts) in [
        (
            "time_to_first_token",
            "sglang:time_to_first_token_seconds",
            streaming,
        ),
        ("e2e_latency", "sglang:e2e_request_latency_seconds", &[][..]),
    ] {
        for (dim, q) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            let expected = capture
                .quantile(q, histogram, parts)
                .context("no such histogram")?;
            same(lab, &lab.steady, chart, dim, expected * 1000.0)?;
        }
    }
    let gauge = |name: &str| {
        let gauge = capture.gauge(&[&format!("sglang:{name}{{")]);
        gauge.with_context(|| format!("no gauge {name}"))
    };
    // The server's own ratio has two decimals only.
    let usage = gauge("num_used_tokens")? / gauge("max_total_num_tokens")?;
    ensure!(
        (usage - gauge("token_usage")?).abs() <= 0.005,
        "{usage} is not its token_usage"
    );
    same(lab, &lab.steady, "kv_cache_usage", "usage", usage * 100.0)?;
    let running = capture
        .gauge(&["sglang:num_running_reqs{"])
        .context("no such gauge")?;
    same(lab, &lab.steady, "requests_in_flight", "running", running)
}

fn same(lab: &Lab, server: &Server, chart: &str, dim: &str, expected: f64) -> anyhow::Result<()> {
    let id = Lab::chart_of(server, chart);
    let values = lab.instance.api().series(&id, 30)?.values(dim)?;
    ensure!(values.len() >= 3, "{id} {dim}: only {values:?}");
    eprintln!("{id} {dim}: expected {expected:.3}, charted {values:.3?}");
    for value in values {
        // A wrong number by 5 % must not pass here, whatever the code under test thinks.
        ensure!(
            !agrees(value * 1.05, expected, TOLERANCE),
            "the comparison cannot fail"
        );
        ensure!(
            agrees(value, expected, TOLERANCE),
            "{id} {dim}: {value} instead of {expected}"
        );
    }
    Ok(())
}

/// Of a server only `/metrics` is asked for; its scheduler's own sockets are nobody's business.
pub fn only_metrics_is_asked_for(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(120));
    for server in [&lab.steady, &lab.swinging, &lab.silent] {
        let requests = server.requests()?;
        let paths = requests.as_object().context("no counts of requests")?;
        ensure!(
            paths.contains_key("/metrics"),
            "it was not asked for metrics: {requests}"
        );
        let health = paths
            .keys()
            .find(|path| path.contains("health") || path.contains("ready"));
        ensure!(health.is_none(), "{health:?} was polled: {requests}");
        let state = server.state()?;
        let contacted = state["scheduler_connections"].as_u64();
        ensure!(
            contacted == Some(0),
            "connections to a scheduler: {contacted:?} in {state}"
        );
    }
    Ok(())
}
