//! For how long nothing has run on a GPU while processes hold its memory.

use std::time::{Duration, Instant};

/// Since when one GPU has been idle.
#[derive(Debug, Default)]
pub struct Idle {
    since: Option<Instant>,
}

impl Idle {
    /// Takes note of a tick: whether anything ran since the one before, and whether a process holds memory.
    /// `None` if either is unknown.
    pub fn held(
        &mut self,
        ran: Option<bool>,
        memory_held: Option<bool>,
        now: Instant,
    ) -> Option<Duration> {
        match (ran?, memory_held?) {
            (false, true) => {
                let since = *self.since.get_or_insert(now);
                Some(now.saturating_duration_since(since))
            }
            _ => {
                self.since = None;
                Some(Duration::ZERO)
            }
        }
    }

    /// Starts over: nobody looked.
    pub fn reset(&mut self) {
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_held_idle_from_the_first_tick_without_work_until_the_next_with_some() {
        let (mut idle, start) = (Idle::default(), Instant::now());
        let mut at = |second, ran, held| {
            idle.held(ran, held, start + Duration::from_secs(second))
                .map(|held| held.as_secs())
        };
        assert_eq!(at(0, Some(true), Some(true)), Some(0));
        assert_eq!(at(1, Some(false), Some(true)), Some(0));
        assert_eq!(at(61, Some(false), Some(true)), Some(60));
        assert_eq!(at(62, None, Some(true)), None);
        assert_eq!(at(71, Some(false), Some(true)), Some(70));
        assert_eq!(at(72, Some(true), Some(true)), Some(0));
        assert_eq!(at(73, Some(false), Some(true)), Some(0));
    }

    #[test]
    fn a_gpu_that_nobody_holds_is_not_held_idle() {
        let (mut idle, now) = (Idle::default(), Instant::now());
        assert_eq!(
            idle.held(Some(false), Some(false), now),
            Some(Duration::ZERO)
        );
        assert_eq!(idle.held(Some(false), None, now), None);
    }
}
