//! The jobs that run or wait to be tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chart::Instance;
use crate::module::Job;
use crate::runner::{Running, Setup, Status};
use crate::self_charts;

/// Pause after the first failure; doubled after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause: a driver that was just loaded is charted within a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Jobs of one module. Anyone can start processes that look like servers.
const MAX_JOBS_PER_MODULE: usize = 64;
/// A tick that takes longer than this and than five intervals is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(10);
/// A job that is neither running nor found again is forgotten after this time.
const FORGET_AFTER: Duration = Duration::from_secs(30);

type Key = (&'static str, String);

/// Every job of every module.
pub(super) struct Jobs {
    setup: Setup,
    slots: BTreeMap<Key, Slot>,
    full: bool,
}

struct Slot {
    instance: Arc<Instance>,
    running: Option<Running>,
    status: Status,
    found_at: Instant,
    failures: u32,
    next_try: Instant,
    last_error: String,
    stuck: bool,
    /// Whether a tick of it ever succeeded.
    worked: bool,
}

impl Jobs {
    pub(super) fn new(setup: Setup) -> Self {
        Self {
            setup,
            slots: BTreeMap::new(),
            full: false,
        }
    }

    /// Starts the jobs in `found` that neither run nor wait.
    pub(super) fn found(&mut self, module: &'static str, found: Vec<Job>, now: Instant) {
        for job in found {
            let key = (module, job.name.clone());
            let of_module = self
                .slots
                .keys()
                .filter(|(name, _)| *name == module)
                .count();
            if !self.slots.contains_key(&key) && of_module >= MAX_JOBS_PER_MODULE {
                if !std::mem::replace(&mut self.full, true) {
                    log::warn!("{module}: only the first {MAX_JOBS_PER_MODULE} jobs are charted");
                }
                continue;
            }
            let slot = self
                .slots
                .entry(key)
                .or_insert_with(|| Slot::new(module, &job.name, now));
            slot.found_at = now;
            if slot.running.is_none() && now >= slot.next_try {
                let setup = Setup {
                    module: module.to_owned(),
                    ..self.setup.clone()
                };
                slot.status = Status::default();
                match Running::start(setup, job) {
                    Ok(running) => slot.running = Some(running),
                    Err(error) => slot.failed(&format!("{error:#}"), now),
                }
            }
        }
    }

    /// Takes note of the jobs that ended, and forgets those that nobody finds any more.
    pub(super) fn reap(&mut self, now: Instant) {
        for ((module, name), slot) in &mut self.slots {
            let Some(running) = &slot.running else {
                continue;
            };
            slot.status = running.status();
            slot.worked |= slot.status.ok == Some(true);
            crate::log::set_scope(module, name);
            slot.judge_stuck(now);
            if let Some(reason) = slot.status.ended.take() {
                slot.running = None;
                if slot.status.ok.is_some() {
                    slot.failures = 0;
                }
                slot.status.ok = Some(false);
                slot.failed(&reason, now);
            }
        }
        crate::log::clear_scope();
        self.slots.retain(|_, slot| {
            slot.running.is_some() || now.duration_since(slot.found_at) < FORGET_AFTER
        });
    }

    /// Hands out each job's instance, status, whether it is stuck and whether it ever worked.
    pub(super) fn each(&self, mut tell: impl FnMut(&Arc<Instance>, &Status, bool, bool)) {
        for slot in self.slots.values() {
            tell(&slot.instance, &slot.status, slot.stuck, slot.worked);
        }
    }

    pub(super) fn running(&self) -> usize {
        self.slots
            .values()
            .filter(|slot| slot.running.is_some())
            .count()
    }

    /// Asks every job to end. Does not wait: the process ends next.
    pub(super) fn stop(&self) {
        self.slots
            .values()
            .filter_map(|slot| slot.running.as_ref())
            .for_each(Running::stop);
    }
}

impl Slot {
    fn new(module: &str, name: &str, now: Instant) -> Self {
        Self {
            instance: self_charts::job_instance(module, name),
            running: None,
            status: Status::default(),
            found_at: now,
            failures: 0,
            next_try: now,
            last_error: String::new(),
            stuck: false,
            worked: false,
        }
    }

    /// Sets the next try, and logs the reason unless it is the one logged last.
    fn failed(&mut self, reason: &str, now: Instant) {
        self.failures += 1;
        let pause = FIRST_PAUSE
            .saturating_mul(1 << (self.failures - 1).min(10))
            .min(LONGEST_PAUSE);
        self.next_try = now + pause;
        if !reason.is_empty() && reason != self.last_error {
            log::warn!("{reason}");
            reason.clone_into(&mut self.last_error);
        }
    }

    fn judge_stuck(&mut self, now: Instant) {
        let limit = STUCK_AFTER.max(Duration::from_secs(self.status.update_every.into()) * 5);
        let busy = self
            .status
            .busy_since
            .map(|since| now.saturating_duration_since(since));
        let stuck = busy.is_some_and(|busy| busy > limit);
        if stuck && !self.stuck {
            log::warn!(
                "no answer for {} s: its charts show a gap until it comes",
                limit.as_secs()
            );
        } else if !stuck && self.stuck {
            log::info!("answers again");
        }
        self.stuck = stuck;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::output::Output;

    fn jobs() -> Jobs {
        Jobs::new(Setup {
            plugin: "rs.d",
            module: String::new(),
            heatmaps: false,
            output: Output::new(std::io::sink()),
            ticks: None,
        })
    }

    /// A job whose start fails, and which counts how often it was tried.
    fn failing(tries: &Arc<Mutex<u32>>) -> Job {
        let tries = Arc::clone(tries);
        Job {
            name: "broken".to_owned(),
            update_every: 1,
            start: Box::new(move || {
                *tries.lock().unwrap() += 1;
                anyhow::bail!("no driver")
            }),
        }
    }

    fn reap_until_ended(jobs: &mut Jobs, now: Instant) {
        let began = Instant::now();
        while jobs.running() > 0 {
            assert!(began.elapsed() < Duration::from_secs(10));
            jobs.reap(now);
        }
    }

    #[test]
    fn a_job_that_cannot_start_is_tried_again_with_growing_pauses() {
        let (mut jobs, tries, mut now) = (jobs(), Arc::new(Mutex::new(0)), Instant::now());
        let mut tried_at = vec![];
        for second in 0..200 {
            let before = *tries.lock().unwrap();
            jobs.found("nvidia", vec![failing(&tries)], now);
            reap_until_ended(&mut jobs, now);
            if *tries.lock().unwrap() > before {
                tried_at.push(second);
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(tried_at, [0, 5, 15, 35, 75, 135, 195]);
    }

    #[test]
    fn nobody_can_start_more_than_a_bounded_number_of_jobs() {
        let (mut jobs, tries) = (jobs(), Arc::new(Mutex::new(0)));
        let found = (0..1000)
            .map(|n| Job {
                name: n.to_string(),
                ..failing(&tries)
            })
            .collect();
        jobs.found("sglang", found, Instant::now());
        assert_eq!(jobs.slots.len(), MAX_JOBS_PER_MODULE);
    }

    #[test]
    fn a_job_nobody_finds_any_more_is_forgotten() {
        let (mut jobs, tries, now) = (jobs(), Arc::new(Mutex::new(0)), Instant::now());
        jobs.found("nvidia", vec![failing(&tries)], now);
        reap_until_ended(&mut jobs, now);
        jobs.reap(now + FORGET_AFTER);
        assert!(jobs.slots.is_empty());
    }
}
