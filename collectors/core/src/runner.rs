//! One job on one thread: ticks on the wall clock's grid, counts failures, tells the supervisor how it
//! fares. A panic ends this job only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, anyhow};

use crate::clock;
use crate::frame::Frame;
use crate::module::{Job, Tick};
use crate::output::Output;
use crate::writer::Writer;

/// Ticks with an error in a row after which a job ends; discovery may find it again.
pub const FAILURES_TO_END: u32 = 10;
/// Our own frames are small, but drivers' libraries are not known to be; untouched pages cost nothing.
const STACK_BYTES: usize = 1024 * 1024;

/// How a job fares, as the supervisor sees it.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When the tick that is under way began.
    pub busy_since: Option<Instant>,
    /// Whether the last tick succeeded; `None` before the first.
    pub ok: Option<bool>,
    /// Whether any tick of this run succeeded.
    pub worked: bool,
    /// How long the last tick took.
    pub duration: Option<Duration>,
    /// Charts and dimensions defined.
    pub defined: (usize, usize),
    /// The interval in use, in seconds.
    pub update_every: u32,
    /// Set when the thread has ended, with the reason.
    pub ended: Option<String>,
}

/// A running job.
pub struct Running {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    status: Mutex<Status>,
    stop: Mutex<bool>,
    stopped: Condvar,
}

/// What a job's thread needs besides the job.
#[derive(Clone)]
pub struct Setup {
    /// As in the CHART line.
    pub plugin: &'static str,
    /// Name of the module.
    pub module: String,
    /// Whether the agent draws heatmaps.
    pub heatmaps: bool,
    /// Whether the agent knows virtual nodes.
    pub hosts: bool,
    /// Where the text goes.
    pub output: Output,
    /// Ticks after which the job ends by itself; for `--once`.
    pub ticks: Option<u64>,
}

impl Running {
    /// Starts `job` on a thread of its own.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(setup: Setup, mut job: Job) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        shared.status().update_every = job.update_every;
        let name = format!("{}[{}]", setup.module, job.name);
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            // The kernel keeps 15 bytes of a thread's name.
            .name(setup.module.chars().take(15).collect())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                crate::log::set_scope(&setup.module, &job.name);
                if !setup.hosts && job.settings.host.take().is_some() {
                    log::warn!(
                        "virtual nodes need Netdata 1.39 or newer: its charts are among this machine's own"
                    );
                }
                let mut writer =
                    Writer::new(setup.plugin, &setup.module, &job.name, setup.heatmaps)
                        .with(std::mem::take(&mut job.settings));
                let outcome =
                    catch_unwind(AssertUnwindSafe(|| run(&setup, job, &theirs, &mut writer)));
                setup
                    .output
                    .write(writer.obsolete_all_unless(setup.ticks.is_some()));
                let reason = match outcome {
                    Ok(Ok(())) => String::new(),
                    Ok(Err(error)) => format!("{error:#}"),
                    Err(_) => "it panicked: see the log above".to_owned(),
                };
                let mut status = theirs.status();
                status.busy_since = None;
                status.ended = Some(reason);
            })
            .with_context(|| format!("cannot start a thread for {name}"))?;
        Ok(Self { shared })
    }

    /// How it fares now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// Asks it to end; it does before its next tick.
    pub fn stop(&self) {
        *self
            .shared
            .stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.stopped.notify_all();
    }
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        // Plain values: a panic between two assignments leaves nothing broken.
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; says whether the job shall stop.
    fn wait(&self, time: Duration) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stopped.wait_timeout_while(stop, time, |stop| !*stop);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Runs until stopped (`Ok`), or until the job cannot go on.
fn run(setup: &Setup, job: Job, shared: &Shared, writer: &mut Writer) -> anyhow::Result<()> {
    shared.status().busy_since = Some(Instant::now());
    let mut collector = (job.start)()?;
    log::info!("started, every {} s", job.update_every);
    let mut frame = Frame::default();
    let (mut failures, mut done) = (0, 0);
    let (mut update_every, began) = (job.update_every.max(1), Instant::now());
    let mut first_error = None;
    loop {
        let every = Duration::from_secs(update_every.into());
        let now = Instant::now();
        shared.status().busy_since = Some(now);
        frame.clear();
        let count = now.duration_since(began).as_secs() / u64::from(update_every);
        let outcome = collector.collect(Tick { now, every, count }, &mut frame);
        setup.output.write(writer.write(&frame, update_every, now));
        failures = judge(outcome, failures, &mut first_error)?;
        update_every = collector
            .stretched_to()
            .unwrap_or(job.update_every)
            .max(job.update_every);
        {
            let mut status = shared.status();
            status.busy_since = None;
            status.ok = Some(failures == 0);
            status.worked |= failures == 0;
            status.duration = Some(now.elapsed());
            status.defined = writer.defined();
            status.update_every = update_every;
        }
        done += 1;
        if setup.ticks == Some(done) {
            return Ok(());
        }
        let every = Duration::from_secs(update_every.into());
        if shared.wait(pause(SystemTime::now(), every, now.elapsed())) {
            return Ok(());
        }
    }
}

/// The time to the next tick on the grid. A job starts off the grid: a tick that would follow its first one
/// within a quarter of the interval is skipped, because a rate over so short a time is mostly noise.
fn pause(now: SystemTime, every: Duration, since_tick: Duration) -> Duration {
    let next = clock::until_next_tick(now, every);
    if since_tick + next < every / 4 {
        next + every
    } else {
        next
    }
}

/// Counts failures in a row, logs the first and the recovery, and ends the job at the last.
fn judge(
    outcome: anyhow::Result<()>,
    failures: u32,
    first_error: &mut Option<String>,
) -> anyhow::Result<u32> {
    match outcome {
        Ok(()) => {
            if first_error.take().is_some() {
                log::info!("works again after {failures} failed ticks");
            }
            Ok(0)
        }
        Err(error) if failures + 1 >= FAILURES_TO_END => Err(anyhow!(
            "{FAILURES_TO_END} ticks failed in a row, the last with: {error:#}"
        )),
        Err(error) => {
            if first_error.is_none() {
                log::warn!("{error:#}");
                *first_error = Some(error.to_string());
            }
            Ok(failures + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_second_tick_is_never_right_after_the_first() {
        let (every, at) = (Duration::from_secs(5), |ms| {
            UNIX_EPOCH + Duration::from_millis(ms)
        });
        let quick = Duration::from_millis(10);
        assert_eq!(pause(at(14_500), every, quick), Duration::from_millis(5500));
        assert_eq!(pause(at(12_000), every, quick), Duration::from_secs(3));
        // A tick that took long was not right now: the grid holds.
        assert_eq!(pause(at(14_500), every, every), Duration::from_millis(500));
    }

    #[test]
    fn a_failure_is_told_once_and_ten_in_a_row_end_the_job() {
        let (mut told, mut failures) = (None, 0);
        for _ in 0..FAILURES_TO_END - 1 {
            failures = judge(Err(anyhow!("no answer")), failures, &mut told).unwrap();
        }
        assert_eq!(
            (failures, told.as_deref()),
            (FAILURES_TO_END - 1, Some("no answer"))
        );
        assert!(judge(Err(anyhow!("no answer")), failures, &mut told).is_err());
        assert_eq!(judge(Ok(()), failures, &mut told).unwrap(), 0);
        assert_eq!(told, None);
    }
}
