//! One GPU of a tensor-parallel group that is slower than the others.

use crate::board::Machine;
use crate::host::Host;
use crate::plugin::{Plugin, chart, place};

const SCENARIO: &str = include_str!("../../../tests/fake-nvml/scenarios/h200-nvl-4-straggler.yaml");

pub fn straggler() {
    let host = Host::new();
    let argv = [
        "python3",
        "-m",
        "sglang.launch_server",
        "--port",
        "39732",
        "--tp",
        "4",
    ];
    host.process(4711, "python3", &argv);
    for rank in 0..4 {
        let title = format!("sglang::scheduler_TP{rank}");
        host.child(4711, 4720 + rank, "sglang::schedul", &[&title]);
    }
    let proc_root = host.root().join("proc");
    let dir = place(&Machine::of_file(format!(
        "{SCENARIO}proc_root: {}\n",
        proc_root.display()
    )));
    let mut plugin = Plugin::with(dir.path(), "nvidia,servers", Some(host.root()));
    let start = plugin.started;
    let gpu = |number: usize| format!("gpu-5a3d7c10-0f6e-4b1a-9c55-2e0a64d1f00{}", number + 1);
    let behind = |number: usize| chart("nvidia", &gpu(number), "behind_peers");
    let warmer = |number: usize| chart("nvidia", &gpu(number), "warmer_than_peers");
    plugin.wait_for("comparison of every GPU", 40, |plugin| {
        (0..4).all(|gpu| plugin.charted(start, &behind(gpu), "throttled"))
    });
    // For 15 of 45 s the power limit holds all of them down: then none is held down more than the others.
    plugin.wait_for("the share of time that heat takes of GPU 2", 40, |plugin| {
        let over = plugin.last(start, &behind(2), "throttled");
        over.is_some_and(|points| points > 95.0)
    });
    let value = |chart: String, dim: &str| plugin.last(start, &chart, dim).unwrap();
    for number in 0..4 {
        let (clock, throttled, lanes) = (
            value(behind(number), "clock"),
            value(behind(number), "throttled"),
            value(behind(number), "lanes"),
        );
        let degrees = value(warmer(number), "gpu");
        println!(
            "straggler: GPU {number}: clock {clock} % under, throttled {throttled} points over, lanes {lanes} % fewer, {degrees} degrees warmer"
        );
        if number == 2 {
            assert!(clock > 20.0 && lanes == 50.0 && degrees > 15.0);
            assert!(throttled > 95.0);
        } else {
            assert!(clock < 2.0 && lanes <= 0.0 && degrees < 15.0 && throttled < 5.0);
        }
        assert_eq!(plugin.state(start, &gpu(number)), Some("ok"));
    }
    let labels = plugin.defined(&behind(2)).unwrap().labels;
    assert_eq!(
        (labels["server"].as_str(), labels["index"].as_str()),
        ("127.0.0.1:39732", "2")
    );
}
