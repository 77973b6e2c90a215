//! Joules per token: a plugin by hand on boards whose power is a known ramp and a server whose counters grow at a known
//! rate; and under Netdata, that what is charted of a board's power is all of it.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use harness::capture::Capture;
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;

use crate::lab::{GROWTH, Lab};

/// The first board's power rises from the one to the other, W, in so many seconds; the second draws a constant one.
const RAMP: (f64, f64, f64) = (300.0, 600.0, 600.0);
const CONSTANT_W: f64 = 200.0;
/// The window of a ratio, s: its middle is half of it ago.
const WINDOW_S: f64 = 60.0;
/// Of what is charted.
const TOLERANCE: f64 = 0.02;
/// Points of a minute.
const MINUTE: u64 = 60;

/// The value of one dimension and when it was written, Unix time.
type Point = (f64, f64);
/// Values by chart and dimension, in whole units.
type Points = BTreeMap<(String, String), Vec<Point>>;

/// The plugin without Netdata. It ends with this.
struct Plugin {
    child: Child,
    points: Arc<Mutex<Points>>,
}

impl Plugin {
    fn start(place: &Place, conf: &Path, scenario: &Path) -> anyhow::Result<Self> {
        let program = place.dist.join("lib/netdata-launcher/rs.d.plugin");
        let mut command: Command = place.command(program);
        let mut child = command
            .env("FAKE_NVML_SCENARIO", scenario)
            .args(["-m", "nvidia", "-m", "servers", "-m", "sglang", "-c"])
            .arg(conf)
            .arg("1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let points = Arc::default();
        let (stdout, heard) = (
            child.stdout.take().context("no output")?,
            Arc::clone(&points),
        );
        std::thread::spawn(move || hear(BufReader::new(stdout), &heard));
        Ok(Self { child, points })
    }

    /// The last value of a dimension.
    fn last(&self, chart: &str, dim: &str) -> anyhow::Result<Point> {
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = points.get(&(chart.to_owned(), dim.to_owned()));
        let last = of_it.and_then(|points| points.last());
        last.copied()
            .with_context(|| format!("no value of {chart} {dim}"))
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the protocol: definitions for their divisors, then values.
fn hear(lines: impl std::io::BufRead, points: &Mutex<Points>) {
    let (mut chart, mut divisors) = (String::new(), BTreeMap::new());
    for line in lines.lines().map_while(Result::ok) {
        let mut words = line.split(' ');
        match words.next() {
            Some("CHART" | "BEGIN") => words.next().unwrap_or_default().clone_into(&mut chart),
            // DIMENSION 'id' 'name' absolute 1 1000000
            Some("DIMENSION") => {
                let words: Vec<_> = words.collect();
                let divisor: f64 = words.get(4).and_then(|it| it.parse().ok()).unwrap_or(1.0);
                divisors.insert(
                    (chart.clone(), words[0].trim_matches('\'').to_owned()),
                    divisor,
                );
            }
            // SET 'id' = 7
            Some("SET") => {
                let words: Vec<_> = words.collect();
                let key = (chart.clone(), words[0].trim_matches('\'').to_owned());
                if let Some(value) = words.get(2).and_then(|it| it.parse::<f64>().ok()) {
                    let value = value / divisors.get(&key).copied().unwrap_or(1.0);
                    let mut points = points.lock().unwrap_or_else(PoisonError::into_inner);
                    points.entry(key).or_default().push((unix(), value));
                }
            }
            _ => {}
        }
    }
}

fn unix() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0.0, |now| now.as_secs_f64())
}

/// Two boards with one scheduler on both, alone; the ramp begins at `from`, Unix time.
fn scenario(scheduler: u64, from: f64) -> String {
    let (low, high, period) = RAMP;
    let phase = period - from.rem_euclid(period);
    let process = format!("processes: [{{pid: {scheduler}, memory_mib: 800, sm: 80}}]");
    format!(
        "driver_version: 580.95.05\ncuda_version: \"13.0\"\nmodels:\n  board:\n    name: Board (simulated)\n    \
         compute_capability: \"9.0\"\n    memory: {{total_mib: 1000, reserved_mib: 100}}\n    readings:\n      \
         gpu_utilization: 90\n      power_w: {{ramp: {{from: {low}, to: {high}, period_s: {period}, phase_s: {phase}}}}}\n\
         gpus:\n  - {{model: board, uuid: GPU-0, pci_bus_id: \"00000000:01:00.0\", {process}}}\n  \
         - {{model: board, uuid: GPU-1, pci_bus_id: \"00000000:02:00.0\", readings: {{power_w: {CONSTANT_W}}}, {process}}}\n"
    )
}

fn configure(place: &Place, port: u16) -> anyhow::Result<PathBuf> {
    let conf = place.dir.join("ramp");
    place.make_dir(&conf.join("rs.d"))?;
    let only = format!("include: '127.0.0.1:{port}'\n");
    let library = place.dist.join("simulated/libnvidia-ml.so.1");
    for (module, text) in [
        ("nvidia", format!("library: {}\n", library.display())),
        ("servers", format!("{only}price_per_kwh: 0.36\n")),
        ("sglang", format!("{only}update_every: 1\n")),
    ] {
        place.write(&conf.join(format!("rs.d/{module}.conf")), &text)?;
    }
    Ok(conf)
}

/// A ramp of power and a steady rate of tokens make the joules per token, per computed token and per request that plain
/// arithmetic gives, and the price of a million.
pub fn of_a_known_ramp(lab: &Lab) -> anyhow::Result<()> {
    let place = &lab.place;
    let server = Server::start(place, "0.5.23", &["--growth", "10"])?;
    let scheduler = server.state()?["pids"]["schedulers"][0].as_u64();
    let scheduler = scheduler.context("a server without a scheduler")?;
    let (from, path) = (unix(), place.dir.join("ramp.yaml"));
    place.write(&path, &scenario(scheduler, from))?;
    let plugin = Plugin::start(place, &configure(place, server.port)?, &path)?;

    let chart = |name: &str| format!("server_{}.{name}", server.port);
    let per_token = chart("energy_per_output_token");
    wait_for("joules per token", Duration::from_secs(150), || {
        plugin.last(&per_token, "all_in")
    })?;
    std::thread::sleep(Duration::from_secs(10));

    let capture = Capture::read(&server.capture)?;
    let rate = |parts: &[&str]| GROWTH * capture.rate(parts);
    let decode = rate(&["sglang:realtime_tokens_total{", "mode=\"decode\""]);
    let computed = decode + rate(&["sglang:realtime_tokens_total{", "mode=\"prefill_compute\""]);
    let requests = rate(&["sglang:num_requests_total{"]);
    let watts = |at: f64| {
        let (low, high, period) = RAMP;
        // The mean of a ramp is its middle. A page comes up to a second before the value.
        low + (high - low) * (at - 0.5 - WINDOW_S / 2.0 - from) / period + CONSTANT_W
    };
    for (name, dim, expected) in [
        ("energy_per_output_token", "all_in", 1.0 / decode),
        ("energy_per_computed_token", "all_in", 1.0 / computed),
        ("energy_per_request", "finished", 1.0 / requests),
        (
            "electricity_cost",
            "electricity",
            0.36 / 3.6e6 * 1e6 / decode,
        ),
    ] {
        let (at, value) = plugin.last(&chart(name), dim)?;
        let expected = watts(at) * expected;
        eprintln!(
            "{name} {dim}: {value:.6}, expected {expected:.6} ({:+.2} %)",
            100.0 * (value / expected - 1.0)
        );
        ensure!(
            (value / expected - 1.0).abs() <= TOLERANCE,
            "{name}: {value}, expected {expected}"
        );
    }
    let (at, drawn) = plugin.last(&chart("gpu_energy"), "undivided")?;
    let now = RAMP.0 + (RAMP.1 - RAMP.0) * (at - 0.5 - from) / RAMP.2 + CONSTANT_W;
    ensure!(
        (drawn / now - 1.0).abs() <= TOLERANCE,
        "{drawn} W now, expected {now}"
    );
    ensure!(
        plugin.last(&per_token, "active").is_err(),
        "active joules of boards that were never seen idle"
    );
    Ok(())
}

/// Over a minute, what servers are charged with on a board and what nobody is are together what the board drew.
pub fn of_boards_is_all_charted(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(90));
    let api = lab.instance.api();
    let boards = api.ids_of("inference.unattributed_energy")?;
    ensure!(boards.len() == 4, "boards: {boards:?}");
    let powers = api.ids_of("inference.gpu_power")?;
    for board in &boards {
        let gpu = board
            .trim_start_matches("inference.")
            .trim_end_matches("unattributed_energy");
        let of_it: Vec<_> = powers.iter().filter(|id| id.contains(gpu)).collect();
        ensure!(!of_it.is_empty(), "no server on {gpu}");
        let power = api.series(&format!("nvidia.{gpu}power"), MINUTE)?;
        let power: BTreeMap<i64, _> = power.dim("average")?.into_iter().collect();
        let mut charged: BTreeMap<i64, Option<f64>> = BTreeMap::new();
        for id in of_it.into_iter().chain([board]) {
            let series = api.series(id, MINUTE)?;
            for (at, values) in &series.points {
                // Where one of them has a gap, their sum is unknown.
                let whole = (0..series.dims.len())
                    .filter(|dim| series.points.iter().any(|(_, all)| all[*dim].is_some()))
                    .map(|dim| values[dim])
                    .sum::<Option<f64>>();
                let sum = charged.entry(*at).or_insert(Some(0.0));
                *sum = sum.zip(whole).map(|(sum, more)| sum + more);
            }
        }
        let both: Vec<(f64, f64)> = charged
            .iter()
            .filter_map(|(at, charged)| power.get(at).copied().flatten().zip(*charged))
            .collect();
        ensure!(both.len() >= 30, "{gpu}: only {} points", both.len());
        let drawn: f64 = both.iter().map(|(drawn, _)| drawn).sum();
        let charged: f64 = both.iter().map(|(_, charged)| charged).sum();
        let of_them = both.len() as f64;
        eprintln!(
            "{gpu}: drawn {:.1} W, charted {:.1} W, in {of_them} points",
            drawn / of_them,
            charged / of_them
        );
        ensure!(
            (charged / drawn - 1.0).abs() <= TOLERANCE,
            "{gpu}: {charged} J of {drawn} J"
        );
    }
    Ok(())
}
