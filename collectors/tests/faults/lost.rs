//! A GPU that is lost, wants a reset, or may not be touched.

use std::time::{Duration, SystemTime};

use crate::board::Machine;
use crate::plugin::{Plugin, chart, place, power};

/// The other GPUs are charted every second while GPU 1 is not.
fn only_gpu_1_has_a_gap(plugin: &Plugin, since: SystemTime) -> Duration {
    for gpu in [0, 2] {
        let pause = plugin.longest_pause(since, &power(gpu), "power_draw");
        assert!(pause < Duration::from_millis(2900), "GPU {gpu}: {pause:?}");
    }
    let gap = plugin.longest_pause(since, &power(1), "power_draw");
    assert!(gap > Duration::from_secs(4), "GPU 1: {gap:?}");
    gap
}

pub fn lost_and_back() {
    let whole = Machine::rich(3);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..3);
    let gone = plugin.becomes(
        &whole
            .clone()
            .fault("call: \"nvmlDevice*\", gpu: 1, code: 15"),
    );
    plugin.wait_for("word that it is lost", 10, |plugin| {
        plugin.state(gone, "gpu-1") == Some("lost")
    });
    let lost = SystemTime::now();
    std::thread::sleep(Duration::from_secs(5));
    // Nothing but its state, and what is known without it.
    let of_it = plugin.values(lost + Duration::from_secs(1), "nvidia.gpu_gpu-1_");
    let charts: Vec<_> = of_it.keys().map(|(chart, _)| chart.as_str()).collect();
    let may = ["gpu_state", "xid_events", "xid_last", "driver_call_latency"];
    assert!(charts.iter().all(|chart| may.contains(chart)), "{charts:?}");
    assert!(
        plugin
            .values(lost + Duration::from_secs(1), "nvidia_smi.gpu_gpu-1_")
            .is_empty()
    );
    assert_eq!(plugin.state(lost, "gpu-0"), Some("ok"));
    let back = plugin.becomes(&whole);
    plugin.wait_for_gpus(back, 0..3);
    plugin.wait_for("word that it is well", 10, |plugin| {
        plugin.state(back, "gpu-1") == Some("ok")
    });
    let gap = only_gpu_1_has_a_gap(&plugin, gone);
    let said = plugin.all_logged(gone, "GPU-1 fell off the bus");
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(plugin.all_logged(back, "GPU-1 answers again").len(), 1);
    println!(
        "lost: state lost, its charts a gap of {gap:?}, the others without; {}; then it answers again",
        said[0].1
    );
}

pub fn lost_from_the_start() {
    let whole = Machine::rich(3);
    let dir = place(
        &whole
            .clone()
            .fault("call: \"nvmlDevice*\", gpu: 1, code: 15"),
    );
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    plugin.wait_for_gpus(start, [0, 2]);
    // It cannot say which it is, so it has the name of its place.
    assert_eq!(plugin.state(start, "unknown-1"), Some("lost"));
    assert_eq!(plugin.state(start, "gpu-2"), Some("ok"));
    let said = plugin
        .logged(start, "GPU unknown-1 fell off the bus")
        .unwrap()
        .1;
    let back = plugin.becomes(&whole);
    plugin.wait_for_gpus(back, 0..3);
    let nameless = chart("nvidia", "unknown-1", "gpu_state");
    plugin.wait_for("the end of the chart without a name", 30, |plugin| {
        plugin.defined(&nameless).unwrap().obsolete
    });
    println!("lost from the start: state lost as unknown-1; {said}; back under its own name");
}

pub fn reset_required() {
    let whole = Machine::rich(3);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..3);
    let gone = plugin.becomes(
        &whole
            .clone()
            .fault("call: \"nvmlDevice*\", gpu: 1, code: 16"),
    );
    plugin.wait_for("word of it", 10, |plugin| {
        plugin.state(gone, "gpu-1") == Some("reset_required")
    });
    // Long enough for its handle to be asked for again, which the driver refuses, too.
    std::thread::sleep(Duration::from_secs(13));
    assert_eq!(plugin.state(gone, "gpu-1"), Some("reset_required"));
    let reset = plugin.becomes(&whole);
    plugin.wait_for_gpus(reset, 0..3);
    plugin.wait_for("word that it is well", 10, |plugin| {
        plugin.state(reset, "gpu-1") == Some("ok")
    });
    let gap = only_gpu_1_has_a_gap(&plugin, gone);
    let said = plugin.all_logged(gone, "GPU-1 wants a reset");
    assert_eq!(said.len(), 1, "{said:?}");
    println!(
        "reset required: state reset_required, its charts a gap of {gap:?}, the others without; {}",
        said[0].1
    );
}

pub fn permission_denied_from_the_start() {
    let whole = Machine::simple(1);
    let dir = place(&whole.clone().fault("call: \"nvmlInit*\", code: 4"));
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    plugin.wait_for("word of it", 10, |plugin| {
        plugin
            .logged(start, "may not talk to the NVIDIA driver")
            .is_some()
    });
    std::thread::sleep(Duration::from_secs(12));
    // Tried again and said once.
    let said = plugin.all_logged(start, "may not talk to the NVIDIA driver");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].1.contains("/dev/nvidia"));
    assert_eq!(plugin.state(start, "gpu-0"), None);
    let given = plugin.becomes(&whole);
    plugin.wait_for_gpus(given, [0]);
    println!(
        "permission denied from the start: no charts; {}; charted when it was given",
        said[0].1
    );
}

pub fn permission_denied_while_it_runs() {
    let whole = Machine::rich(3);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..3);
    let denied = whole.clone().fault("call: \"nvml*\", gpu: 1, code: 4");
    let taken = plugin.becomes(&denied);
    plugin.wait_for("word of it", 10, |plugin| {
        plugin.state(taken, "gpu-1") == Some("stale")
    });
    std::thread::sleep(Duration::from_secs(5));
    let given = plugin.becomes(&whole);
    plugin.wait_for_gpus(given, 0..3);
    plugin.wait_for("all of its charts", 20, |plugin| {
        let of = |gpu: &str| {
            plugin
                .values(given, &format!("nvidia_smi.gpu_{gpu}_"))
                .len()
        };
        of("gpu-1") == of("gpu-0") && plugin.state(given, "gpu-1") == Some("ok")
    });
    let gap = only_gpu_1_has_a_gap(&plugin, taken);
    let said = plugin.all_logged(taken, "GPU-1");
    assert!(
        said[0].1.contains("answers no call: this user may not"),
        "{said:?}"
    );
    assert!(plugin.logged(taken, "MIG").is_none(), "{said:?}");
    let said = &said[0].1;
    println!(
        "permission denied while it runs: state stale, its charts a gap of {gap:?}, the others without; {said}"
    );
}

pub fn one_call_denied_while_it_runs() {
    let whole = Machine::rich(1);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, [0]);
    let taken = plugin.becomes(
        &whole
            .clone()
            .fault("call: nvmlDeviceGetPowerUsage, code: 4"),
    );
    std::thread::sleep(Duration::from_secs(6));
    let given = plugin.becomes(&whole);
    plugin.wait_for("its return", 25, |plugin| {
        plugin.charted(given, &power(0), "power_draw")
    });
    let gap = plugin.longest_pause(taken, &power(0), "power_draw");
    assert!(gap > Duration::from_secs(4), "{gap:?}");
    let temperature = chart("nvidia_smi", "gpu-0", "temperature");
    let pause = plugin.longest_pause(taken, &temperature, "temperature");
    assert!(pause < Duration::from_millis(2900), "{pause:?}");
    assert_eq!(plugin.state(taken, "gpu-0"), Some("ok"));
    println!(
        "one call denied while it runs: its chart a gap of {gap:?}, the rest goes on, state ok"
    );
}
