//! Readings that may take long or hang with the process they are of: one at a time, never queued, and not
//! again before the process has had a hundred times as long without.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::protocol::ProcessId;

/// Shortest time for which a value is repeated.
const KEEP: Duration = Duration::from_secs(30);
/// A reading takes at most one part in this many of the time.
const SHARE: u32 = 200;
/// A reading that takes less does not count.
const CHEAP: Duration = Duration::from_millis(2);
/// For how long a value is told that waits to be read again.
const STALE: Duration = Duration::from_secs(600);
/// Most processes remembered.
const MAX_KEPT: usize = 1024;

/// The readings so far.
#[derive(Debug, Default)]
pub struct Slow(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    busy: bool,
    /// Until when nothing is read: the share holds for all processes together.
    rest_until: Option<Instant>,
    kept: BTreeMap<ProcessId, Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    value: Option<u64>,
    until: Instant,
}

impl Slow {
    /// The reading of `id`: an earlier one as long as that holds, or if another is just being taken; `None`
    /// if there is none.
    pub fn get(&self, id: ProcessId, read: impl FnOnce() -> Option<u64>) -> Option<u64> {
        let began = Instant::now();
        {
            let mut state = self.lock();
            let kept = state.kept.get(&id).copied();
            if kept.is_some_and(|kept| began < kept.until) {
                return kept.and_then(|kept| kept.value);
            }
            let rests = state.rest_until.is_some_and(|at| began < at);
            if state.busy || rests {
                // Soon to be read again, unless the one under way hangs.
                let kept = kept.filter(|kept| began < kept.until + STALE);
                return kept.and_then(|kept| kept.value);
            }
            state.busy = true;
        }
        let value = read();
        let now = Instant::now();
        let until = now + KEEP.max((now - began) * SHARE);
        let mut state = self.lock();
        state.busy = false;
        let took = now - began;
        state.rest_until = (took >= CHEAP).then(|| now + took * SHARE);
        state.kept.retain(|_, kept| now < kept.until + STALE);
        if state.kept.len() < MAX_KEPT {
            state.kept.insert(id, Kept { value, until });
        }
        value
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(pid: u32) -> ProcessId {
        ProcessId {
            pid,
            start_ticks: 1,
        }
    }

    #[test]
    fn a_reading_is_repeated_and_not_taken_again() {
        let slow = Slow::default();
        assert_eq!(slow.get(id(1), || Some(5)), Some(5));
        assert_eq!(slow.get(id(1), || unreachable!("too early")), Some(5));
        assert_eq!(slow.get(id(2), || None), None);
        assert_eq!(slow.get(id(2), || unreachable!("too early")), None);
    }

    #[test]
    fn while_one_is_taken_no_other_is() {
        let slow = Slow::default();
        let value = slow.get(id(1), || {
            assert_eq!(slow.get(id(2), || unreachable!("two at once")), None);
            Some(7)
        });
        assert_eq!(value, Some(7));
        assert_eq!(slow.get(id(2), || Some(8)), Some(8));
    }
}
