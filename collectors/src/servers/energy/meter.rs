//! The energy counter of one GPU, read at intervals.

use std::time::{Duration, Instant};

use super::baseline::Baseline;
use super::split::Interval;
use crate::gpu_usage::Gpu;

/// Longer than that between two readings: who used the energy is not known.
const MAX_TOOK: Duration = Duration::from_secs(15);
/// No board draws as much: 20 kW. More is not energy but a counter gone wrong.
const MAX_MW: f64 = 20e6;

/// One GPU's past.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    last: Option<(u64, Instant)>,
    baseline: Baseline,
}

/// What it used since the reading before.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// To be divided.
    pub interval: Interval,
    /// How long it took.
    pub took: Duration,
    /// Whether the counter moved: a ratio needs many of its steps.
    pub moved: bool,
}

/// What a reading says.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// What was used since the one before.
    Used(Used),
    /// Nothing: the next one will tell of this time too.
    Missing,
    /// The first one, or the counter was set back or not read for long: what was used until now nobody knows.
    Broken,
}

impl Meter {
    /// Takes a reading; `held` says whether a process holds memory.
    pub fn read(&mut self, gpu: &Gpu, taken: Instant, held: bool) -> Reading {
        // A reading that failed once is made good by the next: the counter goes on.
        let Some(energy_mj) = gpu.energy_mj else {
            return Reading::Missing;
        };
        let Some((before_mj, before)) = self.last.replace((energy_mj, taken)) else {
            return Reading::Broken;
        };
        let took = taken.saturating_duration_since(before);
        let gain = energy_mj.checked_sub(before_mj);
        // Exact: far under 2^53.
        #[allow(clippy::cast_precision_loss)]
        let plausible = |gain: &u64| *gain as f64 <= MAX_MW * took.as_secs_f64();
        let gain = gain
            .filter(plausible)
            .filter(|_| !took.is_zero() && took <= MAX_TOOK);
        let Some(energy_mj) = gain else {
            // What was learnt of the board holds; that it was quiet in between does not.
            self.baseline.observe(0, Duration::ZERO, None, held);
            return Reading::Broken;
        };
        let idle_mj = self.baseline.expected_mj(took, held);
        self.baseline.observe(energy_mj, took, gpu.ran, held);
        Reading::Used(Used {
            interval: Interval {
                energy_mj,
                idle_mj,
                ran: gpu.ran,
                processes_known: gpu.processes_known && !gpu.split,
            },
            took,
            moved: energy_mj > 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(energy_mj: Option<u64>) -> Gpu {
        Gpu {
            uuid: "GPU-0".into(),
            index: 0,
            product_name: "Board".into(),
            energy_mj,
            power_mw: None,
            busy_pct: Some(90.0),
            ran: Some(true),
            split: false,
            processes_known: true,
        }
    }

    fn gains(readings: &[(u64, Option<u64>)]) -> Vec<Option<u64>> {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let read = readings.iter().map(|(second, energy)| {
            let taken = start + Duration::from_secs(*second);
            match meter.read(&gpu(*energy), taken, true) {
                Reading::Used(used) => Some(used.interval.energy_mj),
                Reading::Missing | Reading::Broken => None,
            }
        });
        read.collect()
    }

    #[test]
    fn a_reading_that_failed_loses_no_energy() {
        let read = gains(&[(0, Some(1000)), (1, Some(1300)), (2, None), (3, Some(1900))]);
        assert_eq!(read, [None, Some(300), None, Some(600)]);
    }

    #[test]
    fn a_reset_a_long_gap_and_nonsense_are_gaps() {
        let reset = gains(&[(0, Some(900_000)), (1, Some(5)), (2, Some(300))]);
        assert_eq!(reset, [None, None, Some(295)]);
        let long = gains(&[(0, Some(0)), (16, Some(3000)), (17, Some(3300))]);
        assert_eq!(long, [None, None, Some(300)]);
        let nonsense = gains(&[(0, Some(0)), (1, Some(1 << 60))]);
        assert_eq!(nonsense, [None, None]);
    }
}
