//! Average power of a board whose power is a known ramp.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::board::Machine;
use crate::plugin::{Plugin, chart, place};

/// Watts at the ramp's ends, and the seconds between them.
const FROM: f64 = 200.0;
const TO: f64 = 560.0;
const PERIOD: f64 = 60.0;

/// Seconds that are compared.
const TICKS: usize = 20;

fn unix_s(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

pub fn of_a_ramp() {
    let begun = unix_s(SystemTime::now());
    let phase = PERIOD - begun % PERIOD;
    let ramp = format!(
        ", readings: {{power_w: {{ramp: {{from: {FROM}, to: {TO}, period_s: {PERIOD}, phase_s: {phase}}}}}}}"
    );
    let dir = place(&Machine::simple(2).with(1, &ramp));
    let mut plugin = Plugin::start(dir.path());
    let power = chart("nvidia", "gpu-1", "power");
    let points = |plugin: &Plugin| plugin.since(plugin.started, &power, "average");
    plugin.wait_for("a third of the ramp", 50, |plugin| {
        points(plugin).len() >= TICKS
    });
    // A reading's average is of the second before it, whose middle is half a second ago.
    let watts = |at: SystemTime| FROM + (TO - FROM) * (unix_s(at) - 0.5 - begun) / PERIOD;
    let points = points(&plugin);
    let errors: Vec<f64> = points[..TICKS]
        .iter()
        .map(|point| point.value / watts(point.at) - 1.0)
        .collect();
    let mean = errors.iter().sum::<f64>() / TICKS as f64;
    let within = errors.iter().filter(|error| error.abs() < 0.005).count();
    println!(
        "average power of a ramp from {FROM} to {TO} W: {:.3} % off over {TICKS} ticks, {within} of them within 0.5 %",
        mean * 100.0
    );
    // Points are dated by when they arrive, which a busy machine delays, some of them by much.
    assert!(mean.abs() < 0.005, "{errors:?}");
    assert!(within >= TICKS / 2, "{errors:?}");
    let steady = plugin.since(
        plugin.started + Duration::from_secs(3),
        &chart("nvidia", "gpu-0", "power"),
        "average",
    );
    assert!(
        steady.iter().all(|point| (point.value - 300.0).abs() < 1.5),
        "{steady:?}"
    );
}
