//! Drivers and boards that do not have what others have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use crate::board::Machine;
use crate::plugin::{Plugin, chart, library_built, place};

/// Every function of nvml.h.
const NAMES: &str = include_str!("../../../tests/fake-nvml/tests/library/nvml_h_names.txt");

/// Field values that nvml.h names, and some that it does not.
const FIELDS: std::ops::Range<u32> = 1..280;

/// GPUs of one machine, which the plugin reads within its second.
const GPUS: usize = 96;

/// What the older call tells otherwise: it counts the reserved part as used.
const EXPLAINED: &[(&str, &str)] = &[("nvmlDeviceGetMemoryInfo_v2", "frame_buffer_memory_usage")];

/// What a reading cost, not what was read.
const LATENCY: &str = "driver_call_latency";

/// Of each GPU's charts and dimensions the latest value.
type Charted = BTreeMap<(String, String), f64>;

fn charted(plugin: &Plugin, gpu: usize) -> Charted {
    let mut all = Charted::new();
    for kind in ["nvidia_smi", "nvidia"] {
        all.extend(plugin.values(plugin.started, &format!("{kind}.gpu_gpu-{gpu}_")));
    }
    all.retain(|(chart, _), _| chart != LATENCY);
    all
}

/// One GPU is whole, each other lacks one thing. Returns what each thing cost.
fn without_each(things: &[String]) -> Vec<(String, BTreeSet<String>)> {
    let lacks = |gpu: usize| match gpu.checked_sub(1) {
        Some(thing) => format!(", absent: [\"{}\"]", things[thing]),
        None => String::new(),
    };
    let dir = place(&Machine::rich(things.len() + 1).each(lacks));
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for("charts of the last GPU", 40, |plugin| {
        plugin
            .since(
                plugin.started,
                &chart("nvidia", "gpu-0", "power"),
                "average",
            )
            .len()
            > 6
            && plugin.charted(
                plugin.started,
                &chart("nvidia", &format!("gpu-{}", things.len()), "gpu_state"),
                "ok",
            )
    });
    let whole = charted(&plugin, 0);
    assert!(whole.len() > 100, "{whole:?}");
    let mut lost = vec![];
    for (gpu, thing) in things.iter().enumerate().map(|(at, thing)| (at + 1, thing)) {
        let its = charted(&plugin, gpu);
        assert_eq!(
            plugin.state(plugin.started, &format!("gpu-{gpu}")),
            Some("ok"),
            "{thing}"
        );
        for (key, value) in &its {
            let right = whole
                .get(key)
                .unwrap_or_else(|| panic!("{key:?} only without {thing}"));
            let near = (value - right).abs() <= right.abs() * 0.1;
            let explained = EXPLAINED.contains(&(thing.as_str(), key.0.as_str()));
            assert!(
                near || explained,
                "without {thing} {key:?} is {value}, not {right}"
            );
        }
        let missing = whole.keys().filter(|key| !its.contains_key(key));
        lost.push((
            thing.clone(),
            missing.map(|(chart, _)| chart.clone()).collect(),
        ));
    }
    assert!(
        plugin.logged(plugin.started, "level=warn").is_none(),
        "expected absence is no news"
    );
    lost
}

pub fn any_call_or_field() {
    let calls = NAMES.lines().filter(|name| {
        let of_gpus = ["nvmlDeviceGet", "nvmlGpm", "nvmlDeviceRegister"];
        let finds = [
            "nvmlDeviceGetHandle",
            "nvmlDeviceGetCount",
            "nvmlDeviceGetUUID",
        ];
        let begins = |with: &&str| name.starts_with(*with);
        of_gpus.iter().any(begins) && !finds.iter().any(begins)
    });
    let calls = calls.map(str::to_owned);
    let things: Vec<_> = calls
        .chain(FIELDS.map(|id| format!("field:{id}")))
        .collect();
    let lost: Vec<_> = std::thread::scope(|scope| {
        let machines = things.chunks(GPUS);
        let runs: Vec<_> = machines
            .map(|things| scope.spawn(|| without_each(things)))
            .collect();
        runs.into_iter()
            .flat_map(|run| run.join().unwrap())
            .collect()
    });
    let costly: Vec<_> = lost
        .iter()
        .filter(|(_, charts)| !charts.is_empty())
        .collect();
    for (thing, charts) in &costly {
        println!(
            "not supported: {thing}: no {}",
            charts
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        );
    }
    println!(
        "not supported: {} calls and fields one by one, {} of them charted by something",
        lost.len(),
        costly.len()
    );
    // Batches of fields are one call; nothing else is needed by more than a few charts.
    let most = costly
        .iter()
        .filter(|(thing, _)| thing != "nvmlDeviceGetFieldValues")
        .map(|(_, charts)| charts.len())
        .max();
    assert!(costly.len() > 20 && most < Some(8), "{most:?}");
}

/// What a driver of 2021 does not export.
const NEWER: &[&str] = &[
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetMarginTemperature",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetComputeRunningProcesses_v3",
    "nvmlDeviceGetGraphicsRunningProcesses_v3",
    "nvmlDeviceGetMPSComputeRunningProcesses_v3",
    "nvmlDeviceGetProcessesUtilizationInfo",
    "nvmlDeviceGetJpgUtilization",
    "nvmlDeviceGetOfaUtilization",
    "nvmlGpmQueryDeviceSupport",
    "nvmlGpmSampleAlloc",
    "nvmlGpmSampleGet",
    "nvmlGpmMetricsGet",
];

pub fn older_driver() {
    let dir = place(&Machine::rich(1).driver("470.57.02"));
    let mut bytes = fs::read(library_built()).unwrap();
    for name in NEWER {
        // The linker finds a name by its hash and then compares it: one letter hides it.
        let sought = [b"\0", name.as_bytes(), b"\0"].concat();
        let at = bytes.windows(sought.len()).position(|at| at == sought);
        bytes[at.unwrap_or_else(|| panic!("{name} is not exported")) + 1] = b'_';
    }
    fs::write(dir.path().join("libnvidia-ml.so.1"), bytes).unwrap();
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    plugin.wait_for_gpus(start, [0]);
    std::thread::sleep(Duration::from_secs(4));
    let its =
        |kind: &str, name: &str, dim: &str| plugin.last(start, &chart(kind, "gpu-0", name), dim);
    let used = its("nvidia_smi", "frame_buffer_memory_usage", "used").unwrap() / 1_048_576.0;
    // Used memory contains the reserved part, which older drivers do not tell.
    assert!((used - 350.0).abs() < 0.1, "{used}");
    assert_eq!(
        its("nvidia_smi", "frame_buffer_memory_usage", "reserved"),
        None
    );
    assert_eq!(its("nvidia_smi", "temperature", "temperature"), Some(55.0));
    assert_eq!(
        its("nvidia", "clock_event_reasons", "sw_power_cap"),
        Some(1.0)
    );
    assert_eq!(its("nvidia", "processes", "count"), Some(1.0));
    assert_eq!(its("nvidia", "activity", "sm"), None);
    assert_eq!(plugin.state(start, "gpu-0"), Some("ok"));
    assert!(plugin.logged(start, "level=warn").is_none());
    println!(
        "older driver: {} values by older calls, no reserved memory, no activity; state ok; nothing logged",
        charted(&plugin, 0).len()
    );
}
