//! An XID error is charted and logged at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::board::Machine;
use crate::plugin::{Plugin, chart, place};

pub fn at_once() {
    let whole = Machine::simple(2);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let (events, last) = (
        chart("nvidia", "gpu-1", "xid_events"),
        chart("nvidia", "gpu-1", "xid_last"),
    );
    plugin.wait_for("the chart of events", 30, |plugin| {
        plugin.charted(plugin.started, &events, "fatal")
    });
    // Later than the library looks at the scenario, so that nothing is known of it before it happens.
    let happens = SystemTime::now() + Duration::from_secs(3);
    let at_s = happens.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    plugin.becomes(&whole.with(1, &format!(", xids: [{{xid: 79, at_s: {at_s}}}]")));
    let seen = |plugin: &Plugin| {
        let points = plugin.since(happens, &events, "fatal");
        points.into_iter().find(|point| point.value == 1.0)
    };
    plugin.wait_for("the event", 20, |plugin| seen(plugin).is_some());
    let charted = seen(&plugin).unwrap().at.duration_since(happens).unwrap();
    let (logged, line) = plugin.logged(happens, "XID 79").unwrap();
    // A tick that had begun when it was logged does not have it.
    let ticks = plugin.since(logged, &events, "fatal");
    let before = ticks.iter().position(|point| point.value == 1.0).unwrap();
    let logged = logged.duration_since(happens).unwrap();
    println!("xid: logged after {logged:?}, charted after {charted:?}, {before} ticks in between");
    assert!(before <= 1, "{ticks:?}");
    // A tick lasts a second; the rest is for a busy machine.
    assert!(logged < Duration::from_millis(1000), "{logged:?}");
    assert!(charted < Duration::from_millis(2500), "{charted:?}");
    let said = ["(fatal)", "fell off the bus", "reboot"];
    assert!(said.iter().all(|said| line.contains(said)), "{line}");
    assert_eq!(plugin.last(happens, &last, "xid"), Some(79.0));
    let other = plugin.since(
        plugin.started,
        &chart("nvidia", "gpu-0", "xid_events"),
        "fatal",
    );
    assert!(other.iter().all(|point| point.value == 0.0));
}
