//! Counters that may vanish, reset or belong to something restartable, as rates per second.
//!
//! The first sample after a start, a gap or a reset is a gap: what a counter gained while nobody saw it
//! cannot be dated, and spread over one tick it would be a spike.

use std::time::Instant;

/// One counter's past.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    last: Option<(f64, Instant)>,
}

impl Rate {
    /// The average rate per second since the previous call, in the counter's unit. `None` if this or
    /// the previous value is unknown, if the counter went back, or if no time has passed.
    pub fn per_second(&mut self, value: Option<f64>, now: Instant) -> Option<f64> {
        let (gain, seconds) = self.gain(value, now)?;
        Some(gain / seconds)
    }

    /// The same as the gain and the seconds it took.
    pub fn gain(&mut self, value: Option<f64>, now: Instant) -> Option<(f64, f64)> {
        let value = value.filter(|value| value.is_finite());
        let last = std::mem::replace(&mut self.last, value.map(|value| (value, now)));
        let (value, (last, then)) = (value?, last?);
        let seconds = now.saturating_duration_since(then).as_secs_f64();
        (value >= last && seconds > 0.0).then_some((value - last, seconds))
    }

    /// Forgets the past: the next sample is a gap.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rates(values: &[Option<f64>]) -> Vec<Option<f64>> {
        let (start, mut rate) = (Instant::now(), Rate::default());
        let at = |i: usize| start + Duration::from_secs(2 * i as u64);
        let values = values.iter().enumerate();
        values
            .map(|(i, value)| rate.per_second(*value, at(i)))
            .collect()
    }

    #[test]
    fn a_steady_counter_has_its_gain_per_second() {
        let read = rates(&[Some(10.0), Some(14.0), Some(14.0)]);
        assert_eq!(read, [None, Some(2.0), Some(0.0)]);
    }

    #[test]
    fn a_reset_is_a_gap_and_never_a_spike() {
        let read = rates(&[Some(4_294_967_000.0), Some(8.0), Some(10.0)]);
        assert_eq!(read, [None, None, Some(1.0)]);
    }

    #[test]
    fn a_counter_withheld_for_ten_ticks_returns_with_a_gap_and_then_its_rate() {
        let mut values = vec![Some(0.0), Some(100.0)];
        values.extend([None; 10]);
        values.extend([Some(1200.0), Some(1300.0)]);
        let read = rates(&values);
        assert_eq!(read[1], Some(50.0));
        assert!(read[2..13].iter().all(Option::is_none));
        assert_eq!(read[13], Some(50.0));
    }

    #[test]
    fn what_is_no_number_is_missing() {
        let read = rates(&[Some(1.0), Some(f64::NAN), Some(3.0), Some(5.0)]);
        assert_eq!(read, [None, None, None, Some(1.0)]);
    }

    #[test]
    fn no_time_passed_is_no_rate() {
        let (now, mut rate) = (Instant::now(), Rate::default());
        rate.per_second(Some(1.0), now);
        assert_eq!(rate.per_second(Some(2.0), now), None);
    }
}
