//! Endpoints named in the configuration: three engines by their profiles, and one page with far too much on it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::api::Api;
use harness::instance::Instance;
use harness::pages::PageServer;
use harness::place::Place;
use harness::wait_for;

/// Series of the page that has too many; the default cap charts 2,000 of them.
const CROWD: usize = 100_000;
const CAP: usize = 2_000;
/// What the plugin may hold with all of that.
const MOST_KIB: u64 = 30 * 1024;
/// Seconds between two scrapes of the crowded page.
const CROWD_EVERY: u64 = 5;

/// A chart, one of its lines, what it must show, and how far it may be off.
type Expected = (&'static str, &'static str, f64, f64);

/// What the pages' second halves say: rates by their growth in 10 s, values as they stand.
const EXPECTED: &[Expected] = &[
    (
        "prometheus_vllm.vllm_requests_in_flight-engine_0-model_name_example_Model_8B_Instruct",
        "running",
        12.0,
        0.0,
    ),
    (
        "prometheus_vllm.vllm_token_throughput-engine_0-model_name_example_Model_8B_Instruct",
        "generation",
        910.0,
        0.02,
    ),
    (
        "prometheus_vllm.vllm_kv_cache_usage-engine_0-model_name_example_Model_8B_Instruct",
        "usage",
        42.1875,
        0.001,
    ),
    (
        "prometheus_vllm.vllm_time_to_first_token-engine_0-model_name_example_Model_8B_Instruct",
        "average",
        216.0,
        0.02,
    ),
    (
        "prometheus_vllm.process_cpu_seconds_total",
        "process_cpu_seconds_total",
        0.45,
        0.02,
    ),
    (
        "prometheus_llamacpp.llamacpp_requests_in_flight",
        "processing",
        2.0,
        0.0,
    ),
    (
        "prometheus_llamacpp.llamacpp_token_throughput",
        "generation",
        45.0,
        0.02,
    ),
    (
        "prometheus_llamacpp.llamacpp_busy_slots",
        "busy",
        1.8125,
        0.001,
    ),
    ("prometheus_tgi.tgi_requests_in_flight", "queued", 4.0, 0.0),
    ("prometheus_tgi.tgi_generated_tokens", "volume", 288.0, 0.02),
    ("prometheus_tgi.tgi_e2e_latency", "average", 3720.0, 0.02),
];

/// Charts with the right values, the cap, the memory and the tick.
pub fn endpoints(place: &Place) -> anyhow::Result<()> {
    let crowd: String = (0..CROWD)
        .map(|i| format!("crowded{{id=\"{i:06}\",shard=\"{}\"}} {i}\n", i % 10))
        .collect();
    let crowd = PageServer::fixed(crowd)?;
    let mut config = format!(
        "jobs:\n  - name: crowd\n    url: http://127.0.0.1:{}/metrics\n    update_every: {CROWD_EVERY}\n    timeout: 5\n",
        crowd.port
    );
    for engine in ["vllm", "llamacpp", "tgi"] {
        let server = PageServer::growing(&page(engine, 0)?, &page(engine, 10)?)?;
        config += &format!(
            "  - name: {engine}\n    url: http://127.0.0.1:{}/metrics\n    update_every: 2\n",
            server.port
        );
    }
    let instance = Instance::new(place, "prometheus", &["--gpu", "auto"])?;
    // This module alone: what others take would be measured, too.
    let switches = "default_run: no\nmodules:\n  prometheus: yes\n";
    instance.configure(&[("rs.d/prometheus.conf", &config), ("rs.d.conf", switches)])?;
    instance.leaves_the_machine_out()?;
    instance.start()?;
    let api = instance.api();
    for expected in EXPECTED {
        wait_for(expected.0, Duration::from_secs(60), || {
            shows(&api, expected)
        })?;
    }
    wait_for("the capped page", Duration::from_secs(60), || capped(&api))?;
    let told = format!("{} series are not charted", CROWD - CAP);
    let times = instance
        .logs()
        .lines()
        .filter(|line| line.contains(&told))
        .count();
    ensure!(times == 1, "the log says {times} times: {told}");
    wait_for("six ticks in a row", Duration::from_secs(90), || {
        let points = api.series("prometheus_crowd.job_series", 6 * CROWD_EVERY)?;
        let kept = points.values("charted")?.len();
        ensure!(kept >= 6, "only {kept} of the last 6 ticks");
        Ok(())
    })?;
    let peak = peak_kib(instance.plugin_pid()?)?;
    ensure!(peak <= MOST_KIB, "{peak} KiB at its peak, above {MOST_KIB}");
    instance.stop()?;
    Ok(())
}

fn page(engine: &str, second: u32) -> anyhow::Result<String> {
    let path = format!(
        "{}/fixtures/prometheus/{engine}_t{second}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).context(path)
}

fn shows(api: &Api, (chart, line, expected, tolerance): &Expected) -> anyhow::Result<()> {
    let values = api.series(chart, 10)?.values(line)?;
    let last = values.last().context("no value yet")?;
    ensure!(
        (last - expected).abs() <= expected * tolerance,
        "{chart} shows {line} = {last} instead of {expected}"
    );
    Ok(())
}

fn capped(api: &Api) -> anyhow::Result<()> {
    let charts = api.ids_of("prometheus.crowd.crowded")?.len();
    ensure!(charts == CAP, "{charts} charts instead of {CAP}");
    let series = api.series("prometheus_crowd.job_series", 2 * CROWD_EVERY)?;
    let dropped = series.values("dropped")?;
    ensure!(
        dropped.last() == Some(&((CROWD - CAP) as f64)),
        "dropped: {dropped:?}"
    );
    let id = "prometheus_crowd.crowded-id_000007-shard_7";
    let value = api.series(id, 2 * CROWD_EVERY)?.values("crowded")?;
    ensure!(value.last() == Some(&7.0), "{id} shows {value:?}");
    Ok(())
}

/// The most memory that process `pid` ever held, its code included.
fn peak_kib(pid: i32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let rest = status.lines().find_map(|line| line.strip_prefix(name));
        let number = rest.and_then(|rest| rest.split_whitespace().next());
        number
            .context("a field is missing")?
            .parse()
            .context("a field is no number")
    };
    let (all, mapped) = (field("VmHWM:")?, field("RssFile:")?);
    eprintln!("plugin: {all} KiB at its peak, {mapped} KiB of code mapped");
    Ok(all)
}
