//! A recording made of a simulated machine, played back: the same charts at the same times.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use netdata_plugin::frame::Frame;
use nvml_wrapper::Nvml;

use super::{Recorder, log};
use crate::nvidia::processes::{Names, resolve};
use crate::nvidia::read::Reader;
use crate::nvidia::read::tests::simulated::{Simulated, TWO, ranks, with};
use crate::nvidia::record::{Instances, record};
use crate::nvidia::snapshot::Snapshot;
use crate::processes::Users;

/// Readings, and how far apart: simulated clocks stand still in between.
const ROUNDS: u64 = 5;
const APART: Duration = Duration::from_secs(10);
/// Longer than all of them.
const LENGTH: Duration = Duration::from_secs(600);
/// When the first is, Unix seconds.
const BEGAN_S: u64 = 1_790_000_000;

thread_local! {
    /// What readers of this thread date counters by.
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

/// What was charted at one moment, by context, GPU and dimension.
type Charted = BTreeMap<String, f64>;

/// Reads and charts as the plugin does.
struct Charts {
    simulated: Simulated,
    reader: Reader,
    instances: Instances,
}

impl Charts {
    fn of(simulated: Simulated) -> Self {
        let mut reader = simulated.open().unwrap();
        reader.date_by(|| NOW.get());
        Self {
            reader,
            instances: Instances::default(),
            simulated,
        }
    }

    /// What is charted where `text` is what the library answers.
    fn with(&mut self, text: &str) -> Charted {
        self.simulated.becomes(text);
        NOW.set(NOW.get() + APART);
        let users = Users::new(Path::new("/proc"), 0);
        let mut gpus = self
            .simulated
            .read(&mut self.reader, APART.as_secs())
            .unwrap();
        for gpu in &mut gpus {
            let rows = gpu.processes.take().map(|read| read.rows.clone());
            let names = Names {
                users: &users,
                whose: &|_| None,
            };
            gpu.processes = rows.map(|rows| resolve(rows, Path::new("/none"), names, 10).into());
        }
        let mut frame = Frame::default();
        record(&Snapshot { gpus }, &mut self.instances, &mut frame);
        let mut charted = Charted::new();
        for chart in frame.charts() {
            let (context, instance) = (chart.chart().context, chart.instance());
            // How long it took, and who waits for events since when, are not the driver's answers.
            if context.contains("driver_call_latency") || context.contains("xid") {
                continue;
            }
            let label = |key: &str| {
                let label = instance.labels.iter().find(|label| label.key == key);
                label.map_or("", |label| label.value.as_str())
            };
            let (index, part) = (label("index"), label("gpu_instance_id"));
            for (dim, value) in chart.values() {
                let key = format!("{context} {index}{part} {}.{dim}", chart.chart().id);
                charted.extend(value.map(|value| (key, value)));
            }
        }
        charted
    }
}

fn unix_s() -> f64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs_f64()
}

fn scenario(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(format!("tests/fake-nvml/scenarios/{name}.yaml"));
    fs::read_to_string(path).unwrap()
}

fn nvml(simulated: &Simulated) -> Nvml {
    let library = Path::new(simulated.path()).as_os_str();
    Nvml::builder().lib_path(library).init().unwrap()
}

fn recorder(nvml: &Nvml) -> Recorder<'_> {
    let began = Instant::now();
    Recorder::new(
        nvml,
        UNIX_EPOCH.elapsed().unwrap().as_micros() as u64,
        move || began.elapsed(),
    )
}

/// How long after the beginning a round is.
fn moment(round: u64) -> Duration {
    APART * round as u32
}

/// Records a scenario and charts it, in turn.
fn recorded(scenario: &str) -> (String, Vec<Charted>) {
    let processes = ranks();
    let root = processes.path().display();
    let at = |round| {
        let now_s = BEGAN_S + moment(round).as_secs();
        with(
            scenario,
            &format!(
                "now_s: {now_s}
proc_root: {root}"
            ),
        )
    };
    let simulated = Simulated::new(&at(0));
    let nvml = nvml(&simulated);
    let mut charts = Charts::of(simulated);
    let elapsed = Rc::new(Cell::new(Duration::ZERO));
    let clock = Rc::clone(&elapsed);
    let mut recorder = Recorder::new(&nvml, BEGAN_S * 1_000_000, move || clock.get());
    let one = |round| {
        elapsed.set(moment(round));
        let charted = charts.with(&at(round));
        recorder.round(true);
        charted
    };
    let all = (0..ROUNDS).map(one).collect();
    (log::header(LENGTH) + &recorder.log.take(), all)
}

/// Charts a record as it is played.
fn replayed(text: &str) -> Vec<Charted> {
    let at = |round| {
        let now_s = BEGAN_S + moment(round).as_secs();
        text.replacen(
            "\nseconds ",
            &format!("\nfrom {BEGAN_S}\nnow {now_s}\nseconds "),
            1,
        )
    };
    let mut charts = Charts::of(Simulated::new(&at(0)));
    (0..ROUNDS).map(|round| charts.with(&at(round))).collect()
}

/// Compares every value of every reading.
fn compare(name: &str, then: &[Charted], now: &[Charted]) -> usize {
    let mut compared = 0;
    for (round, (then, now)) in then.iter().zip(now).enumerate() {
        let only = |one: &Charted, other: &Charted| -> Vec<String> {
            let keys = one.keys().filter(|key| !other.contains_key(*key));
            keys.cloned().collect()
        };
        let differ = (only(then, now), only(now, then));
        assert_eq!(differ, (vec![], vec![]), "{name}: reading {round}");
        for (key, value) in now {
            let was = then[key];
            assert!(
                (value - was).abs() <= was.abs() * 1e-9,
                "{name}: {key} is {value} in reading {round}, was {was}"
            );
            compared += 1;
        }
    }
    compared
}

#[test]
fn a_recording_of_each_scenario_replays_to_the_same_charts_at_the_same_times() {
    let busy = "processes: [{pid: 77, memory_mib: 300, sm: 40}, {pid: 78, memory_mib: 20, type: graphics, sm: 0}]}";
    let two = TWO.replace(
        "uuid: GPU-b, pci_bus_id: \"00000000:02:00.0\"}",
        &format!("uuid: GPU-b, pci_bus_id: \"00000000:02:00.0\", {busy}"),
    );
    let mut scenarios: Vec<_> = [
        "h200-nvl-4",
        "h200-nvl-4-straggler",
        "h100-sxm-8",
        "a100-mig",
        "l40s",
        "rtx-4090",
        "rtx-pro-6000",
        "t4",
        "gb200-4",
        "old-card",
    ]
    .map(|name| (name, scenario(name)))
    .into();
    scenarios.push(("processes of a board that stands still", two.clone()));
    let lost = with(
        &two,
        "faults: [{call: nvmlDeviceGetPowerUsage, gpu: 0, code: 999}]",
    );
    scenarios.push(("a call that fails", lost));
    thread::scope(|scope| {
        for (name, scenario) in &scenarios {
            scope.spawn(move || {
                let (text, then) = recorded(scenario);
                let now = replayed(&text);
                let compared = compare(name, &then, &now);
                println!(
                    "{name}: {compared} values of {ROUNDS} readings are the same, {} lines, {} KiB",
                    text.lines().count(),
                    text.len() / 1024
                );
                assert!(
                    compared > 10 * ROUNDS as usize,
                    "{name}: only {compared} values"
                );
            });
        }
    });
}

#[test]
fn a_record_tells_neither_uuids_nor_serial_numbers_nor_pids() {
    let private = TWO
        .replace(
            "uuid: GPU-a",
            "serial: \"1650000000001\", uuid: GPU-5a3d7c10",
        )
        .replace(
            "uuid: GPU-b",
            "processes: [{pid: 1987654321, memory_mib: 3}], uuid: GPU-5a3d7c11",
        );
    let simulated = Simulated::new(&private);
    let nvml = nvml(&simulated);
    let mut recorder = recorder(&nvml);
    recorder.round(true);
    let text = recorder.log.take();
    for secret in ["5a3d7c1", "1650000000001", "1987654321"] {
        let lines: Vec<_> = text.lines().filter(|line| line.contains(secret)).collect();
        assert!(lines.is_empty(), "{secret} in {lines:?}");
    }
    for replaced in [
        "nvmlDeviceGetComputeRunningProcesses_v3() 0 [5000000,3145728,",
        "nvmlDeviceGetUUID() 0 \"GPU-00000000-0000-4000-8000-0000000000",
    ] {
        let named = replaced.split('(').next().unwrap_or("");
        let lines: Vec<_> = text.lines().filter(|line| line.contains(named)).collect();
        assert!(text.contains(replaced), "no {replaced} in {lines:?}");
    }
}

#[test]
fn an_error_that_happens_while_recording_is_played_when_it_happened() {
    let at_s = unix_s() + 1.0;
    let text = TWO.replace(
        "uuid: GPU-b",
        &format!("xids: [{{xid: 79, at_s: {at_s}, every_s: 1}}], uuid: GPU-b"),
    );
    let simulated = Simulated::new(&text);
    let nvml = nvml(&simulated);
    let mut recorder = recorder(&nvml);
    recorder.round(true);
    recorder.wait(Duration::from_secs(3));
    let text = recorder.log.take();
    let line = text
        .lines()
        .find(|line| line.contains("nvmlEventSetWait_v2"));
    let line = line.unwrap_or_else(|| panic!("no event in\n{text}"));
    assert!(line.ends_with(" 1 nvmlEventSetWait_v2() 0 79"), "{line}");
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine");
    fs::write(&path, "precious").unwrap();
    let error = super::record(&crate::config::Source::default(), &path, 5).unwrap_err();
    assert!(format!("{error:#}").contains("another name"), "{error:#}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}
