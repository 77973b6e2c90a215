//! A driver that is replaced, or unloaded and loaded again, underneath.

use crate::board::Machine;
use crate::plugin::{Plugin, place, power};

pub fn replaced() {
    let whole = Machine::simple(1);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, [0]);
    let gone = plugin.becomes(&whole.clone().fault("call: \"nvmlDevice*\", code: 18"));
    // Success: the agent starts a plugin again that has charted and ended well.
    plugin.wait_for("the end", 20, |plugin| plugin.ended() == Some(Some(0)));
    plugin.wait_for("word of it", 10, |plugin| {
        plugin.logged(gone, "different versions").is_some()
    });
    println!(
        "version mismatch: exit 0; {}",
        plugin.logged(gone, "different versions").unwrap().1
    );
    // The new process finds the versions different still, says so, and goes on trying.
    plugin.becomes(&whole.clone().fault("call: \"nvmlInit*\", code: 18"));
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for("word of it", 20, |plugin| {
        plugin
            .logged(plugin.started, "different versions")
            .is_some()
    });
    let cleared = plugin.becomes(&whole);
    plugin.wait_for("charts", 60, |plugin| {
        plugin.charted(cleared, &power(0), "power_draw")
    });
    println!("version mismatch: the new process charts");
}

pub fn reloaded() {
    let whole = Machine::simple(1);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for_gpus(plugin.started, [0]);
    let gone = plugin.becomes(&whole.clone().fault("call: \"nvml*\", code: 9"));
    plugin.wait_for("word of it", 20, |plugin| {
        plugin.logged(gone, "not loaded").is_some()
    });
    let (told, line) = plugin.logged(gone, "not loaded").unwrap();
    plugin.wait_for("the job's end", 40, |plugin| {
        plugin.logged(told, "in a row").is_some()
    });
    assert!(
        !plugin.charted(told, &power(0), "power_draw"),
        "values of a driver that is not loaded"
    );
    assert!(plugin.defined(&power(0)).unwrap().obsolete);
    println!("driver unloaded: no values, charts obsolete after ten ticks; {line}");
    let back = plugin.becomes(&whole);
    plugin.wait_for("charts again", 90, |plugin| {
        plugin.charted(back, &power(0), "power_draw")
    });
    println!("driver loaded again: charted again");
}
