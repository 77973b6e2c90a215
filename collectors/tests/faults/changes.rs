//! A machine that changes: counters that start over, GPUs that come, go, are split or change their places.

use std::time::{Duration, SystemTime};

use crate::board::Machine;
use crate::plugin::{Plugin, chart, named, place, power};

fn now_s() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

pub fn counters_start_over() {
    let machine = Machine::rich(1);
    let dir = place(&machine);
    let mut plugin = Plugin::start(dir.path());
    let average = chart("nvidia", "gpu-0", "power");
    let bytes = chart("nvidia_smi", "gpu-0", "pcie_bandwidth_usage");
    let links = chart("nvidia", "gpu-0", "nvlink_throughput");
    let points = |plugin: &Plugin, since| plugin.since(since, &average, "average").len();
    plugin.wait_for("rates", 20, |plugin| points(plugin, plugin.started) > 3);
    // The driver counts from now on.
    let reset = plugin.becomes(&machine.line(format!("driver_loaded_s: {}", now_s())));
    plugin.wait_for("rates again", 20, |plugin| points(plugin, reset) > 6);
    for (chart, dim, right) in [
        (&average, "average", 300.0),
        (&bytes, "rx", 500e6),
        (&bytes, "tx", -700e6),
        (&links, "tx", -3600e6),
    ] {
        let points = plugin.since(plugin.started, chart, dim);
        assert!(points.len() > 5, "{chart} {dim}: {points:?}");
        let off = points
            .iter()
            .find(|point| (point.value / right - 1.0).abs() > 0.05);
        assert!(off.is_none(), "{chart} {dim}: {off:?} of {points:?}");
        // One without a gap has another source.
        let gap = plugin.longest_pause(reset - Duration::from_secs(1), chart, dim);
        println!("counter reset: {chart} {dim}: longest pause {gap:?}, never off {right} by 5 %");
    }
    assert_eq!(plugin.state(reset, "gpu-0"), Some("ok"));
    assert!(plugin.logged(reset, "GPU").is_none());
}

pub fn comes_and_goes() {
    let (one, two) = (Machine::simple(1), Machine::simple(2));
    let dir = place(&one);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, [0]);
    let added = plugin.becomes(&two);
    plugin.wait_for_gpus(added, [0, 1]);
    assert_eq!(plugin.state(added, "gpu-1"), Some("ok"));
    let came = plugin.logged(added, "counts 2 GPUs, not 1").unwrap().1;
    let removed = plugin.becomes(&one);
    plugin.wait_for("the end of its charts", 30, |plugin| {
        [power(1), chart("nvidia", "gpu-1", "gpu_state")]
            .iter()
            .all(|chart| plugin.defined(chart).unwrap().obsolete)
    });
    let went = plugin.logged(removed, "counts 1 GPUs, not 2").unwrap().1;
    let late = removed + Duration::from_secs(2);
    assert!(
        !plugin.charted(late, &power(1), "power_draw"),
        "values of a GPU that is not there"
    );
    let pause = plugin.longest_pause(
        plugin.since(plugin.started, &power(0), "power_draw")[0].at,
        &power(0),
        "power_draw",
    );
    assert!(pause < Duration::from_millis(2900), "{pause:?}");
    println!(
        "GPU added and removed: charted, then obsolete; the other's longest pause {pause:?}; {came}; {went}"
    );
}

pub fn split_while_it_runs() {
    let whole = Machine::rich(2);
    let instance = ", mig: [{gpu_instance: 3, uuid: MIG-3, profile: 1g.12gb, memory_mib: 110, used_mib: 40, activity: {sm: 50, occupancy: 20, tensor: 10, dram: 30}}]";
    let split = whole.clone().with(1, instance);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..2);
    let busy = chart("nvidia_smi", "gpu-1", "gpu_utilization");
    assert_eq!(plugin.last(plugin.started, &busy, "gpu"), Some(90.0));
    let done = plugin.becomes(&split);
    let memory = "nvidia_smi.mig_instance_3_gpu_gpu-1_frame_buffer_memory_usage";
    plugin.wait_for("its instance", 20, |plugin| {
        plugin.last(done, memory, "used") == Some(40.0 * 1_048_576.0)
    });
    let activity = "nvidia.mig_instance_3_gpu_gpu-1_mig_activity";
    plugin.wait_for("its activity", 20, |plugin| {
        let sm = plugin.last(done, activity, "sm");
        sm.is_some_and(|sm| (sm - 50.0).abs() < 0.5)
    });
    let mode = chart("nvidia_smi", "gpu-1", "mig_mode_current_status");
    assert_eq!(plugin.last(done, &mode, "enabled"), Some(1.0));
    let there = SystemTime::now() + Duration::from_secs(1);
    std::thread::sleep(Duration::from_secs(3));
    assert!(
        !plugin.charted(there, &busy, "gpu"),
        "utilisation of a GPU that is split"
    );
    assert_eq!(plugin.state(there, "gpu-1"), Some("ok"));
    let said = plugin.logged(done, "GPU-1: MIG was switched").unwrap().1;
    let undone = plugin.becomes(&whole);
    plugin.wait_for("its utilisation", 30, |plugin| {
        plugin.last(undone, &busy, "gpu") == Some(90.0)
    });
    plugin.wait_for("the end of the instance", 30, |plugin| {
        plugin.defined(memory).unwrap().obsolete
    });
    let pause = plugin.longest_pause(done, &power(0), "power_draw");
    assert!(pause < Duration::from_millis(2900), "{pause:?}");
    println!(
        "MIG enabled while it runs: utilisation a gap, the instance charted, state ok; {said}; and back; the other GPU's longest pause {pause:?}"
    );
}

pub fn another_order() {
    let machine =
        Machine::rich(3).each(|gpu| format!(", readings: {{power_w: {}}}", 100 * (gpu + 1)));
    let dir = place(&machine);
    let index =
        |plugin: &Plugin, gpu: usize| plugin.defined(&power(gpu)).unwrap().labels["index"].clone();
    let watts =
        |plugin: &Plugin, gpu: usize| plugin.last(plugin.started, &power(gpu), "power_draw");
    let each =
        |plugin: &Plugin| [0, 1, 2].map(|gpu| (index(plugin, gpu), watts(plugin, gpu).unwrap()));
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..3);
    let of = |index: &str, watts: f64| (index.to_owned(), watts);
    assert_eq!(
        each(&plugin),
        [of("0", 100.0), of("1", 200.0), of("2", 300.0)]
    );
    drop(plugin);
    let mut turned = machine;
    turned.gpus.reverse();
    let dir = place(&turned);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..3);
    // Each goes on under its own chart; its place is a label.
    assert_eq!(
        each(&plugin),
        [of("2", 100.0), of("1", 200.0), of("0", 300.0)]
    );
    assert!((0..3).all(|gpu| plugin.state(plugin.started, &named(gpu)) == Some("ok")));
    println!("another order after a restart: {:?} by UUID", each(&plugin));
}
