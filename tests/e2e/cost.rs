//! What reading eight GPUs costs: our own CPU time for a tick without the library's part, the calls by kind, and
//! lists of processes, which hold up the driver, beside nvitop-exporter on the same simulated library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, ensure};
use harness::place::{Place, free_port};
use harness::wait_for;
use nix::time::{ClockId, clock_gettime};
use procfs::process::Process;

/// Our own CPU time for one tick that reads eight GPUs, charts them and writes it out, what it costs to wake up apart,
/// which is the machine's. Of many ticks the cheapest counts: what else runs on the machine only adds to it.
const TICK_AT_MOST_US: f64 = 200.0;
/// How often one of the reader's threads wakes up for a tick: the job, who reads, the job again.
const WAKE_UPS: f64 = 3.0;
/// How many times fewer lists of processes than nvitop-exporter asks for.
const FEWER_LISTS: f64 = 3.0;

/// How much its memory grows over all of the ticks, at most: what is read now and then is read in the warm-up, too.
const GROWS_AT_MOST_KIB: u64 = 64;

/// Each is measured on its own: others on the machine disturb some of them, not all, and every tenth reads more.
const TICKS: usize = 24;
/// First calls, definitions of charts, and pages touched for the first time.
const WARM_UP: Duration = Duration::from_secs(12);

/// Calls by name, and their CPU time.
type Calls = BTreeMap<String, f64>;

/// The lists of processes among them, a second.
fn lists(calls: &Calls) -> f64 {
    let lists = calls
        .iter()
        .filter(|(name, _)| name.contains("RunningProcess"));
    lists.map(|(_, calls)| calls).sum()
}

/// Measures three at once: a plugin that never lists processes, for the cost of a tick; one as it is by default,
/// and nvitop-exporter as it is by default, for the calls.
pub fn of_eight_gpus(place: &Place) -> anyhow::Result<()> {
    let dir = place.dir.join("cost");
    place.make_dir(&dir)?;
    let scenario = dir.join("eight-gpus.yaml");
    place.write(&scenario, &eight_gpus()?)?;
    let fast = Reader::plugin(place, &dir, &scenario, "fast", "processes_every: 86400\n")?;
    let whole = Reader::plugin(place, &dir, &scenario, "default", "{}\n")?;
    let exporter = Reader::exporter(place, &dir, &scenario)?;
    std::thread::sleep(WARM_UP);
    wait_for("calls of all three", Duration::from_secs(60), || {
        [&fast, &whole, &exporter]
            .iter()
            .try_for_each(|reader| reader.calls().map(|_| ()))
    })?;

    let held_before = whole.held_kib()?;
    let (of_whole, of_exporter) = (whole.calls()?, exporter.calls()?);
    let began = SystemTime::now();
    let end = AtomicBool::new(false);
    let (ticks, wake_ups) = std::thread::scope(|scope| {
        let control = scope.spawn(|| wake_ups_us(&end));
        let ticks = fast.ticks_us();
        end.store(true, Ordering::Relaxed);
        (ticks, control.join())
    });
    let wake_ups = wake_ups.map_err(|_| anyhow!("the control panicked"))??;
    let ticks = ticks?;
    let seconds = began.elapsed()?.as_secs_f64();
    let of_whole = since(&of_whole, &whole.calls()?, seconds);
    let of_exporter = since(&of_exporter, &exporter.calls()?, seconds);

    let grown = whole.held_kib()?.saturating_sub(held_before);
    println!("memory: {held_before} KiB, {grown} KiB more after {seconds:.0} s");

    println!("calls a second on 8 GPUs: {:.0}", total(&of_whole));
    for (name, calls) in &of_whole {
        println!("{calls:>8.1} {name}");
    }
    let fewer = lists(&of_exporter) / lists(&of_whole);
    println!(
        "nvitop-exporter: {:.0} calls a second, {:.1} lists of processes; ours {:.1}, {fewer:.1} times fewer",
        total(&of_exporter),
        lists(&of_exporter),
        lists(&of_whole)
    );
    let (tick, wake_up) = (at(&ticks, 0.0), at(&wake_ups, 0.5));
    let own = tick - WAKE_UPS * wake_up;
    println!(
        "CPU time for a tick of 8 GPUs, µs: {tick:.0}, a quarter up to {:.0}, half up to {:.0}",
        at(&ticks, 0.25),
        at(&ticks, 0.5)
    );
    println!(
        "to wake up once costs {wake_up:.0} µs here: the cheapest tick has {own:.0} µs beside"
    );
    ensure!(lists(&of_whole) > 0.0, "no list of processes was asked for");
    ensure!(fewer >= FEWER_LISTS, "only {fewer:.1} times fewer lists");
    ensure!(grown <= GROWS_AT_MOST_KIB, "its memory grew by {grown} KiB");
    ensure!(own <= TICK_AT_MOST_US, "a tick costs {own:.0} µs");
    Ok(())
}

/// The value below which `part` of all are.
fn at(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (part * values.len() as f64) as usize;
    values.get(place).copied().unwrap_or(f64::NAN)
}

/// CPU time of a thread that does nothing but wake up once a second, for each time, until `end`.
fn wake_ups_us(end: &AtomicBool) -> anyhow::Result<Vec<f64>> {
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let mut all = vec![];
    while !end.load(Ordering::Relaxed) {
        let before = used()?;
        std::thread::sleep(Duration::from_secs(1));
        all.push((used()? - before).as_secs_f64() * 1e6);
    }
    Ok(all)
}

/// One who reads the GPUs, ended with this.
struct Reader {
    child: Child,
    log: PathBuf,
}

impl Reader {
    fn plugin(
        place: &Place,
        dir: &Path,
        scenario: &Path,
        name: &str,
        conf: &str,
    ) -> anyhow::Result<Self> {
        let config = dir.join(name);
        place.make_dir(&config.join("rs.d"))?;
        place.write(&config.join("rs.d/nvidia.conf"), conf)?;
        let mut command = place.command(place.dist.join("lib/netdata-launcher/rs.d.plugin"));
        command.args(["--modules", "nvidia", "--config-dir"]);
        command.arg(&config);
        Self::start(place, dir, scenario, name, command)
    }

    fn exporter(place: &Place, dir: &Path, scenario: &Path) -> anyhow::Result<Self> {
        let mut command = place.command(place.python.with_file_name("nvitop-exporter"));
        let port = free_port()?.to_string();
        command.args(["--bind-address", "127.0.0.1", "--port", &port]);
        Self::start(place, dir, scenario, "nvitop-exporter", command)
    }

    fn start(
        place: &Place,
        dir: &Path,
        scenario: &Path,
        name: &str,
        mut command: Command,
    ) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.calls"));
        let child = command
            .env("FAKE_NVML_SCENARIO", scenario)
            .env("FAKE_NVML_CALL_LOG", &log)
            .env("LD_LIBRARY_PATH", place.dist.join("simulated"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, log })
    }

    fn calls(&self) -> anyhow::Result<Calls> {
        let text =
            std::fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())?;
        text.lines()
            .map(|line| {
                let (name, count) = line.split_once(' ')?;
                Some((name.to_owned(), count.parse().ok()?))
            })
            .collect::<Option<Calls>>()
            .filter(|calls| !calls.is_empty())
            .context("half a log of calls")
    }

    /// CPU time of its threads that have to do with GPUs, without that of the library, of each tick.
    fn ticks_us(&self) -> anyhow::Result<Vec<f64>> {
        let mut looks = vec![];
        // The log is written at the first call of a tick: it is one tick behind.
        for _ in 0..TICKS + 2 {
            wait_between_ticks()?;
            looks.push((self.cpu_ns()?, self.calls()?));
        }
        let mut ticks = vec![];
        for look in looks.windows(3) {
            let library = since(&look[1].1, &look[2].1, 1.0);
            let of = |name: &str| library.get(name).copied().unwrap_or(0.0);
            // One that came late is in the next look.
            if of("nvmlDeviceGetCount_v2") == 1.0 && of("cpu_ns") > 0.0 {
                ticks.push((look[1].0 - look[0].0 - of("cpu_ns")) / 1e3);
            }
        }
        ensure!(ticks.len() >= TICKS / 2, "only {} ticks", ticks.len());
        Ok(ticks)
    }

    /// Memory of its own that it holds.
    fn held_kib(&self) -> anyhow::Result<u64> {
        let status = Process::new(self.child.id().cast_signed())?.status()?;
        status
            .rssanon
            .context("a kernel that does not tell RssAnon")
    }

    fn cpu_ns(&self) -> anyhow::Result<f64> {
        let mut sum = 0;
        for task in Process::new(self.child.id().cast_signed())?.tasks()? {
            let task = task?;
            let name = task.stat()?.comm;
            if name.starts_with("nvidia") || name.starts_with("nvml") {
                sum += task.schedstat()?.sum_exec_runtime;
            }
        }
        ensure!(sum > 0, "it has no thread that reads GPUs");
        Ok(sum as f64)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What happened between two looks, over `seconds`.
fn since(before: &Calls, after: &Calls, seconds: f64) -> Calls {
    let gain = |(name, calls): (&String, &f64)| {
        let gained = calls - before.get(name).copied().unwrap_or(0.0);
        (gained > 0.0).then(|| (name.clone(), gained / seconds))
    };
    after.iter().filter_map(gain).collect()
}

fn total(calls: &Calls) -> f64 {
    let counted = calls.iter().filter(|(name, _)| *name != "cpu_ns");
    counted.map(|(_, calls)| calls).sum()
}

/// Until half-way between the next two ticks, which come at whole seconds.
fn wait_between_ticks() -> anyhow::Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    let wait = (0.6 - now.fract()).rem_euclid(1.0);
    std::thread::sleep(Duration::from_secs_f64(if wait < 0.1 {
        wait + 1.0
    } else {
        wait
    }));
    Ok(())
}

/// The built-in model; eight of it, each with a process, by number: looking for titles would be the library's work.
fn eight_gpus() -> anyhow::Result<String> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fake-nvml/scenarios/h200-nvl-4.yaml"
    );
    let built_in = std::fs::read_to_string(path).context(path)?;
    let (models, _) = built_in
        .split_once("\ngpus:")
        .context("a scenario without GPUs")?;
    let gpu = |index: usize| {
        format!(
            "  - {{model: h200_nvl, uuid: GPU-c0570000-0000-4000-8000-00000000000{index}, pci_bus_id: \
             \"00000000:{:02X}:00.0\", phase_s: {index}, processes: [{{pid: {}, memory_mib: 122300}}]}}\n",
            0x17 + index,
            std::process::id()
        )
    };
    Ok(format!(
        "{models}\ngpus:\n{}",
        (0..8).map(gpu).collect::<String>()
    ))
}
