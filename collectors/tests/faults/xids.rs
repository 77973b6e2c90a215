//! An XID error is charted and logged at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::plugin::{Plugin, chart, place, scenario};

#[test]
fn an_xid_is_logged_with_its_meaning_and_charted_with_the_next_tick() {
    let whole = scenario(2);
    let dir = place(&whole);
    let mut plugin = Plugin::start(dir.path());
    let start = SystemTime::now();
    let (events, last) = (
        chart("nvidia", 1, "xid_events"),
        chart("nvidia", 1, "xid_last"),
    );
    plugin.wait_for("the chart of events", 30, |plugin| {
        !plugin.since(start, &events, "fatal").is_empty()
    });
    // Later than the library looks at the scenario, so that nothing is known of it before it happens.
    let happens = SystemTime::now() + Duration::from_secs(3);
    let at_s = happens.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    plugin.becomes(&whole.replace(
        "uuid: GPU-1,",
        &format!("uuid: GPU-1, xids: [{{xid: 79, at_s: {at_s}}}],"),
    ));
    plugin.wait_for("the event", 20, |plugin| {
        plugin
            .since(happens, &events, "fatal")
            .iter()
            .any(|point| point.value == "1")
    });
    let points = plugin.since(happens, &events, "fatal");
    let charted = points.iter().find(|point| point.value == "1").unwrap().at;
    let (logged, line) = plugin.logged(happens, "XID 79").unwrap();
    let after = |at: SystemTime| at.duration_since(happens).unwrap();
    eprintln!(
        "logged after {:?}, charted after {:?}",
        after(logged),
        after(charted)
    );
    // A tick lasts a second; the rest is for a busy machine.
    assert!(
        after(logged) < Duration::from_millis(1000),
        "{:?}",
        after(logged)
    );
    assert!(
        after(charted) < Duration::from_millis(2500),
        "{:?}",
        after(charted)
    );
    assert!(
        line.contains("(fatal)") && line.contains("fell off the bus") && line.contains("reboot"),
        "{line}"
    );
    assert_eq!(plugin.since(happens, &last, "xid")[0].value, "79");
    let other = chart("nvidia", 0, "xid_events");
    assert!(
        plugin
            .since(start, &other, "fatal")
            .iter()
            .all(|point| point.value == "0")
    );
}
