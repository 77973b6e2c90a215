//! The instance that most tests share: four simulated H200 NVL and three replayed servers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;

/// Contexts that each of the four GPUs must chart.
pub const GPU_CONTEXTS: &[&str] = &[
    "nvidia_smi.gpu_utilization",
    "nvidia_smi.gpu_memory_utilization",
    "nvidia_smi.gpu_frame_buffer_memory_usage",
    "nvidia_smi.gpu_temperature",
    "nvidia_smi.gpu_clock_freq",
    "nvidia_smi.gpu_power_draw",
    "nvidia_smi.gpu_performance_state",
    "nvidia.power",
    "nvidia.pcie_link",
    "nvidia.process_memory",
    "nvidia.gpu_state",
];

/// Contexts that every server with metrics must chart.
pub const SERVER_CONTEXTS: &[&str] = &[
    "sglang.server_state",
    "sglang.requests_in_flight",
    "sglang.token_throughput",
    "sglang.time_to_first_token",
    "sglang.time_to_first_token_distribution",
    "sglang.time_to_first_token_observations",
    "sglang.inter_token_latency",
    "sglang.inter_token_latency_distribution",
    "sglang.inter_token_latency_observations",
    "sglang.e2e_latency",
    "sglang.e2e_latency_distribution",
    "sglang.e2e_latency_observations",
    "sglang.kv_cache_usage",
    "sglang.scrape",
    "inference.process_cpu",
    "inference.process_memory",
];

/// How many times as fast as captured the steady server's counters grow.
pub const GROWTH: f64 = 10.0;

/// Everything that the shared tests look at.
pub struct Lab {
    /// The directory and the user.
    pub place: Place,
    /// Netdata.
    pub instance: Instance,
    /// Constant rates, gauges held: what it implies can be computed.
    pub steady: Server,
    /// Rates and gauges that swing; four tensor-parallel ranks, one on each GPU.
    pub swinging: Server,
    /// A server started without `--enable-metrics`.
    pub silent: Server,
    /// When `launcher start` was called.
    pub started: Instant,
    /// From the call of `start` to the last of the charts.
    pub charted_after: Result<Duration, String>,
}

impl Lab {
    /// Starts it all.
    pub fn start(place: &Place) -> anyhow::Result<Self> {
        let growth = GROWTH.to_string();
        let steady = Server::start(place, "0.5.23", &["--growth", &growth])?;
        let swinging = Server::start(
            place,
            "0.5.12",
            &[
                "--growth",
                &growth,
                "--gauges",
                "swing",
                "--load",
                "wave",
                "--tp",
                "4",
                // Both captures have the same number.
                "--gauge",
                "num_running_reqs=5:20",
            ],
        )?;
        let silent = Server::start(place, "0.4.6.post5", &["--no-metrics"])?;
        let library = place.dist.join("simulated/libnvidia-ml.so.1");
        let library = library.to_str().context("a path that is no text")?;
        let instance = Instance::new(place, "lab", &["--nvml-library", library])?;
        // Left alone, it would chart what other tests do to their servers, too.
        instance.sees(&[&steady, &swinging, &silent])?;
        let started = Instant::now();
        instance.start()?;
        let charted_after = wait_for("all charts", Duration::from_secs(30), || {
            all_charts(&instance, &[&steady, &swinging])
        })
        .map(|()| started.elapsed())
        .map_err(|error| format!("{error:#}"));
        let place = place.clone();
        Ok(Self {
            place,
            instance,
            steady,
            swinging,
            silent,
            started,
            charted_after,
        })
    }

    /// Waits until the instance has run for `age`.
    pub fn wait_until(&self, age: Duration) {
        std::thread::sleep(age.saturating_sub(self.started.elapsed()));
    }

    /// The id of a chart of `server`.
    pub fn chart_of(server: &Server, name: &str) -> String {
        format!("sglang_{}.{name}", server.port)
    }
}

fn all_charts(instance: &Instance, servers: &[&Server]) -> anyhow::Result<()> {
    let charts = instance.api().charts()?;
    for context in GPU_CONTEXTS {
        let count = charts
            .values()
            .filter(|chart| chart["context"] == *context)
            .count();
        ensure!(count == 4, "{count} charts of {context}");
    }
    for context in SERVER_CONTEXTS {
        for server in servers {
            let port = format!("_{}.", server.port);
            let count = charts
                .iter()
                .filter(|(id, chart)| id.contains(&port) && chart["context"] == *context)
                .count();
            ensure!(count > 0, "no chart of {context} for port {}", server.port);
        }
    }
    Ok(())
}

/// Ten seconds after `launcher start` was called, every chart is listed.
pub fn charts_within_ten_seconds(lab: &Lab) -> anyhow::Result<()> {
    let after = lab
        .charted_after
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    eprintln!(
        "all charts {:.1} s after start was called",
        after.as_secs_f64()
    );
    ensure!(
        *after <= Duration::from_secs(10),
        "only after {:.1} s",
        after.as_secs_f64()
    );
    Ok(())
}

/// Every context that the plugin emits has a row in docs/charts.md.
pub fn every_chart_is_documented(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(30));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/charts.md");
    let page = std::fs::read_to_string(page).context(page)?;
    let charts = lab.instance.api().charts()?;
    let ours: Vec<_> = charts
        .values()
        .filter(|chart| chart["plugin"] == "rs.d")
        .collect();
    ensure!(ours.len() > 50, "only {} charts of rs.d", ours.len());
    for chart in ours {
        let context = chart["context"]
            .as_str()
            .context("a chart without context")?;
        ensure!(
            page.contains(&format!("| `{context}` |")),
            "{context} has no row in docs/charts.md"
        );
    }
    Ok(())
}
