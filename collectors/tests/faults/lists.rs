//! Lists and samples that are not what one would expect.

use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::board::Machine;
use crate::plugin::{Plugin, chart, place, power};

/// Its charts of processes.
fn of(gpu: usize, name: &str) -> String {
    chart("nvidia", &format!("gpu-{gpu}"), name)
}

pub fn grows_between_calls() {
    // The first list fits the room there is, every other has outgrown what the one before needed.
    let machine = Machine::rich(1).with(0, ", odd: {list_grows_by: 50}");
    let dir = place(&machine);
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    let count = of(0, "processes");
    plugin.wait_for("four hundred processes", 40, |plugin| {
        plugin.last(start, &count, "count") > Some(400.0)
    });
    let counts: Vec<_> = plugin
        .since(start, &count, "count")
        .iter()
        .map(|point| point.value)
        .collect();
    assert!(counts.is_sorted(), "{counts:?}");
    // The one that exists, and multiples of fifty.
    assert!(
        counts.iter().all(|count| (count - 1.0) % 50.0 == 0.0),
        "cut short: {counts:?}"
    );
    let pause = plugin.longest_pause(start + Duration::from_secs(2), &count, "count");
    assert!(pause < Duration::from_millis(2900), "{pause:?}");
    assert!(plugin.logged(start, "failed").is_none());
    assert_eq!(plugin.state(start, "gpu-0"), Some("ok"));
    println!(
        "list grows between calls: read whole each time ({counts:?}), longest pause {pause:?}, nothing logged"
    );
}

pub fn process_gone() {
    let mut process = Command::new("sleep").arg("600").spawn().unwrap();
    let listed = format!(
        ", processes: [{{pid: {}, memory_mib: 300, sm: 40}}]",
        process.id()
    );
    let machine = Machine::simple(1).with(0, &listed);
    let dir = place(&machine);
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    let memory = of(0, "process_memory");
    let its = |plugin: &Plugin| {
        let dims = plugin.charts_of(&memory).into_iter().map(|(_, dim)| dim);
        dims.into_iter().find(|dim| dim.starts_with("sleep ("))
    };
    plugin.wait_for("its memory", 20, |plugin| its(plugin).is_some());
    let its = its(&plugin).unwrap();
    assert_eq!(plugin.last(start, &memory, &its), Some(300.0 * 1_048_576.0));
    process.kill().unwrap();
    process.wait().unwrap();
    let gone = SystemTime::now();
    // NVML lists it still.
    plugin.wait_for("an unresolved process", 10, |plugin| {
        plugin.last(gone, &of(0, "processes"), "unresolved") == Some(1.0)
    });
    let later = SystemTime::now() + Duration::from_millis(500);
    plugin.wait_for("its memory without a name", 10, |plugin| {
        plugin.charted(later, &memory, "unresolved")
    });
    assert!(
        !plugin.charted(later, &memory, &its),
        "memory of a process that is gone"
    );
    let freed = plugin.becomes(&Machine::simple(1));
    plugin.wait_for("an empty list", 10, |plugin| {
        plugin.last(freed, &of(0, "processes"), "count") == Some(0.0)
    });
    let pause = plugin.longest_pause(start + Duration::from_secs(2), &power(0), "power_draw");
    assert!(pause < Duration::from_millis(2900), "{pause:?}");
    println!(
        "process gone between calls: `{its}` a gap, its memory under `unresolved`, then none; longest pause {pause:?}"
    );
}

pub fn unknown_memory() {
    let machine = Machine::rich(2).with(1, ", odd: {unknown_memory: true}");
    let dir = place(&machine);
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    plugin.wait_for("processes", 20, |plugin| {
        plugin.charted(start, &of(1, "processes"), "count")
    });
    std::thread::sleep(Duration::from_secs(2));
    let memory = |gpu| chart("nvidia_smi", gpu, "frame_buffer_memory_usage");
    let known = |gpu, dim| {
        plugin
            .last(start, &memory(gpu), dim)
            .map(|bytes| bytes / 1_048_576.0)
    };
    assert_eq!(
        (known("gpu-0", "used"), known("gpu-0", "free")),
        (Some(250.0), Some(650.0))
    );
    assert_eq!(
        (known("gpu-1", "used"), known("gpu-1", "free")),
        (None, None)
    );
    assert_eq!(known("gpu-1", "reserved"), Some(100.0));
    let held = plugin.values(start, &of(1, "process_memory"));
    assert!(held.is_empty(), "{held:?}");
    assert_eq!(plugin.last(start, &of(1, "processes"), "count"), Some(1.0));
    assert_eq!(plugin.state(start, "gpu-1"), Some("ok"));
    println!(
        "memory of u64::MAX: used, free and the process's memory are gaps, reserved 100 MiB, 1 process, state ok"
    );
}

/// The share of SM time of the one process, and the range of utilisation and power since a time.
fn samples(plugin: &Plugin, since: SystemTime) -> Vec<(String, f64)> {
    let mut samples = vec![];
    for ((_, dim), share) in plugin.values(since, &of(0, "process_utilization")) {
        samples.push((dim, share));
    }
    for (name, dim) in [
        ("gpu_utilization_range", "min"),
        ("gpu_utilization_range", "max"),
        ("power", "min"),
        ("power", "max"),
    ] {
        let value = plugin.last(since, &of(0, name), dim);
        samples.extend(value.map(|value| (format!("{name} {dim}"), value)));
    }
    samples
}

/// Every value that was ever sent of them is the true one.
fn only_true(plugin: &Plugin) {
    let is = |chart: &str, dim: &str, right: f64| {
        let points = plugin.since(plugin.started, &of(0, chart), dim);
        assert!(
            points
                .iter()
                .all(|point| (point.value - right).abs() < 0.01),
            "{chart} {dim}: {points:?}"
        );
    };
    for (_, dim) in plugin.charts_of(&of(0, "process_utilization")) {
        is("process_utilization", &dim, 40.0);
    }
    for dim in ["min", "max"] {
        is("gpu_utilization_range", dim, 90.0);
        is("power", dim, 300.0);
    }
}

pub fn garbage() {
    let machine = Machine::rich(1).with(0, ", odd: {garbage_samples: true}");
    let dir = place(&machine);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for("samples", 30, |plugin| {
        samples(plugin, plugin.started).len() == 5
    });
    std::thread::sleep(Duration::from_secs(4));
    only_true(&plugin);
    println!(
        "a hundred garbage samples: {:?}, never anything else",
        samples(&plugin, plugin.started)
    );
}

pub fn clock_goes_back() {
    let machine = Machine::rich(1);
    let dir = place(&machine);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for("samples", 30, |plugin| {
        samples(plugin, plugin.started).len() == 5
    });
    let back = plugin.becomes(&machine.with(0, ", odd: {sample_clock_s: -3600}"));
    let later = back + Duration::from_secs(3);
    plugin.wait_for("samples of an hour ago", 40, |plugin| {
        samples(plugin, later).len() == 5
    });
    only_true(&plugin);
    let gap = plugin.longest_pause(back, &of(0, "power"), "min");
    assert!(gap < Duration::from_secs(20), "{gap:?}");
    assert_eq!(plugin.state(back, "gpu-0"), Some("ok"));
    println!(
        "sample clock an hour back: a gap of {gap:?}, then {:?} again",
        samples(&plugin, later)
    );
}
