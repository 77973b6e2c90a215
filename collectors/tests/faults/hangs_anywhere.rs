//! Whichever call hangs: the one that does is named, its GPU is left alone, and the others are read.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::board::Machine;
use crate::plugin::{Plugin, named, place, power};

/// GPUs of one machine that hang, each in a call of its own; they are found one after the other.
const HANGING: usize = 6;

/// Calls of the opening, of the thread that waits for XID errors, and about no GPU: other tests have them hang.
const ELSEWHERE: &[&str] = &[
    "nvmlDeviceGetCount",
    "nvmlDeviceGetHandleByIndex",
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetSupportedEventTypes",
    "nvmlDeviceRegisterEvents",
    "nvmlGpmSampleAlloc",
    "nvmlGpmSampleFree",
    "nvmlGpmMetricsGet",
];

/// The calls about a GPU that the plugin makes.
fn calls() -> Vec<String> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let line = format!("call_log: {}", log.path().display());
    let dir = place(&Machine::rich(1).line(line));
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for("several readings", 20, |plugin| {
        plugin.since(plugin.started, &power(0), "power_draw").len() > 3
    });
    let made = fs::read_to_string(log.path()).unwrap();
    let names = made.lines().filter_map(|line| line.split(' ').next());
    let of_gpus = |name: &&str| {
        let elsewhere = ELSEWHERE.iter().any(|other| name.starts_with(other));
        !elsewhere
            && ["nvmlDevice", "nvmlGpm"]
                .iter()
                .any(|of| name.starts_with(of))
    };
    names.filter(of_gpus).map(str::to_owned).collect()
}

/// GPU 0 is well, each other hangs in a call of its own.
fn each_hangs(calls: &[String]) {
    let whole = Machine::rich(calls.len() + 1);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..=calls.len());
    let hangs = |machine: Machine, (gpu, call): (usize, &String)| {
        machine.fault(format!("call: {call}, gpu: {gpu}, hang: true"))
    };
    let begun = plugin.becomes(&(1..).zip(calls).fold(whole, hangs));
    for (gpu, call) in (1..).zip(calls) {
        let said = format!("GPU {gpu} (GPU-{gpu}): {call}");
        plugin.wait_for(&said, 60, |plugin| plugin.logged(begun, &said).is_some());
    }
    let found = SystemTime::now();
    plugin.wait_for_gpus(found, [0]);
    plugin.wait_for("state of each", 10, |plugin| {
        let stale = |gpu| plugin.state(found, &named(gpu)) == Some("stale");
        plugin.state(found, "gpu-0") == Some("ok") && (1..=calls.len()).all(stale)
    });
    let late = SystemTime::now();
    std::thread::sleep(Duration::from_secs(2));
    for gpu in 1..=calls.len() {
        let flat = plugin.charted(late, &power(gpu), "power_draw");
        assert!(
            !flat,
            "values of GPU {gpu}, which hangs in {}",
            calls[gpu - 1]
        );
    }
    // Each was named once, and nothing else.
    let said = plugin.all_logged(begun, "has not answered");
    assert_eq!(said.len(), calls.len(), "{said:?}");
}

pub fn any_call() {
    let calls = calls();
    assert!(calls.len() > 25, "{calls:?}");
    std::thread::scope(|scope| {
        for calls in calls.chunks(HANGING) {
            scope.spawn(|| each_hangs(calls));
        }
    });
    println!(
        "any call hangs: {} calls, each named with its GPU, which is stale while GPU 0 is charted: {}",
        calls.len(),
        calls.join(", ")
    );
}
