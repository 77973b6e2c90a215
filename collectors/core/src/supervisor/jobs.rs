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
    /// `None`: not again as it is configured now.
    next_try: Option<Instant>,
    last_error: String,
    stuck: bool,
    /// Whether a tick of it ever succeeded.
    worked: bool,
    /// What was configured for the one that runs or waits.
    revision: u64,
    longest_pause: Duration,
    /// The running one was asked to end.
    ending: bool,
    /// Takes the place of the one that ends.
    successor: Option<Job>,
    /// It ended because nobody wants it any more.
    unwanted: bool,
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
            let setup = Setup {
                module: module.to_owned(),
                ..self.setup.clone()
            };
            slot.found(setup, job, now);
        }
    }

    /// Ends the jobs of `module` that are not in `found`: the configuration does not want them any more.
    pub(super) fn keep_only(&mut self, module: &'static str, found: &[Job]) {
        self.slots.retain(|(of, name), slot| {
            if *of != module || found.iter().any(|job| job.name == *name) {
                return true;
            }
            slot.end();
            slot.running.is_some()
        });
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
                if std::mem::take(&mut slot.ending) {
                    slot.status = Status::default();
                    if let Some(job) = slot.successor.take() {
                        let setup = Setup {
                            module: (*module).to_owned(),
                            ..self.setup.clone()
                        };
                        slot.begin(setup, job, now);
                    } else {
                        log::info!("ended: the configuration does not want it any more");
                        slot.unwanted = true;
                    }
                    continue;
                }
                // Only a run that worked begins the pauses anew: one that never answers is asked ever less.
                if slot.status.worked {
                    slot.failures = 0;
                }
                slot.status.ok = Some(false);
                // Its charts are gone, and no tick takes any time.
                slot.status.duration = None;
                slot.status.defined = (0, 0);
                slot.failed(&reason, now);
            }
        }
        crate::log::clear_scope();
        self.slots.retain(|_, slot| {
            let recent = now.duration_since(slot.found_at) < FORGET_AFTER;
            slot.running.is_some() || recent && !slot.unwanted
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
            next_try: Some(now),
            last_error: String::new(),
            stuck: false,
            worked: false,
            revision: 0,
            longest_pause: LONGEST_PAUSE,
            ending: false,
            successor: None,
            unwanted: false,
        }
    }

    /// Starts `job` if it is time to, or lets it take the place of the one that runs as something else was
    /// configured.
    fn found(&mut self, setup: Setup, job: Job, now: Instant) {
        let changed = self.revision != job.settings.revision;
        if self.running.is_some() {
            if changed || self.ending {
                self.end();
                self.successor = Some(job);
            }
            return;
        }
        if changed {
            self.failures = 0;
            self.next_try = Some(now);
            self.last_error.clear();
        }
        if self.next_try.is_some_and(|at| now >= at) {
            self.begin(setup, job, now);
        }
    }

    fn begin(&mut self, setup: Setup, job: Job, now: Instant) {
        self.revision = job.settings.revision;
        self.longest_pause = job.settings.longest_pause.unwrap_or(LONGEST_PAUSE);
        self.status = Status::default();
        match Running::start(setup, job) {
            Ok(running) => self.running = Some(running),
            Err(error) => self.failed(&format!("{error:#}"), now),
        }
    }

    /// Asks the running one to end, without a successor so far.
    fn end(&mut self) {
        self.successor = None;
        if let Some(running) = &self.running {
            running.stop();
            self.ending = true;
        }
    }

    /// Sets the next try, and logs the reason unless it is the one logged last.
    fn failed(&mut self, reason: &str, now: Instant) {
        self.failures += 1;
        let pause = FIRST_PAUSE
            .saturating_mul(1 << (self.failures - 1).min(10))
            .min(self.longest_pause);
        self.next_try = (!pause.is_zero()).then(|| now + pause);
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
mod tests;
