//! How often a server is scraped: rendering the page takes place on its serving event loop, so that a
//! page which takes long is asked for less often.

use std::time::Duration;

/// Largest share of wall time that scrapes of one server may take.
const SHARE: f64 = 0.005;
/// Scrapes of which the median counts: a single slow one changes nothing.
const SCRAPES: usize = 5;
/// Scrapes after which there is a median.
const LEAST_SCRAPES: usize = 3;
/// A shorter interval is taken where scrapes ask for at most this part of it: no hunting.
const SHRINK_AT: f64 = 0.7;
/// The intervals there are, in seconds. Netdata begins its charts' storage anew with each change, so that there are few.
const INTERVALS: [u32; 9] = [1, 2, 3, 5, 10, 15, 20, 30, LONGEST];
/// Longest interval in seconds: state and stalls are looked at once an interval.
const LONGEST: u32 = 60;

/// Durations of the last scrapes, and the interval they ask for.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    seconds: [f64; SCRAPES],
    scrapes: usize,
    every: Option<u32>,
}

impl Stretch {
    /// Takes the duration of a scrape that was answered.
    pub fn scraped(&mut self, took: Duration) {
        self.seconds[self.scrapes % SCRAPES] = took.as_secs_f64();
        self.scrapes += 1;
        if self.scrapes < LEAST_SCRAPES {
            return;
        }
        let asked = self.median() / SHARE;
        let shortest = interval_of(asked);
        self.every = Some(match self.every {
            Some(every) if shortest <= every => every.min(interval_of(asked / SHRINK_AT)),
            _ => shortest,
        });
    }

    /// The interval that keeps to the share, in seconds; `None` before it is known.
    #[must_use]
    pub fn every(&self) -> Option<u32> {
        self.every
    }

    fn median(&self) -> f64 {
        let mut sorted = self.seconds;
        let sorted = &mut sorted[..self.scrapes.min(SCRAPES)];
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// The shortest interval that is at least so long.
fn interval_of(seconds: f64) -> u32 {
    let long_enough = |every: &u32| f64::from(*every) >= seconds;
    INTERVALS.into_iter().find(long_enough).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(scrapes_ms: &[u64]) -> Option<u32> {
        let mut stretch = Stretch::default();
        for &ms in scrapes_ms {
            stretch.scraped(Duration::from_millis(ms));
        }
        stretch.every()
    }

    #[test]
    fn a_scrape_takes_half_a_per_cent_of_the_interval_at_most() {
        assert_eq!(after(&[45, 45, 45]), Some(10));
        assert_eq!(after(&[233, 233, 233]), Some(60));
        assert_eq!(after(&[2, 2, 2]), Some(1));
    }

    #[test]
    fn one_slow_scrape_changes_nothing() {
        assert_eq!(after(&[20, 20, 20, 2000]), Some(5));
        assert_eq!(after(&[2000, 20, 20]), Some(5));
    }

    #[test]
    fn the_interval_grows_at_once_and_shrinks_only_for_a_real_difference() {
        let long = [50, 50, 50, 50, 50];
        assert_eq!(after(&[&long[..], &[24; 5]].concat()), Some(10));
        assert_eq!(after(&[&long[..], &[17; 5]].concat()), Some(5));
        assert_eq!(after(&[&long[..], &[60; 5]].concat()), Some(15));
    }

    #[test]
    fn there_is_an_end_to_stretching() {
        assert_eq!(after(&[60_000; 3]), Some(LONGEST));
        assert_eq!(after(&[20, 20]), None);
    }
}
