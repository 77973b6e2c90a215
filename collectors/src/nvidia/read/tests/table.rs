//! The table of docs/nvidia.md, and average power against a ramp.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use netdata_plugin::frame::Frame;

use super::simulated::{Simulated, TWO};
use crate::nvidia::processes::{Names, resolve};
use crate::nvidia::record::{Instances, record};
use crate::nvidia::snapshot::Snapshot;
use crate::processes::{Users, owner};

/// Contexts with at least one value in the second of two readings.
fn charted(scenario: &str) -> BTreeSet<String> {
    let mut simulated = Simulated::new(scenario);
    let mut reader = simulated.open().unwrap();
    let mut instances = Instances::default();
    let mut frame = Frame::default();
    let users = Users::new(Path::new("/proc"), 0);
    let names = Names {
        users: &users,
        whose: &|id| owner(Path::new("/proc"), id.pid),
    };
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let mut gpus = simulated.read(&mut reader, 10).unwrap();
        for gpu in &mut gpus {
            let rows = gpu.processes.take().map(|read| read.rows);
            gpu.processes = rows.map(|rows| resolve(rows, Path::new("/proc"), names, 10));
        }
        let events = gpus.iter().any(|gpu| gpu.xids.is_some());
        frame.clear();
        record(&Snapshot { gpus }, &mut instances, &mut frame);
        let charts = frame
            .charts()
            .filter(|chart| chart.values().any(|(_, value)| value.is_some()));
        let contexts: BTreeSet<_> = charts
            .map(|chart| chart.chart().context.to_owned())
            .collect();
        // Rates need two readings; events begin when their thread has looked.
        let rates = contexts.contains("nvidia.power_headroom") || scenario.contains("old");
        if (rates && events) || Instant::now() > until || scenario.contains("SupportedEventTypes") {
            return contexts;
        }
        thread::sleep(Duration::from_millis(250));
    }
}

#[test]
fn every_chart_of_the_table_comes_out_of_the_board_that_supports_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/nvidia.md")).unwrap();
    let mut by_scenario: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in page.lines().filter(|line| line.contains("| `nvidia")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let scenario = cells[5].trim_matches('`').to_owned();
        let charts = cells[2]
            .split(", ")
            .map(|chart| chart.trim_matches('`').to_owned());
        by_scenario.entry(scenario).or_default().extend(charts);
    }
    assert!(by_scenario.len() >= 8, "{by_scenario:?}");
    for (scenario, expected) in by_scenario {
        let path = root.join(format!("tests/fake-nvml/scenarios/{scenario}.yaml"));
        let there = charted(&fs::read_to_string(path).unwrap());
        let missing: Vec<_> = expected.difference(&there).collect();
        assert!(missing.is_empty(), "{scenario}: no {missing:?}");
    }
}

#[test]
fn average_power_follows_a_ramp_of_energy_within_half_a_per_cent() {
    let ramp = TWO.replace(
        "power_w: 300",
        "power_w: {ramp: {from: 100, to: 700, period_s: 5}}",
    );
    let mut simulated = Simulated::new(&ramp);
    let mut reader = simulated.open().unwrap();
    let first = simulated.read(&mut reader, 0).unwrap()[0]
        .fast
        .energy_mj
        .unwrap();
    let (mut before, mut joules) = (Instant::now(), 0.0);
    let mut last = first;
    for _ in 0..25 {
        thread::sleep(Duration::from_millis(100));
        let gpus = simulated.read(&mut reader, 1).unwrap();
        let now = Instant::now();
        last = gpus[0].fast.energy_mj.unwrap();
        let watts = gpus[0].fast.average_power_w.unwrap();
        joules += watts * now.duration_since(before).as_secs_f64();
        before = now;
    }
    let counted = (last - first) as f64 / 1000.0;
    let error = (joules / counted - 1.0).abs();
    eprintln!(
        "{joules:.2} J charted, {counted:.2} J counted: {:.3} %",
        error * 100.0
    );
    assert!(error < 0.005, "{joules} J charted, {counted} J counted");
}
