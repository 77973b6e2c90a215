//! How much of the captured load has been replayed: the exact integral of its rate over time.
//!
//! The unit is the capture's interval: at a progress of 1 a counter has grown by what it grew between
//! the captures t0 and t10, which are [`CAPTURE_SECONDS`] apart.

use std::f64::consts::TAU;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Seconds between the captures `load_t0` and `load_t10`.
const CAPTURE_SECONDS: f64 = 10.0;
/// Period of the load wave in seconds: slow enough to be read from a five-minute chart.
const WAVE_SECONDS: f64 = 120.0;
/// How far the wave takes the rate from its mean, as a share of it.
const WAVE_DEPTH: f64 = 0.6;
/// Share of observations that are a bucket slower when the wave is highest.
const SLOW_SHARE: f64 = 0.4;
/// Period of swinging gauges in seconds: a prime, so that samples 1, 2, 5 or 10 s apart see many values.
const SWING_SECONDS: f64 = 23.0;
/// Share of a gauge's swing that follows the wave; the rest is the faster swing.
const WAVE_IN_GAUGES: f64 = 0.8;

/// The course of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wave {
    /// A constant rate: every counter is a straight line.
    Flat,
    /// The rate swings by 60 % within two minutes, and latencies and gauges with it.
    Wave,
}

/// What gauges do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gauges {
    /// Keep the value of t0.
    Hold,
    /// Swing between the values of t0 and t10.
    Swing,
}

/// Load replayed so far, in capture intervals, by how slow its requests were.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    /// With the captured latencies.
    pub fast: f64,
    /// With each latency one bucket higher.
    pub slow: f64,
    /// With each latency beyond the last bound.
    pub late: f64,
}

impl Progress {
    /// All of it.
    pub fn total(self) -> f64 {
        self.fast + self.slow + self.late
    }

    fn plus(self, factor: f64, from: Self, to: Self) -> Self {
        Self {
            fast: self.fast + factor * (to.fast - from.fast),
            slow: self.slow + factor * (to.slow - from.slow),
            late: self.late + factor * (to.late - from.late),
        }
    }
}

/// The load since the server started. Times are seconds since then.
#[derive(Clone, Debug)]
pub struct Load {
    wave: Wave,
    growth: f64,
    paused: bool,
    late: bool,
    /// Progress up to `since`, the last change of growth or pause.
    settled: Progress,
    since: f64,
}

impl Load {
    /// A load that starts at 0 s and grows `growth` times as fast as captured.
    pub fn new(wave: Wave, growth: f64) -> Self {
        Self {
            wave,
            growth,
            paused: false,
            late: false,
            settled: Progress::default(),
            since: 0.0,
        }
    }

    /// Replayed by `now`.
    pub fn progress(&self, now: f64) -> Progress {
        if self.paused {
            return self.settled;
        }
        let factor = self.growth / CAPTURE_SECONDS;
        let (from, to) = (integral(self.wave, self.since), integral(self.wave, now));
        if self.late {
            let all = |progress: Progress| Progress {
                late: progress.total(),
                ..Progress::default()
            };
            return self.settled.plus(factor, all(from), all(to));
        }
        self.settled.plus(factor, from, to)
    }

    /// Where between t0 (0) and t10 (1) a swinging gauge stands.
    pub fn swing(&self, now: f64) -> f64 {
        let now = if self.paused { self.since } else { now };
        let quick = (1.0 - (TAU * now / SWING_SECONDS).cos()) / 2.0;
        match self.wave {
            Wave::Flat => quick,
            Wave::Wave => {
                let slow = f64::midpoint(1.0, (TAU * now / WAVE_SECONDS).sin());
                WAVE_IN_GAUGES * slow + (1.0 - WAVE_IN_GAUGES) * quick
            }
        }
    }

    /// Grows at another pace from `now` on; what has been counted stays.
    pub fn set_growth(&mut self, now: f64, growth: f64) {
        self.settle(now);
        self.growth = growth;
    }

    /// Stops or resumes everything: an engine whose schedulers are stopped.
    pub fn set_paused(&mut self, now: f64, paused: bool) {
        self.settle(now);
        self.paused = paused;
    }

    /// From `now` on every latency is beyond the last bound, or as captured again.
    pub fn set_late(&mut self, now: f64, late: bool) {
        self.settle(now);
        self.late = late;
    }

    /// Times as fast as captured.
    pub fn growth(&self) -> f64 {
        self.growth
    }

    /// Whether latencies are beyond the last bound.
    pub fn late(&self) -> bool {
        self.late
    }

    /// Whether the load stands still.
    pub fn paused(&self) -> bool {
        self.paused
    }

    fn settle(&mut self, now: f64) {
        self.settled = self.progress(now);
        self.since = now;
    }
}

/// Seconds of captured load between 0 and `t`. With s = sin ωt the rate of the wave is 1 + d·s and
/// the slow share of it k/2·(1 + s).
fn integral(wave: Wave, t: f64) -> Progress {
    match wave {
        Wave::Flat => Progress {
            fast: t,
            ..Progress::default()
        },
        Wave::Wave => {
            let omega = TAU / WAVE_SECONDS;
            let sine = (1.0 - (omega * t).cos()) / omega;
            let sine_squared = t / 2.0 - (2.0 * omega * t).sin() / (4.0 * omega);
            let all = t + WAVE_DEPTH * sine;
            let slow =
                SLOW_SHARE / 2.0 * (t + (1.0 + WAVE_DEPTH) * sine + WAVE_DEPTH * sine_squared);
            Progress {
                fast: all - slow,
                slow,
                late: 0.0,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9 * a.abs().max(b.abs()).max(1.0)
    }

    #[test]
    fn a_flat_load_replays_the_captured_interval_in_ten_seconds() {
        let load = Load::new(Wave::Flat, 1.0);
        assert!(close(load.progress(10.0).total(), 1.0));
        assert!(close(
            Load::new(Wave::Flat, 20.0).progress(2.5).total(),
            5.0
        ));
    }

    #[test]
    fn a_change_of_growth_keeps_what_was_counted() {
        let mut load = Load::new(Wave::Flat, 1.0);
        load.set_growth(10.0, 5.0);
        assert!(close(load.progress(10.0).total(), 1.0));
        assert!(close(load.progress(12.0).total(), 2.0));
    }

    #[test]
    fn a_paused_load_stands_still_and_skips_the_pause() {
        let mut load = Load::new(Wave::Wave, 1.0);
        load.set_paused(30.0, true);
        let (stopped, swing) = (load.progress(30.0), load.swing(30.0));
        assert_eq!(load.progress(90.0), stopped);
        assert!(close(load.swing(90.0), swing));
        load.set_paused(90.0, false);
        assert!(close(load.progress(90.0).total(), stopped.total()));
        assert!(load.progress(91.0).total() > stopped.total());
    }

    #[test]
    fn the_wave_is_the_integral_of_its_rate() {
        let omega = TAU / 120.0;
        let (mut all, mut slow, step) = (0.0, 0.0, 0.001);
        for n in 0..77_000 {
            let s = (omega * (f64::from(n) + 0.5) * step).sin();
            all += (1.0 + 0.6 * s) * step;
            slow += (1.0 + 0.6 * s) * 0.2 * (1.0 + s) * step;
        }
        let exact = integral(Wave::Wave, 77.0);
        assert!(
            (exact.total() - all).abs() < 1e-5,
            "{} {all}",
            exact.total()
        );
        assert!((exact.slow - slow).abs() < 1e-5, "{} {slow}", exact.slow);
    }

    #[test]
    fn the_wave_never_runs_backwards() {
        let load = Load::new(Wave::Wave, 3.0);
        let mut last = Progress::default();
        for second in 1..600 {
            let now = load.progress(f64::from(second));
            assert!(
                now.fast > last.fast && now.slow > last.slow,
                "at {second} s"
            );
            last = now;
        }
    }

    #[test]
    fn a_swing_starts_at_t0_and_shows_many_values_to_a_five_second_scrape() {
        let load = Load::new(Wave::Flat, 1.0);
        assert!(close(load.swing(0.0), 0.0));
        for phase in [0.0, 1.4, 2.9, 4.9] {
            let mut seen: Vec<i64> = (0..12)
                .map(|n| (load.swing(phase + 5.0 * f64::from(n)) * 20.0) as i64)
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert!(seen.len() >= 6, "{seen:?} at phase {phase}");
        }
    }

    #[test]
    fn a_load_told_to_be_late_replays_as_much_and_all_of_it_late() {
        let mut load = Load::new(Wave::Flat, 1.0);
        load.set_late(10.0, true);
        let late = |fast, late| Progress {
            fast,
            late,
            ..Progress::default()
        };
        assert_eq!(load.progress(30.0), late(1.0, 2.0));
        load.set_late(30.0, false);
        assert_eq!(load.progress(40.0), late(2.0, 2.0));
    }
}
