//! What a module is to the supervisor: something that finds jobs, and jobs that collect.

use std::sync::Arc;
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
    /// What the operator wants of it; [`Settings::default`] where nobody said anything.
    pub settings: Settings,
    /// Builds the collector, on the job's own thread. Its error counts as a failed tick and is logged
    /// once, until it changes; the supervisor tries again with growing pauses.
    #[allow(clippy::type_complexity)]
    pub start: Box<dyn FnOnce() -> anyhow::Result<Box<dyn Collector>> + Send>,
}

/// What an operator may want of any job, whatever it collects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Labels of every chart, besides those that are detected.
    pub labels: Vec<(String, String)>,
    /// Added to the priority of every chart.
    pub priority_shift: i64,
    /// Longest pause before a job that failed is tried again; zero: it is not; `None`: a minute.
    pub longest_pause: Option<Duration>,
    /// Whose charts they are; `None`: the agent's own.
    pub host: Option<Arc<Host>>,
    /// Listed by name in the configuration, rather than found.
    pub listed: bool,
    /// Differs when anything differs that was configured: a job found with another revision than the one
    /// that runs takes its place.
    pub revision: u64,
}

/// A virtual node: a host of its own in the dashboard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// How configurations refer to it.
    pub name: String,
    /// Shown.
    pub hostname: String,
    /// A UUID in lower case, its identity for ever.
    pub guid: String,
    /// Labels of the host.
    pub labels: Vec<(String, String)>,
}

/// Finds the jobs of one module. Runs on the discovery thread, every few seconds.
pub trait Discover: Send {
    /// Every job that could run now, the running ones included.
    ///
    /// # Errors
    /// What kept it from looking; the jobs that run are left alone.
    fn discover(&mut self) -> anyhow::Result<Vec<Job>>;

    /// Whether the configuration has changed since this was asked last. If so, jobs that the pass just
    /// before did not find end at once; otherwise they end when they fail. Asked after each pass.
    fn reconfigured(&mut self) -> bool {
        false
    }
}
