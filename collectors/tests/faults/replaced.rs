//! A driver that is replaced, or unloaded and loaded again, underneath.

use std::time::SystemTime;

use crate::plugin::{Plugin, chart, place, scenario};

fn charted(plugin: &Plugin, since: SystemTime) -> bool {
    let power = chart("nvidia_smi", 0, "power_draw");
    !plugin.since(since, &power, "power_draw").is_empty()
}

#[test]
fn a_driver_replaced_underneath_ends_the_plugin_in_order_and_a_new_one_reads_on() {
    let whole = scenario(1);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    plugin.wait_for("first charts", 20, |plugin| charted(plugin, start));
    plugin.becomes(&format!(
        "{whole}faults: [{{call: \"nvmlDevice*\", code: 18}}]\n"
    ));
    // Success: the agent starts a plugin again that has charted and ended well.
    plugin.wait_for("the end", 20, |plugin| plugin.ended() == Some(Some(0)));
    plugin.wait_for("word of it", 10, |plugin| {
        plugin.logged(start, "different versions").is_some()
    });
    // The new process finds the versions different still, says so, and goes on trying.
    plugin.becomes(&format!(
        "{whole}faults: [{{call: \"nvmlInit*\", code: 18}}]\n"
    ));
    let mut plugin = Plugin::start(dir.path());
    plugin.wait_for("word of it", 20, |plugin| {
        plugin.logged(start, "different versions").is_some()
    });
    plugin.becomes(&whole);
    plugin.wait_for("charts", 60, |plugin| charted(plugin, start));
}

#[test]
fn a_driver_that_is_unloaded_and_loaded_again_is_read_again() {
    let whole = scenario(1);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    plugin.wait_for("first charts", 20, |plugin| charted(plugin, start));
    plugin.becomes(&format!("{whole}faults: [{{call: \"nvml*\", code: 9}}]\n"));
    plugin.wait_for("word of it", 20, |plugin| {
        plugin.logged(start, "not loaded").is_some()
    });
    let gone = SystemTime::now();
    plugin.wait_for("the job's end", 40, |plugin| {
        plugin.logged(gone, "in a row").is_some()
    });
    assert!(
        !charted(&plugin, gone),
        "values of a driver that is not loaded"
    );
    plugin.becomes(&whole);
    let back = SystemTime::now();
    plugin.wait_for("charts again", 90, |plugin| charted(plugin, back));
}
