//! What is kept of charts whose dimensions come and go stays within a few times what there is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::defined::OBSOLETE_DIM_AFTER_TICKS;
use super::*;
use crate::chart::{Chart, Dim, Instance, Kind};

static HOLDERS: Chart = Chart {
    id: "holders",
    context: "t.holders",
    family: "f",
    title: "Holders",
    units: "B",
    kind: Kind::Stacked,
    priority: 1,
    dims: &[Dim::new("other")],
    dynamic: Some(Dim::new("")),
};

/// Names that are always there.
const STEADY: usize = 50;

/// Every tick of charts with a new name each; returns the most slots that there were.
fn most_slots(charts: usize) -> usize {
    let mut writer = Writer::new("rs.d", "m", "j", false);
    let mut frame = Frame::default();
    let steady: Vec<String> = (0..STEADY).map(|n| format!("steady'{n}")).collect();
    let instances: Vec<_> = (0..charts)
        .map(|n| Arc::new(Instance::new("t", &format!("{n}_"))))
        .collect();
    let (mut now, mut most) = (Instant::now(), 0);
    for tick in 0..1000 {
        frame.clear();
        for instance in &instances {
            let mut recorder = frame.chart(&HOLDERS, instance);
            recorder.set("other", 1.0);
            for (n, name) in steady.iter().enumerate() {
                recorder.set(name, n as f64);
            }
            recorder.set(&format!("new {tick}"), 7.0);
        }
        now += Duration::from_secs(1);
        let text = String::from_utf8(writer.write(&frame, 1, now).to_vec()).unwrap();
        most = most.max(writer.charts.slots());
        if tick % 50 > 0 {
            continue;
        }
        for (n, name) in steady.iter().enumerate() {
            let line = format!("SET '{}' = {n}\n", name.replace('\'', ""));
            assert_eq!(text.matches(&line).count(), charts, "{text}");
        }
    }
    most
}

#[test]
fn names_that_come_and_go_leave_nothing_behind() {
    let live = 1 + STEADY + OBSOLETE_DIM_AFTER_TICKS as usize;
    for charts in [1, 3] {
        let most = most_slots(charts);
        assert!(most < 5 * charts * live, "{most} slots for {charts} charts");
    }
}
