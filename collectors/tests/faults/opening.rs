//! A driver that hangs already when the plugin starts, and a /proc that does.

use std::fs;

use crate::board::Machine;
use crate::host::Host;
use crate::plugin::{Plugin, chart, named, place, power};

pub fn handle_hangs() {
    let whole = Machine::simple(3);
    let dir = place(
        &whole
            .clone()
            .fault("call: nvmlDeviceGetHandleByIndex_v2, gpu: 1, hang: true"),
    );
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    plugin.wait_for_gpus(start, [0, 2]);
    let took = plugin.since(start, &power(2), "power_draw")[0]
        .at
        .duration_since(start)
        .unwrap();
    assert!(took.as_secs() < 15, "{took:?}");
    let said = plugin.logged(
        start,
        "GPU 1 (unknown-1): nvmlDeviceGetHandleByIndex_v2 has not answered for 5 s",
    );
    // It never said which it is, so it is charted by its place.
    let state = chart("nvidia", "unknown-1", "gpu_state");
    assert_eq!(plugin.state(start, "unknown-1"), Some("stale"));
    assert_eq!(plugin.state(start, &named(0)), Some("ok"));
    assert_eq!(plugin.defined(&state).unwrap().labels["index"], "1");
    println!(
        "handle hangs at the start: the others after {took:?}, GPU 1 stale as unknown-1; {}",
        said.unwrap().1
    );
    let cleared = plugin.becomes(&whole);
    plugin.wait_for_gpus(cleared, 0..3);
    plugin.wait_for("word of its return", 10, |plugin| {
        plugin.logged(cleared, "every GPU is read again").is_some()
    });
    plugin.wait_for("end of the child", 10, |plugin| plugin.children() == 0);
    plugin.wait_for("end of the chart without a name", 30, |plugin| {
        plugin.defined(&state).unwrap().obsolete
    });
}

pub fn library_hangs() {
    let whole = Machine::simple(1);
    let dir = place(&whole.clone().fault("call: \"nvmlInit*\", hang: true"));
    let mut plugin = Plugin::start(dir.path());
    let start = plugin.started;
    plugin.wait_for("word of it", 40, |plugin| {
        plugin
            .logged(start, "nvmlInit has not answered for 20 s")
            .is_some()
    });
    plugin.wait_for("the child", 10, |plugin| plugin.children() == 1);
    let own = "netdata.rs_d_plugin_resources_cpu";
    let pause = plugin.longest_pause(plugin.since(start, own, "user")[0].at, own, "user");
    assert!(
        pause.as_secs() < 3,
        "{pause:?} without charts of the plugin itself"
    );
    println!(
        "library hangs at the start: {}; own charts' longest pause {pause:?}",
        plugin.logged(start, "nvmlInit").unwrap().1
    );
    let cleared = plugin.becomes(&whole);
    plugin.wait_for_gpus(cleared, [0]);
    let took = plugin.since(cleared, &power(0), "power_draw")[0]
        .at
        .duration_since(cleared)
        .unwrap();
    plugin.wait_for("end of the child", 10, |plugin| plugin.children() == 0);
    assert_eq!(plugin.all_logged(start, "has not answered").len(), 1);
    println!("library hangs at the start: charted {took:?} after it let go");
}

/// Waiting for XID errors is nobody's business but its own.
pub fn events_hang() {
    let whole = Machine::rich(2).fault("call: nvmlDeviceRegisterEvents, gpu: 0, hang: true");
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, 0..2);
    let points = |plugin: &Plugin| plugin.since(plugin.started, &power(0), "power_draw").len();
    plugin.wait_for("ten readings", 30, |plugin| points(plugin) > 9);
    assert!(plugin.logged(plugin.started, "has not answered").is_none());
    let xids = chart("nvidia", "gpu-1", "xid_events");
    assert!(
        !plugin.charted(plugin.started, &xids, "fatal"),
        "nobody waits for them"
    );
    assert_eq!(plugin.children(), 0);
    println!(
        "registering for events hangs: all else is charted, xid_events is a gap, nothing logged, no process"
    );
}

/// A process whose command line cannot be read (its memory is locked) is no fault of a GPU.
pub fn proc_hangs() {
    let host = Host::new();
    // A name that the kernel cut is looked up whole.
    let process = host.process(4711, "a_name_of_15_by", &[]);
    let cmdline = process.join("cmdline");
    // Opening it waits for a writer.
    fs::remove_file(&cmdline).unwrap();
    nix::unistd::mkfifo(&cmdline, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let machine = Machine::simple(2).with(1, ", processes: [{pid: 4711, memory_mib: 300, sm: 40}]");
    let dir = place(&machine);
    let mut plugin = Plugin::with(dir.path(), "nvidia", Some(host.root()));
    let start = plugin.started;
    plugin.wait_for("word of it", 30, |plugin| {
        plugin
            .logged(start, "reading /proc takes longer than 5 s")
            .is_some()
    });
    let (told, line) = plugin.logged(start, "reading /proc").unwrap();
    plugin.wait_for_gpus(told, 0..2);
    assert!(
        plugin.logged(start, "has not answered").is_none(),
        "blamed on a GPU"
    );
    assert_eq!(plugin.state(told, "gpu-1"), Some("ok"));
    // Its rows are known, their names are not.
    let processes = chart("nvidia", "gpu-1", "processes");
    plugin.wait_for("its processes", 10, |plugin| {
        plugin.last(told, &processes, "count") == Some(1.0)
    });
    assert!(!plugin.charted(start, &processes, "unresolved"));
    println!("/proc hangs: both GPUs ok and charted, 1 process without a name; {line}");
    // Whoever opens it from now on does not wait; whoever waits is let go.
    let writer = fs::OpenOptions::new().write(true).open(&cmdline).unwrap();
    fs::remove_file(&cmdline).unwrap();
    fs::write(&cmdline, "a_name_of_15_bytes_and_more\0").unwrap();
    drop(writer);
    plugin.wait_for("its return", 20, |plugin| {
        plugin.logged(told, "every GPU is read again").is_some()
    });
    plugin.wait_for("end of the child", 10, |plugin| plugin.children() == 0);
    let memory = chart("nvidia", "gpu-1", "process_memory");
    plugin.wait_for("its name", 20, |plugin| {
        let named = plugin.charts_of(&memory);
        named
            .iter()
            .any(|(_, dim)| dim.starts_with("a_name_of_15_bytes_and_more ("))
    });
}
