//! What the plugin costs under the real Netdata, beside what does the same work today: nvitop-exporter on the
//! same simulated GPUs, Prometheus on the same replayed servers. Run by `make bench`, which provides what it
//! needs; fails when a limit is missed.

mod crowd;
mod latency;
mod meter;
mod report;
mod rivals;
mod scene;
mod sixteen;

use std::time::Duration;

use anyhow::Context as _;
use harness::place::Place;

use meter::{Disk, Group, Sample};
use report::Report;
use rivals::{NvitopExporter, Prometheus};
use scene::Scene;

/// Length of the measurement, unless BENCH_SECONDS says otherwise.
const SECONDS: u64 = 300;
/// The same of the sixteen servers, at most.
const SIXTEEN_SECONDS: u64 = 120;
/// Time for starts, first definitions and caches, which are not the steady state.
const WARM_UP: Duration = Duration::from_secs(45);

fn main() -> anyhow::Result<()> {
    if let Some(count) = crowd::asked_for() {
        return crowd::run(count);
    }
    let seconds = match std::env::var("BENCH_SECONDS") {
        Ok(text) => text.parse().context("BENCH_SECONDS is no number")?,
        Err(_) => SECONDS,
    };
    let place = Place::prepare()?;
    // For a look at one part alone.
    if std::env::var("BENCH_ONLY").is_ok_and(|only| only == "sixteen") {
        let sixteen = sixteen::measure(&place, seconds.min(SIXTEEN_SECONDS))?;
        sixteen.print();
        return sixteen.judge();
    }
    let scene = Scene::start(&place)?;
    let nvitop = NvitopExporter::start(&place, &scene.scenario)?;
    let prometheus = Prometheus::start(&place, &scene.ports())?;
    scene.is_charted()?;
    nvitop.sees(scene::GPUS)?;
    prometheus.sees(scene::SERVERS)?;
    eprintln!(
        "bench: warming up for {} s, then measuring {seconds} s ...",
        WARM_UP.as_secs()
    );
    std::thread::sleep(WARM_UP);

    let plugin = Group::of("rs.d.plugin", vec![scene.instance.plugin_pid()?]);
    let whole = Group::of("netdata and its plugins", scene.instance_pids());
    let rivals = [
        Group::of("nvitop-exporter", vec![nvitop.pid()]),
        Group::of("prometheus", vec![prometheus.pid()]),
    ];
    let disk = Disk::of(&scene.instance.home.join("state"));
    let before = Sample::take([&plugin, &whole, &rivals[0], &rivals[1]])?;
    std::thread::sleep(Duration::from_secs(seconds));
    let after = Sample::take([&plugin, &whole, &rivals[0], &rivals[1]])?;
    let grown = disk.grown();

    let latency = latency::of_all_jobs(&scene.instance.api(), seconds)?;
    scene.is_charted().context("at the end")?;
    prometheus.sees(scene::SERVERS).context("at the end")?;
    let allocations = scene.count_allocations(&place)?;
    let report = Report::new(&before, &after, &latency, grown, allocations);
    report.print();
    drop((scene, nvitop, prometheus));
    let sixteen = sixteen::measure(&place, seconds.min(SIXTEEN_SECONDS))?;
    sixteen.print();
    report.judge()?;
    sixteen.judge()
}
