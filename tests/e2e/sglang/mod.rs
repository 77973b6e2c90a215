//! SGLang servers of every captured version, in every state, on one instance that these tests share.

pub mod catalogue;
pub mod restart;
pub mod secrets;
pub mod states;
pub mod throughput;

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::bearers::{ASKED_FOR, Bearers};
use harness::instance::{Instance, only};
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;

/// How many times as fast as captured counters grow.
pub const GROWTH: f64 = 10.0;
/// The captures: one a version, and a server with two replicas and keys.
pub const VERSIONS: [&str; 4] = ["0.4.6.post5", "0.5.12", "0.5.23", "0.5.23-dp2-auth"];
/// Those whose stale gauges and stalls are played.
pub const PLAYED: [&str; 3] = ["0.4.6.post5", "0.5.12", "0.5.23"];
/// Thresholds that lie within the captures' latencies. The catalogue's formulas name them.
const SLO: &str = "slo: {ttft_ms: 450, itl_ms: 30, e2e_ms: 4000, objective: 99}\n";

/// The servers, and Netdata.
pub struct Scene {
    /// The directory and the user.
    pub place: Place,
    /// Netdata.
    pub instance: Instance,
    /// One for each of [`VERSIONS`]: constant rates, gauges held.
    pub versions: Vec<Server>,
    /// One for each of [`PLAYED`], whose load will end.
    pub ending: Vec<Server>,
    /// One for each of [`PLAYED`], whose scheduler will stop.
    pub stopping: Vec<Server>,
    /// One that computes a long prompt.
    pub prefilling: Server,
    /// One that loads all the time.
    pub loading: Server,
    /// One that will be stopped on purpose.
    pub planned: Server,
    /// One that will be killed and started again.
    pub killed: Server,
    /// Those that bear keys.
    pub bearers: Bearers,
    /// When the first scrapes of all versions had been charted.
    pub charted: Instant,
}

impl Scene {
    /// Starts it all.
    pub fn start(place: &Place) -> anyhow::Result<Self> {
        let growth = GROWTH.to_string();
        let options = ["--growth", &growth, "--scheduler-cpu", "0"];
        let start = |capture: &str, more: &[&str]| {
            Server::start(place, capture, &[&options[..], more].concat())
        };
        let all = |captures: &[&str]| -> anyhow::Result<Vec<_>> {
            let two = |capture: &str| capture.contains("dp2");
            let more = |capture| {
                if two(capture) {
                    &["--dp", "2", "--api-key", ASKED_FOR][..]
                } else {
                    &[]
                }
            };
            captures.iter().map(|it| start(it, more(it))).collect()
        };
        let (versions, ending, stopping) = (all(&VERSIONS)?, all(&PLAYED)?, all(&PLAYED)?);
        let prefilling = start("0.5.23", &[])?;
        let loading = start("0.5.12", &["--loading"])?;
        let (planned, killed) = (start("0.5.12", &[])?, start("0.5.23", &[])?);
        let bearers = Bearers::start(place)?;
        for server in &ending {
            server.tell("page t0")?;
        }
        let instance = Instance::new(place, "sglang", &[])?;
        let single = [&prefilling, &loading, &planned, &killed];
        let several = versions.iter().chain(&ending).chain(&stopping);
        let servers: Vec<_> = several.chain(single).chain(bearers.servers()).collect();
        let conf = only(&servers);
        instance.configure(&[
            ("rs.d/sglang.conf", &format!("{conf}{SLO}")),
            ("rs.d/servers.conf", &conf),
        ])?;
        instance.leaves_the_machine_out()?;
        instance.start()?;
        let scene = Self {
            place: place.clone(),
            instance,
            versions,
            ending,
            stopping,
            prefilling,
            loading,
            planned,
            killed,
            bearers,
            charted: Instant::now(),
        };
        wait_for("rates of every version", Duration::from_secs(150), || {
            for server in &scene.versions {
                scene.newest(server, "token_throughput", "decode")?;
            }
            Ok(())
        })?;
        Ok(Self {
            charted: Instant::now(),
            ..scene
        })
    }

    /// Waits until the instance has charted for `age`.
    pub fn wait_until(&self, age: Duration) {
        std::thread::sleep(age.saturating_sub(self.charted.elapsed()));
    }

    /// The values that a chart of `server` took in the last `seconds`, with their times.
    pub fn points(
        &self,
        server: &Server,
        chart: &str,
        dim: &str,
        seconds: u64,
    ) -> anyhow::Result<Vec<(i64, f64)>> {
        let id = format!("sglang_{}.{chart}", server.port);
        let points = self.instance.api().series(&id, seconds)?.dim(dim)?;
        let values = points.into_iter();
        Ok(values
            .filter_map(|(at, value)| Some((at, value?)))
            .collect())
    }

    /// The newest value of a chart of `server`, with its time.
    pub fn newest(&self, server: &Server, chart: &str, dim: &str) -> anyhow::Result<(i64, f64)> {
        let points = self.points(server, chart, dim, LONGEST_INTERVALS)?;
        ensure!(!points.is_empty(), "{} {chart} has no {dim}", server.port);
        Ok(points[points.len() - 1])
    }
}

/// Two of the longest intervals between scrapes: in so many seconds there is a value.
pub const LONGEST_INTERVALS: u64 = 125;
