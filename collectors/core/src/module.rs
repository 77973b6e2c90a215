//! What a module is to the supervisor: something that finds jobs, and jobs that collect.

use std::time::{Duration, Instant};

use crate::frame::Frame;

/// One tick of a job.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    /// When it began.
    pub now: Instant,
    /// The job's interval at this tick.
    pub every: Duration,
    /// Ticks before this one, skipped ones included.
    pub count: u64,
}

/// A running job. Lives on one thread; a panic ends this job only.
pub trait Collector: Send {
    /// Reads once and records what it found. What was recorded is sent even if an error is returned;
    /// ten ticks with an error in a row end the job and obsolete its charts. An expected absence
    /// (a feature this device lacks) is no error: record a gap or nothing.
    ///
    /// # Errors
    /// Names the object: `scraping http://127.0.0.1:30000/metrics: timed out after 700 ms`.
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()>;

    /// A longer interval in whole seconds than the one configured, if the job wants one now (a scrape that
    /// costs its server too much). Asked after each tick.
    fn stretched_to(&self) -> Option<u32> {
        None
    }
}

/// A job that could run: discovery says so again on every pass for as long as it can.
pub struct Job {
    /// Unique within its module; the label `_collect_job`.
    pub name: String,
    /// Interval in seconds, at least 1.
    pub update_every: u32,
    /// Builds the collector, on the job's own thread. Its error counts as a failed tick and is logged
    /// once, until it changes; the supervisor tries again with growing pauses.
    #[allow(clippy::type_complexity)]
    pub start: Box<dyn FnOnce() -> anyhow::Result<Box<dyn Collector>> + Send>,
}

/// Finds the jobs of one module. Runs on the discovery thread, every few seconds.
pub trait Discover: Send {
    /// Every job that could run now, the running ones included.
    ///
    /// # Errors
    /// What kept it from looking; the jobs that run are left alone.
    fn discover(&mut self) -> anyhow::Result<Vec<Job>>;
}
