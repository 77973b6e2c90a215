//! Calls that hang for ever, for a while, or are slow.

use std::time::{Duration, SystemTime};

use crate::plugin::{Plugin, chart, place, scenario};

/// The longest pause between two points of a chart that ticks every second.
fn longest_pause(plugin: &Plugin, since: SystemTime, chart: &str, dim: &str) -> Duration {
    let points = plugin.since(since, chart, dim);
    assert!(points.len() > 3, "{chart}: {points:?}");
    let pauses = points
        .windows(2)
        .map(|two| two[1].at.duration_since(two[0].at).unwrap());
    pauses.max().unwrap()
}

#[test]
fn one_of_eight_gpus_hangs_for_ever_and_the_other_seven_are_charted_within_fifteen_seconds() {
    let whole = scenario(8);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    let power = |gpu| chart("nvidia_smi", gpu, "power_draw");
    let charted =
        |plugin: &Plugin, since, gpu| !plugin.since(since, &power(gpu), "power_draw").is_empty();
    plugin.wait_for("chart of every GPU", 20, |plugin| {
        (0..8).all(|gpu| charted(plugin, start, gpu))
    });
    plugin.becomes(&format!(
        "{whole}faults: [{{call: nvmlDeviceGetPowerUsage, gpu: 3, hang: true}}]\n"
    ));
    let begun = SystemTime::now();
    let said = "GPU 3 (GPU-3): nvmlDeviceGetPowerUsage has not answered for 5 s";
    plugin.wait_for("word of the hang", 20, |plugin| {
        plugin.logged(begun, said).is_some()
    });
    let (told, _) = plugin.logged(begun, said).unwrap();
    // It hung 5 s before that was told: ten are left of the fifteen.
    let others = [0, 1, 2, 4, 5, 6, 7];
    plugin.wait_for("chart of the others", 20, |plugin| {
        others.iter().all(|gpu| charted(plugin, told, *gpu))
    });
    for gpu in others {
        let first = plugin.since(told, &power(gpu), "power_draw")[0].at;
        let took = first.duration_since(told).unwrap() + Duration::from_secs(5);
        assert!(took < Duration::from_secs(15), "GPU {gpu} after {took:?}");
    }
    let stale = |plugin: &Plugin, gpu| {
        let states = plugin.since(told, &chart("nvidia", gpu, "gpu_state"), "stale");
        states.last().map(|point| point.value.clone())
    };
    plugin.wait_for("word that it is stale", 10, |plugin| {
        stale(plugin, 3).as_deref() == Some("1") && stale(plugin, 2).as_deref() == Some("0")
    });
    assert!(
        !charted(&plugin, told, 3),
        "a flat line of a GPU that hangs"
    );
    assert_eq!(plugin.children(), 1);
    // The rest of the plugin did not notice.
    let pause = longest_pause(&plugin, begun, "netdata.rs_d_plugin_resources_cpu", "user");
    assert!(
        pause < Duration::from_secs(4),
        "{pause:?} without charts of the plugin itself"
    );
    // And back.
    plugin.becomes(&whole);
    let cleared = SystemTime::now();
    plugin.wait_for("its return", 20, |plugin| charted(plugin, cleared, 3));
    assert!(plugin.logged(cleared, "every GPU is read again").is_some());
    plugin.wait_for("end of the child", 10, |plugin| plugin.children() == 0);
}

#[test]
fn a_second_gpu_that_hangs_as_well_costs_only_itself() {
    let whole = scenario(3);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    let charted = |plugin: &Plugin, since, gpu| {
        !plugin
            .since(
                since,
                &chart("nvidia_smi", gpu, "temperature"),
                "temperature",
            )
            .is_empty()
    };
    plugin.wait_for("first charts", 20, |plugin| charted(plugin, start, 2));
    plugin.becomes(&format!(
        "{whole}faults: [{{call: \"nvmlDevice*\", gpu: 0, hang: true}}]\n"
    ));
    plugin.wait_for("the first hang", 30, |plugin| {
        plugin.logged(start, "GPU 0 (GPU-0)").is_some()
    });
    let one = SystemTime::now();
    plugin.wait_for("the others", 20, |plugin| {
        charted(plugin, one, 1) && charted(plugin, one, 2)
    });
    plugin.becomes(&format!(
        "{whole}faults: [{{call: \"nvmlDevice*\", gpu: 0, hang: true}}, {{call: \"nvmlDevice*\", gpu: 1, hang: true}}]\n"
    ));
    plugin.wait_for("the second hang", 30, |plugin| {
        plugin.logged(start, "GPU 1 (GPU-1)").is_some()
    });
    let two = SystemTime::now();
    plugin.wait_for("the last one", 20, |plugin| charted(plugin, two, 2));
    assert_eq!(plugin.children(), 1, "the child that hung was not ended");
}

#[test]
fn a_call_that_hangs_for_a_second_costs_a_tick_and_no_process() {
    let whole = scenario(2);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    let points = |plugin: &Plugin, since| {
        plugin
            .since(since, &chart("nvidia_smi", 1, "power_draw"), "power_draw")
            .len()
    };
    plugin.wait_for("first charts", 20, |plugin| points(plugin, start) > 2);
    plugin.becomes(&format!(
        "{whole}faults: [{{call: nvmlDeviceGetPowerUsage, gpu: 0, delay_ms: 1200}}]\n"
    ));
    std::thread::sleep(Duration::from_secs(2));
    plugin.becomes(&whole);
    let cleared = SystemTime::now();
    plugin.wait_for("charts again", 20, |plugin| points(plugin, cleared) > 5);
    assert!(plugin.logged(start, "has not answered").is_none());
    assert_eq!(plugin.children(), 0);
}

#[test]
fn a_driver_that_takes_300_ms_a_call_is_read_rarely_and_is_not_taken_for_one_that_hangs() {
    let slow = format!(
        "{}faults: [{{call: \"nvmlDevice*\", delay_ms: 300}}]\n",
        scenario(1)
    );
    let dir = place(&slow);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    let state = chart("nvidia", 0, "gpu_state");
    // Nothing was read for three ticks: that is said, and no old value is repeated.
    plugin.wait_for("word that it is stale", 30, |plugin| {
        plugin
            .since(start, &state, "stale")
            .iter()
            .any(|point| point.value == "1")
    });
    plugin.wait_for("a reading", 60, |plugin| {
        !plugin
            .since(start, &chart("nvidia_smi", 0, "power_draw"), "power_draw")
            .is_empty()
    });
    assert!(plugin.logged(start, "has not answered").is_none());
    assert_eq!(plugin.children(), 0);
}
