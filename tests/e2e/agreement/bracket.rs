//! Comparing what moves: a value charted while somebody else read lies between what they read around it.

use std::ops::RangeInclusive;

use anyhow::ensure;
use serde_json::Value;

use super::tables::Compared;
use crate::lab::Lab;

/// A point is interpolated from readings up to this long before and after it: one interval, and a tick that
/// came late.
const AROUND_S: f64 = 2.5;
/// On a busy machine a few come later still: up to a quarter of the points.
const AT_MOST_AROUND_S: f64 = 4.5;
/// Where a reader paused for longer, nobody knows what it would have read.
const LONGEST_PAUSE_S: f64 = 2.0;
/// Readings of processes are up to their own interval older, which a busy machine doubles.
pub const PROCESSES_EVERY_S: f64 = 10.0;
/// Period of the simulated load's fastest wave.
const WAVE_S: f64 = 5.3;
/// Points one second apart, each interpolated between two readings, cut a peak of the load's fastest wave
/// (5.3 s) by up to 0.31 of its amplitude, the half of its height.
const CUT_PEAK: f64 = 0.16;

/// A chart's points as they are compared: seconds and a value, gaps left out.
pub type Points = Vec<(f64, f64)>;

/// The last minute of a sum of dimensions. What is sent is drawn below zero.
pub fn points(lab: &Lab, chart: &str, dims: &[&str]) -> anyhow::Result<Points> {
    let series = lab.instance.api().series(chart, 60)?;
    let mut sum: Vec<(i64, Option<f64>)> = vec![];
    for dim in dims {
        let one = series.dim(dim)?;
        sum = match sum.is_empty() {
            true => one,
            false => std::iter::zip(sum, one)
                .map(|((at, sum), (_, value))| (at, sum.zip(value).map(|(sum, more)| sum + more)))
                .collect(),
        };
    }
    let known = sum.into_iter().filter_map(|(at, value)| Some((at, value?)));
    Ok(known.map(|(at, value)| (at as f64, value.abs())).collect())
}

/// What was read in a span of time.
#[derive(Debug)]
struct Around {
    low: f64,
    high: f64,
    longest_pause_s: f64,
}

impl Around {
    fn of(readings: &[(f64, f64)], from: f64, to: f64) -> Self {
        let mut all = Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            longest_pause_s: 0.0,
        };
        let (mut before, mut last) = (from, from);
        for (at, value) in readings.iter().filter(|(at, _)| (from..=to).contains(at)) {
            all.low = all.low.min(*value);
            all.high = all.high.max(*value);
            all.longest_pause_s = all.longest_pause_s.max(at - before);
            (before, last) = (*at, *at);
        }
        all.longest_pause_s = all.longest_pause_s.max(to - last);
        all
    }

    /// Between two readings a wave's peak is missed by a part of its height.
    fn has(&self, value: f64, step: f64) -> bool {
        let missed = (1.0 - (std::f64::consts::PI * self.longest_pause_s / WAVE_S).cos()) / 2.0;
        let slack = step + self.high.abs() * 1e-6 + (self.high - self.low) * missed;
        (self.low - slack..=self.high + slack).contains(&value)
    }
}

/// Every point charted while `reader` read lies between what it read around it, `older_s` more before it. Says
/// how many points there were.
pub fn lie_within(
    what: &str,
    points: &Points,
    readings: &[(f64, f64)],
    step: f64,
    older_s: f64,
) -> anyhow::Result<usize> {
    let (Some((first, _)), Some((last, _))) = (readings.first(), readings.last()) else {
        anyhow::bail!("{what}: nothing was read");
    };
    // A point of a chart with an interval of its own lies between two readings as far apart as that.
    let pauses_s = points.windows(2).map(|two| (two[1].0 - two[0].0).abs());
    let interval_s = pauses_s.fold(f64::INFINITY, f64::min);
    ensure!(interval_s.is_finite(), "{what}: {} points", points.len());
    let (older_s, needed) = match interval_s > PROCESSES_EVERY_S / 2.0 {
        true => (older_s.max(interval_s), 1),
        false => (older_s, 3),
    };
    let later_s = interval_s - 1.0;
    let (mut compared, mut late, mut pauses) = (0, vec![], 0);
    for &(at, value) in points {
        if at - AROUND_S - older_s < *first || at + AROUND_S + later_s > *last {
            continue;
        }
        let around = |around_s: f64| {
            let (from, to) = (at - around_s - older_s, at + around_s + later_s);
            Around::of(readings, from, to)
        };
        let (near, wide) = (around(AROUND_S), around(AT_MOST_AROUND_S));
        if near.longest_pause_s > LONGEST_PAUSE_S {
            pauses += 1;
            continue;
        }
        compared += 1;
        if !near.has(value, step) {
            late.push(format!("charted {value} at {at}, read {near:?}"));
            ensure!(
                wide.longest_pause_s > LONGEST_PAUSE_S || wide.has(value, step),
                "{what}: charted {value} at {at}, read {wide:?}"
            );
        }
    }
    // Of a few points, one.
    ensure!(late.len() * 4 <= compared.max(4), "{what}: {late:?}");
    ensure!(
        compared >= needed,
        "{what}: only {compared} points, and {pauses} where nobody read"
    );
    Ok(compared)
}

/// One reading's values with their times; `None` where it was not always told.
pub fn read(readings: &[Value], key: &str) -> Option<Vec<(f64, f64)>> {
    readings
        .iter()
        .map(|reading| Some((reading["time"].as_f64()?, reading[key].as_f64()?)))
        .collect()
}

/// The lowest and highest value charted around `when` have `value` between them.
pub fn enclose(
    lab: &Lab,
    uuid: &str,
    compared: &Compared,
    when: &RangeInclusive<i64>,
    value: f64,
) -> anyhow::Result<()> {
    let (from, to) = (
        *when.start() as f64 - AROUND_S,
        *when.end() as f64 + AROUND_S,
    );
    let chart = compared.chart.replace("{}", uuid);
    let points = points(lab, &chart, compared.dims)?;
    let near: Vec<_> = points
        .into_iter()
        .filter(|(at, _)| (from..=to).contains(at))
        .map(|(_, value)| value)
        .collect();
    ensure!(near.len() >= 3, "{chart}: only {near:?} around {when:?}");
    let low = near.iter().copied().fold(f64::INFINITY, f64::min);
    let high = near.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let slack = compared.step + value.abs() * 1e-6 + (high - low) * CUT_PEAK;
    ensure!(
        (low - slack..=high + slack).contains(&value),
        "{chart}: charted {low} to {high}, gpustat read {value}"
    );
    Ok(())
}
