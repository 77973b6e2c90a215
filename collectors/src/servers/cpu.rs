//! CPU time and page faults of single processes, as rates between two ticks.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::processes::ticks_per_second;
use crate::rate::Rate;

/// Percentages of one core: 100 is a core all the time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In user mode; `None` until a process was seen twice.
    pub user_pct: Option<f64>,
    /// In the kernel, likewise.
    pub system_pct: Option<f64>,
}

impl Cpu {
    /// Adds what is known of another process. What is unknown of it adds nothing: a process seen for the
    /// first time must not hide what the others use.
    pub fn add(&mut self, other: Self) {
        self.user_pct = together(self.user_pct, other.user_pct);
        self.system_pct = together(self.system_pct, other.system_pct);
    }

    /// Both together; `None` if neither is known.
    #[must_use]
    pub fn total_pct(&self) -> Option<f64> {
        together(self.user_pct, self.system_pct)
    }
}

/// Page faults a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Without reading from a disk; `None` until a process was seen twice.
    pub minor: Option<f64>,
    /// With that, likewise.
    pub major: Option<f64>,
}

impl Faults {
    /// Adds another process's, as [`Cpu::add`] does.
    pub fn add(&mut self, other: Self) {
        self.minor = together(self.minor, other.minor);
        self.major = together(self.major, other.major);
    }
}

/// The sum of what is known.
pub fn together(sum: Option<f64>, one: Option<f64>) -> Option<f64> {
    match (sum, one) {
        (Some(sum), Some(one)) => Some(sum + one),
        (sum, one) => sum.or(one),
    }
}

/// The pasts of processes, each known by pid and start: a reused pid begins anew.
#[derive(Debug)]
pub struct CpuRates {
    processes: BTreeMap<(u32, u64), Past>,
    ticks_per_second: f64,
}

#[derive(Debug)]
struct Past {
    user: Rate,
    system: Rate,
    minor: Rate,
    major: Rate,
    seen: Instant,
}

impl CpuRates {
    /// Knows no process yet.
    #[must_use]
    pub fn new() -> Self {
        // 100 on every common kernel, and exact in any case.
        #[allow(clippy::cast_precision_loss)]
        let ticks_per_second = ticks_per_second() as f64;
        Self {
            processes: BTreeMap::new(),
            ticks_per_second,
        }
    }

    /// The use since the last call for this process, from the clock ticks it has used in all (fields 14
    /// and 15 of `/proc/PID/stat`).
    pub fn of(
        &mut self,
        pid: u32,
        start_ticks: u64,
        (user, system): (u64, u64),
        now: Instant,
    ) -> Cpu {
        let ticks_per_second = self.ticks_per_second;
        let past = self.past(pid, start_ticks, now);
        let pct = |rate: &mut Rate, ticks: u64| {
            // Exact up to 2^53 ticks: millions of years.
            #[allow(clippy::cast_precision_loss)]
            let per_second = rate.per_second(Some(ticks as f64), now)?;
            Some(100.0 * per_second / ticks_per_second)
        };
        Cpu {
            user_pct: pct(&mut past.user, user),
            system_pct: pct(&mut past.system, system),
        }
    }

    /// The page faults since the last call for this process, from those it has had in all (fields 10 and 12).
    pub fn faults(
        &mut self,
        pid: u32,
        start_ticks: u64,
        (minor, major): (u64, u64),
        now: Instant,
    ) -> Faults {
        let past = self.past(pid, start_ticks, now);
        // Exact up to 2^53 faults.
        #[allow(clippy::cast_precision_loss)]
        Faults {
            minor: past.minor.per_second(Some(minor as f64), now),
            major: past.major.per_second(Some(major as f64), now),
        }
    }

    fn past(&mut self, pid: u32, start_ticks: u64, now: Instant) -> &mut Past {
        let past = self.processes.entry((pid, start_ticks)).or_insert(Past {
            user: Rate::default(),
            system: Rate::default(),
            minor: Rate::default(),
            major: Rate::default(),
            seen: now,
        });
        past.seen = now;
        past
    }

    /// Forgets every process that was not asked for at `now`.
    pub fn forget_unseen(&mut self, now: Instant) {
        self.processes.retain(|_, past| past.seen == now);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_pid_reused_between_two_readings_begins_anew() {
        let (mut rates, start) = (CpuRates::new(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        rates.of(10, 100, (5, 5), second(0));
        // Its counters are ahead of the old process's: only the start tells that it is another.
        assert_eq!(rates.of(10, 200, (90_000, 50), second(1)), Cpu::default());
        let hz = ticks_per_second();
        let cpu = rates.of(10, 200, (90_000 + hz, 50), second(2));
        assert_eq!((cpu.user_pct, cpu.system_pct), (Some(100.0), Some(0.0)));
    }

    #[test]
    fn who_was_not_seen_at_a_tick_is_forgotten() {
        let (mut rates, now) = (CpuRates::new(), Instant::now());
        rates.of(10, 100, (5, 5), now);
        rates.of(11, 100, (5, 5), now);
        let later = now + Duration::from_secs(1);
        rates.of(11, 100, (5, 5), later);
        rates.forget_unseen(later);
        let known: Vec<_> = rates.processes.keys().copied().collect();
        assert_eq!(known, [(11, 100)]);
    }
}
