//! Learns what a GPU draws while nothing runs. A context keeps clocks up, so boards with memory held and without
//! are different boards.

use std::time::Duration;

/// After work, clocks and temperature take this long to come down.
const SETTLES: Duration = Duration::from_secs(5);
/// Idle time that makes a baseline: a hundred periods of the slowest counter known.
const LEARNS: Duration = Duration::from_secs(10);

/// What one GPU draws while idle.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// Without and with memory held, mW.
    known_mw: [Option<f64>; 2],
    quiet: Quiet,
}

/// The idle time up to now.
#[derive(Clone, Debug, Default)]
struct Quiet {
    held: bool,
    lasted: Duration,
    learnt_mj: u64,
    learnt: Duration,
}

impl Baseline {
    /// Takes an interval: what was used in `took`, whether anything ran and whether a process held memory.
    pub fn observe(&mut self, energy_mj: u64, took: Duration, ran: Option<bool>, held: bool) {
        if ran != Some(false) || self.quiet.held != held {
            self.quiet = Quiet {
                held,
                ..Quiet::default()
            };
            return;
        }
        let quiet = &mut self.quiet;
        quiet.lasted += took;
        if quiet.lasted <= SETTLES {
            return;
        }
        quiet.learnt_mj += energy_mj;
        quiet.learnt += took;
        if quiet.learnt >= LEARNS {
            // Exact: far under 2^53.
            #[allow(clippy::cast_precision_loss)]
            let mw = quiet.learnt_mj as f64 / quiet.learnt.as_secs_f64();
            self.known_mw[usize::from(held)] = Some(mw);
            (quiet.learnt_mj, quiet.learnt) = (0, Duration::ZERO);
        }
    }

    /// What the idle board uses in that time, mJ; `None` until it was seen idle in that state.
    #[must_use]
    pub fn expected_mj(&self, took: Duration, held: bool) -> Option<u64> {
        let mw = self.known_mw[usize::from(held)]?;
        // Not negative, and of milliseconds to hours.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Some((mw * took.as_secs_f64()).round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn idle(baseline: &mut Baseline, seconds: u64, watts: u64, held: bool) {
        for _ in 0..seconds {
            baseline.observe(watts * 1000, SECOND, Some(false), held);
        }
    }

    #[test]
    fn it_is_learnt_once_the_board_has_settled() {
        let mut baseline = Baseline::default();
        idle(&mut baseline, 7, 300, true);
        idle(&mut baseline, 9, 110, true);
        assert_eq!(
            baseline.expected_mj(SECOND, true),
            Some((300 + 9 * 110) * 100)
        );
        idle(&mut baseline, 10, 110, true);
        assert_eq!(baseline.expected_mj(SECOND * 2, true), Some(220_000));
    }

    #[test]
    fn with_and_without_memory_held_are_two() {
        let mut baseline = Baseline::default();
        idle(&mut baseline, 20, 70, false);
        assert_eq!(baseline.expected_mj(SECOND, true), None);
        idle(&mut baseline, 20, 115, true);
        assert_eq!(baseline.expected_mj(SECOND, false), Some(70_000));
        assert_eq!(baseline.expected_mj(SECOND, true), Some(115_000));
    }

    #[test]
    fn idle_time_is_not_put_together_from_pieces() {
        let mut baseline = Baseline::default();
        for _ in 0..10 {
            idle(&mut baseline, 14, 100, true);
            baseline.observe(500_000, SECOND, Some(true), true);
        }
        assert_eq!(baseline.expected_mj(SECOND, true), None);
        idle(&mut baseline, 14, 100, true);
        baseline.observe(500_000, SECOND, None, true);
        idle(&mut baseline, 14, 100, true);
        assert_eq!(baseline.expected_mj(SECOND, true), None);
    }
}
