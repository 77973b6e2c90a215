//! How fast a latency spends the error budget of the user's objective: 1 means that exactly as many requests
//! miss their threshold as may. Over a short and a long window at once, as the one forgets too soon what the
//! other remembers too long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Requests in the short window under which there is no rate: one slow request in the night is no burn.
const MIN_REQUESTS: f64 = 10.0;
/// Smallest budget, a share: an objective of 100 % has none, and the rate would have no end.
const SMALLEST_BUDGET: f64 = 1e-6;

/// One latency's requests within the long window.
#[derive(Clone, Debug, Default)]
pub struct Burn {
    edge: Option<f64>,
    spent: VecDeque<Spent>,
}

/// What one page added.
#[derive(Clone, Copy, Debug)]
struct Spent {
    at: Instant,
    requests: f64,
    missed: f64,
}

impl Burn {
    /// Takes what a page added: requests, and those of them at or under `edge`. Another edge starts over.
    pub fn push(&mut self, edge: f64, added: Option<(f64, f64)>, long: Duration, now: Instant) {
        if self.edge.replace(edge) != Some(edge) {
            self.spent.clear();
        }
        while self
            .spent
            .front()
            .is_some_and(|first| older(first, long, now))
        {
            self.spent.pop_front();
        }
        if let Some((requests, within)) = added {
            self.spent.push_back(Spent {
                at: now,
                requests,
                missed: requests - within,
            });
        }
    }

    /// The lower of the two windows' rates, with an objective in per cent; `None` with too few requests.
    #[must_use]
    pub fn rate(&self, [short, long]: [Duration; 2], objective: f64, now: Instant) -> Option<f64> {
        let budget = (1.0 - objective / 100.0).max(SMALLEST_BUDGET);
        let missed_within = |window| {
            let (mut requests, mut missed) = (0.0, 0.0);
            for spent in self.spent.iter().filter(|it| !older(it, window, now)) {
                requests += spent.requests;
                missed += spent.missed;
            }
            (requests >= MIN_REQUESTS).then(|| missed / requests)
        };
        let lower = missed_within(short)?.min(missed_within(long)?);
        Some(lower / budget)
    }
}

fn older(spent: &Spent, window: Duration, now: Instant) -> bool {
    now.saturating_duration_since(spent.at) >= window
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: [Duration; 2] = [Duration::from_secs(300), Duration::from_secs(3600)];

    /// The rate after pages 5 s apart, each with 20 requests of which so many missed the threshold.
    fn after(pages: &[(usize, f64)]) -> Option<f64> {
        let (mut burn, mut now) = (Burn::default(), Instant::now());
        for (count, missed) in pages {
            for _ in 0..*count {
                now += Duration::from_secs(5);
                burn.push(0.5, Some((20.0, 20.0 - missed)), WINDOWS[1], now);
            }
        }
        burn.rate(WINDOWS, 99.0, now)
    }

    fn about(rate: Option<f64>, expected: f64) -> bool {
        rate.is_some_and(|rate| (rate - expected).abs() < 1e-6)
    }

    #[test]
    fn as_many_misses_as_may_be_burn_at_one() {
        assert!(about(after(&[(720, 0.2)]), 1.0));
        assert!(about(after(&[(720, 0.0)]), 0.0));
        assert!(about(after(&[(720, 20.0)]), 100.0));
    }

    #[test]
    fn a_short_burst_does_not_burn_the_long_window_and_an_old_one_not_the_short() {
        // Five minutes of an hour: the long window has 1/12.
        assert!(about(after(&[(660, 0.0), (60, 20.0)]), 100.0 / 12.0));
        assert!(about(after(&[(600, 20.0), (120, 0.0)]), 0.0));
        // Older than the long window.
        assert!(about(after(&[(60, 20.0), (720, 0.2)]), 1.0));
    }

    #[test]
    fn few_requests_have_no_rate_and_an_objective_of_all_has_an_end() {
        let (mut burn, now) = (Burn::default(), Instant::now());
        burn.push(0.5, Some((9.0, 0.0)), WINDOWS[1], now);
        assert_eq!(burn.rate(WINDOWS, 99.0, now), None);
        burn.push(0.5, None, WINDOWS[1], now);
        burn.push(0.5, Some((1.0, 0.0)), WINDOWS[1], now);
        assert!(burn.rate(WINDOWS, 100.0, now).unwrap().is_finite());
        burn.push(0.6, None, WINDOWS[1], now);
        assert_eq!(burn.rate(WINDOWS, 99.0, now), None);
    }
}
