//! What is measured on: eight simulated GPUs, four replayed servers with pages of 100 kB that are scraped every
//! second, two thousand other processes, and the real Netdata around the plugin.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::{Instance, only};
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::crowd::Crowd;

/// Simulated GPUs.
pub const GPUS: usize = 8;
/// Replayed servers.
pub const SERVERS: usize = 4;
/// Other processes.
const OTHERS: usize = 2000;
/// The capture with the longest page of one rank.
const CAPTURE: &str = "0.5.23";
/// Where fake-nvml looks inside the container.
const SCENARIO_INSIDE: &str = "/etc/fake-nvml.yaml";

/// Everything that runs.
pub struct Scene {
    /// Netdata.
    pub instance: Instance,
    /// The file that says which GPUs there are.
    pub scenario: PathBuf,
    servers: Vec<Server>,
    _crowd: Crowd,
}

impl Scene {
    /// Starts it.
    pub fn start(place: &Place) -> anyhow::Result<Self> {
        let crowd = Crowd::start(OTHERS)?;
        let options = "--growth 4 --load wave --gauges swing --tp 2 --scheduler-cpu 0";
        let options: Vec<_> = options.split(' ').collect();
        let servers = (0..SERVERS)
            .map(|_| Server::start(place, CAPTURE, &options))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let scenario = place.dir.join("eight-gpus.yaml");
        place.write(&scenario, &eight_gpus(&schedulers(&servers)?)?)?;

        let library = place.dist.join("simulated/libnvidia-ml.so.1");
        let library = library
            .to_str()
            .context("a path that is no text")?
            .to_owned();
        let bind = format!("{}:{SCENARIO_INSIDE}", scenario.display());
        let flags = ["--nvml-library", &library, "--bind", &bind];
        let instance = Instance::new(place, "bench", &flags)?;
        let seen = only(&servers.iter().collect::<Vec<_>>());
        instance.configure(&[
            ("rs.d/sglang.conf", &format!("{seen}update_every: 1\n")),
            ("rs.d/servers.conf", &seen),
        ])?;
        instance.start()?;
        Ok(Self {
            instance,
            scenario,
            servers,
            _crowd: crowd,
        })
    }

    /// Ports of the servers.
    pub fn ports(&self) -> Vec<u16> {
        self.servers.iter().map(|server| server.port).collect()
    }

    /// Fails unless every GPU and every server has charts with values.
    pub fn is_charted(&self) -> anyhow::Result<()> {
        wait_for(
            "charts of all GPUs and servers",
            Duration::from_secs(60),
            || {
                let api = self.instance.api();
                for (context, count) in [
                    ("nvidia_smi.gpu_utilization", GPUS),
                    ("sglang.token_throughput", SERVERS),
                    ("inference.process_cpu", SERVERS),
                ] {
                    let ids = api.ids_of(context)?;
                    ensure!(ids.len() >= count, "{} charts of {context}", ids.len());
                    for id in &ids {
                        let points = api.series(id, 5)?.points;
                        let filled = points.iter().any(|(_, v)| v.iter().any(Option::is_some));
                        ensure!(filled, "{id} has no values");
                    }
                }
                Ok(())
            },
        )
    }

    /// Every process of the instance.
    pub fn instance_pids(&self) -> Vec<i32> {
        self.instance
            .processes()
            .into_iter()
            .map(|known| known.pid)
            .collect()
    }

    /// Allocations per second in steady state, by a build of the plugin that counts them, run by hand on the
    /// same scene: between two runs of different length nothing differs but the steady state.
    pub fn count_allocations(&self, place: &Place) -> anyhow::Result<f64> {
        const SHORT: u64 = 20;
        const LONG: u64 = 50;
        let short = self.counted(place, SHORT)?;
        let long = self.counted(place, LONG)?;
        Ok(long.saturating_sub(short) as f64 / (LONG - SHORT) as f64)
    }

    fn counted(&self, place: &Place, seconds: u64) -> anyhow::Result<u64> {
        let program = place.dist.join("simulated/rs.d.plugin-counting");
        let mut command: Command = place.command(&program);
        let child = command
            .env("NETDATA_VERSION", "v1.37.1")
            .env("FAKE_NVML_SCENARIO", &self.scenario)
            .env("LD_LIBRARY_PATH", place.dist.join("simulated"))
            .arg("--config-dir")
            .arg(self.instance.home.join("state/config"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| program.display().to_string())?;
        std::thread::sleep(Duration::from_secs(seconds));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM)?;
        let log = child.wait_with_output()?.stderr;
        let log = String::from_utf8_lossy(&log);
        let count = log.rsplit_once("allocations: ").map(|(_, rest)| rest);
        let digits = count.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        digits
            .and_then(|digits| digits.parse().ok())
            .with_context(|| format!("it does not say how often it allocated:\n{log}"))
    }
}

fn schedulers(servers: &[Server]) -> anyhow::Result<Vec<i32>> {
    let pids: Vec<_> = procfs::process::all_processes()?
        .filter_map(Result::ok)
        .filter(|process| {
            let title = process
                .cmdline()
                .ok()
                .and_then(|words| words.into_iter().next());
            title.is_some_and(|title| title.starts_with("sglang::scheduler"))
        })
        .map(|process| process.pid)
        .collect();
    ensure!(pids.len() >= servers.len(), "{} schedulers", pids.len());
    Ok(pids)
}

/// The models of the built-in scenario, and eight GPUs whose memory is held by `pids`: by number, because
/// looking for titles would cost more than all that is measured.
fn eight_gpus(pids: &[i32]) -> anyhow::Result<String> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fake-nvml/scenarios/h200-nvl-4.yaml"
    );
    let built_in = std::fs::read_to_string(path).context(path)?;
    let (models, _) = built_in
        .split_once("\ngpus:")
        .context("a scenario without GPUs")?;
    let mut text = format!("{models}\ngpus:\n");
    for (index, pid) in (0..GPUS).zip(pids.iter().cycle()) {
        let bus = 0x17 + index;
        let phase = 0.7 * index as f64;
        writeln!(
            text,
            "  - model: h200_nvl\n    uuid: GPU-5a3d7c10-0f6e-4b1a-9c55-2e0a64d1f00{index}\n    \
             serial: \"165000000000{index}\"\n    pci_bus_id: 00000000:{bus:02X}:00.0\n    \
             phase_s: {phase}\n    processes: [{{pid: {pid}, memory_mib: 122300}}]"
        )?;
    }
    Ok(text)
}
