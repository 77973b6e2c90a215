//! Processes' shares of SM time from NVML's samples, of which some are nonsense: those over 100 per
//! cent, those from before the last reading or from the future, and everything in the first answer.

/// One sample of one process.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Which process.
    pub pid: u32,
    /// Microseconds since 1970.
    pub at_us: u64,
    /// Per cent of SM time in the sampling period.
    pub sm_pct: u32,
}

/// Readings of a busy GPU without a new sample after which the samples' clock is taken to have gone back.
const STARTS_OVER_AFTER: u32 = 3;

/// How far ahead of ours a sample's clock may be.
const FUTURE_US: u64 = 60_000_000;

/// What one GPU's samples are read against.
#[derive(Debug, Default)]
pub struct SmTime {
    last_seen_us: Option<u64>,
    /// Readings in a row in which nobody is seen on a busy GPU.
    without: u32,
}

/// The shares of one reading.
#[derive(Debug, Default)]
pub struct Shares {
    by_pid: Vec<(u32, u64, u64)>,
    /// What a process without a sample did.
    others: Option<f64>,
}

impl SmTime {
    /// The time stamp to ask with: samples after it are wanted.
    pub fn since(&mut self, now_us: u64) -> u64 {
        // A clock set back would otherwise hide every sample until it has caught up.
        if self.last_seen_us > Some(now_us + FUTURE_US) {
            self.last_seen_us = None;
        }
        self.last_seen_us.unwrap_or(0)
    }

    /// Averages `samples` per process. `None` means that they could not be read. `busy_pct`, the GPU's
    /// own utilisation, tells an idle GPU from a driver that shows no samples.
    pub fn take(
        &mut self,
        samples: Option<impl Iterator<Item = Sample>>,
        now_us: u64,
        busy_pct: Option<u32>,
    ) -> Shares {
        let Some(samples) = samples else {
            return Shares::default();
        };
        let first = self.last_seen_us.is_none();
        let since = self.last_seen_us.unwrap_or(0);
        let mut newest = since;
        let mut shares = Shares::default();
        for sample in samples {
            let valid = sample.sm_pct <= 100
                && sample.pid != 0
                && sample.at_us > since
                && sample.at_us <= now_us + FUTURE_US;
            if !valid {
                continue;
            }
            newest = newest.max(sample.at_us);
            match shares
                .by_pid
                .iter_mut()
                .find(|(pid, ..)| *pid == sample.pid)
            {
                Some((_, sum, count)) => {
                    *sum += u64::from(sample.sm_pct);
                    *count += 1;
                }
                None => shares
                    .by_pid
                    .push((sample.pid, u64::from(sample.sm_pct), 1)),
            }
        }
        self.last_seen_us = Some(newest);
        let nobody = shares.by_pid.is_empty() && busy_pct.is_some_and(|busy| busy > 0);
        self.without = if nobody { self.without + 1 } else { 0 };
        if self.without >= STARTS_OVER_AFTER {
            *self = Self::default();
        }
        if first {
            return Shares::default();
        }
        // NVML lists who ran, so the others did not, unless it lists nobody on a busy GPU.
        let complete = !shares.by_pid.is_empty() || busy_pct == Some(0);
        shares.others = complete.then_some(0.0);
        shares
    }
}

impl Shares {
    /// Per cent of SM time of process `pid`.
    pub fn of(&self, pid: u32) -> Option<f64> {
        self.by_pid
            .iter()
            .find(|(known, ..)| *known == pid)
            .map(|(_, sum, count)| *sum as f64 / *count as f64)
            .or(self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000;

    fn sample(pid: u32, at_us: u64, sm_pct: u32) -> Sample {
        Sample { pid, at_us, sm_pct }
    }

    fn take(time: &mut SmTime, samples: &[Sample], busy: Option<u32>) -> Shares {
        time.take(Some(samples.iter().copied()), NOW, busy)
    }

    fn primed() -> SmTime {
        let mut time = SmTime::default();
        take(&mut time, &[sample(1, NOW - 10, 99)], Some(99));
        time
    }

    #[test]
    fn the_first_answer_is_discarded() {
        let mut time = SmTime::default();
        assert_eq!(time.since(NOW), 0);
        let shares = take(&mut time, &[sample(1, NOW - 10, 80)], Some(80));
        assert_eq!(shares.of(1), None);
        assert_eq!(time.since(NOW), NOW - 10);
    }

    #[test]
    fn samples_of_one_process_are_averaged_and_a_process_without_any_was_idle() {
        let shares = take(
            &mut primed(),
            &[sample(1, NOW - 2, 80), sample(1, NOW - 1, 60)],
            Some(70),
        );
        assert_eq!(shares.of(1), Some(70.0));
        assert_eq!(shares.of(2), Some(0.0));
    }

    #[test]
    fn nonsense_is_dropped() {
        let mut time = primed();
        let shares = take(
            &mut time,
            &[
                sample(1, NOW - 10, 50),
                sample(1, 0, 50),
                sample(1, u64::MAX, 50),
                sample(1, NOW - 1, 4_000_000),
                sample(0, NOW - 1, 5),
                sample(2, NOW - 1, 7),
            ],
            Some(70),
        );
        assert_eq!(shares.of(1), Some(0.0));
        assert_eq!(shares.of(2), Some(7.0));
        assert_eq!(time.since(NOW), NOW - 1);
    }

    #[test]
    fn nobody_listed_on_a_busy_gpu_is_unknown_and_on_an_idle_one_nothing() {
        assert_eq!(take(&mut primed(), &[], Some(50)).of(1), None);
        assert_eq!(take(&mut primed(), &[], None).of(1), None);
        assert_eq!(take(&mut primed(), &[], Some(0)).of(1), Some(0.0));
    }

    #[test]
    fn a_clock_of_samples_that_goes_back_is_followed_on_a_busy_gpu() {
        let mut time = primed();
        for _ in 0..STARTS_OVER_AFTER {
            assert_eq!(time.since(NOW), NOW - 10);
            assert_eq!(take(&mut time, &[], Some(50)).of(1), None);
        }
        // An hour back.
        let old = |n| sample(1, NOW - 3_600_000_000 + n, 80);
        assert_eq!(time.since(NOW), 0);
        assert_eq!(take(&mut time, &[old(1)], Some(50)).of(1), None);
        assert_eq!(
            take(&mut time, &[old(1), old(2)], Some(50)).of(1),
            Some(80.0)
        );
    }

    #[test]
    fn an_idle_gpu_does_not_start_over() {
        let mut time = primed();
        for _ in 0..10 {
            assert_eq!(take(&mut time, &[], Some(0)).of(1), Some(0.0));
        }
        assert_eq!(time.since(NOW), NOW - 10);
    }

    #[test]
    fn samples_that_could_not_be_read_say_nothing() {
        let shares = primed().take(None::<std::iter::Empty<Sample>>, NOW, Some(0));
        assert_eq!(shares.of(1), None);
    }

    #[test]
    fn a_clock_set_back_starts_over() {
        let mut time = primed();
        assert_eq!(time.since(NOW - 10 * FUTURE_US), 0);
    }
}
