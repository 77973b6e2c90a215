//! Starts what discovery finds, watches what runs, and says on every second how it all fares. One life
//! cycle covers start, auto-detection and recovery: a job that is found and does not run is started, with
//! growing pauses after failures.

use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;

use crate::clock;
use crate::env::{Agent, Version};
use crate::frame::Frame;
use crate::functions::desk::Desk;
use crate::functions::{self, Function};
use crate::module::{Discover, Job};
use crate::output::Output;
use crate::runner::{Setup, Status};
use crate::self_charts;
use crate::stdin::Messages;
use crate::writer::Writer;

mod jobs;
use jobs::Jobs;

/// Pause between two passes of discovery: a new server is charted within 10 s of its start.
pub const DISCOVERY_EVERY: Duration = Duration::from_secs(4);
/// Longest time that `--once` waits for its jobs.
const ONCE_AT_MOST: Duration = Duration::from_secs(60);
/// Ticks of each job under `--once`: rates need two.
const ONCE_TICKS: u64 = 2;
/// Silence of discovery after which the log says so.
const DISCOVERY_LATE_AFTER: Duration = Duration::from_secs(60);
/// The supervisor's own interval, in seconds.
const SELF_EVERY: u32 = 1;

/// A module that is switched on.
pub struct OpenModule {
    /// Its name.
    pub name: &'static str,
    /// Finds its jobs.
    pub discover: Box<dyn Discover>,
    /// The error told last.
    told: Option<String>,
}

impl OpenModule {
    /// A module that `discover` finds jobs for.
    #[must_use]
    pub fn new(name: &'static str, discover: Box<dyn Discover>) -> Self {
        Self {
            name,
            discover,
            told: None,
        }
    }
}

/// How to run.
pub struct Options {
    /// As in the CHART line and the log: `rs.d`.
    pub plugin: &'static str,
    /// Who runs us.
    pub agent: Agent,
    /// Where the text goes.
    pub output: Output,
    /// Where the agent speaks; its end ends the plugin. `None` where no agent runs us.
    pub input: Option<Box<dyn Read + Send>>,
    /// What the agent may call, where it is new enough.
    pub functions: Vec<Function>,
    /// One complete reading of what there is, then the end.
    pub once: bool,
}

/// What reaches the main thread.
enum Event {
    /// A module, its jobs, and whether they are all that may run from now on.
    Found(&'static str, Vec<Job>, bool),
    Quit(&'static str),
}

/// Runs `modules` until the agent or a signal ends it, or once.
///
/// # Errors
/// When the system refuses the threads that it cannot do without.
pub fn run(options: Options, modules: Vec<OpenModule>) -> anyhow::Result<()> {
    let setup = Setup {
        plugin: options.plugin,
        module: String::new(),
        heatmaps: options.agent.knows(Version::HEATMAP),
        hosts: options.agent.knows(Version::HOST_DEFINE),
        output: options.output.clone(),
        ticks: options.once.then_some(ONCE_TICKS),
    };
    let mut jobs = Jobs::new(setup);
    if options.once {
        return run_once(&mut jobs, modules);
    }
    let (events, inbox) = channel();
    // Signals are blocked before the first thread exists, so that only their own thread takes them.
    watch_signals(events.clone())?;
    if let Some(input) = options.input {
        let known = options.agent.knows(Version::FUNCTIONS);
        let functions = if known { options.functions } else { vec![] };
        options
            .output
            .write(functions::offer(&functions).as_bytes());
        let desk = Desk::new(functions, options.output.clone());
        listen(input, desk, events.clone())?;
    }
    let passes = start_discovery(events, modules)?;
    let mut own = SelfCharts::new(options.plugin, &options.agent);
    let mut heard = Heard {
        last: Instant::now(),
        told: false,
    };
    loop {
        own.tick(&mut jobs, &options.output);
        match next_event(&inbox) {
            Some(Event::Quit(why)) => {
                log::info!("{why}: ending");
                jobs.stop();
                return Ok(());
            }
            Some(Event::Found(module, found, only)) => {
                heard.now();
                if only {
                    jobs.keep_only(module, &found);
                }
                jobs.found(module, found, Instant::now());
            }
            None => heard.check(),
        }
        // Discovery waits for this, so that a slow supervisor is not buried in events.
        let _ = passes.try_send(());
    }
}

/// Discovers once, runs each job for two ticks, and returns when all have ended.
fn run_once(jobs: &mut Jobs, modules: Vec<OpenModule>) -> anyhow::Result<()> {
    for mut module in modules {
        match module.discover.discover() {
            Ok(found) if found.is_empty() => log::info!("{}: found nothing to chart", module.name),
            Ok(found) => jobs.found(module.name, found, Instant::now()),
            Err(error) => log::error!("{}: {error:#}", module.name),
        }
    }
    let began = Instant::now();
    while began.elapsed() < ONCE_AT_MOST {
        jobs.reap(Instant::now());
        if jobs.running() == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    anyhow::bail!(
        "some jobs had not finished after {} s",
        ONCE_AT_MOST.as_secs()
    )
}

/// Waits for an event until the next tick; `None` when it is time for that tick.
fn next_event(inbox: &Receiver<Event>) -> Option<Event> {
    let every = Duration::from_secs(SELF_EVERY.into());
    match inbox.recv_timeout(clock::until_next_tick(SystemTime::now(), every)) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(Event::Quit("every thread has ended")),
    }
}

fn start_discovery(
    events: Sender<Event>,
    mut modules: Vec<OpenModule>,
) -> anyhow::Result<SyncSender<()>> {
    let (passes, allowed) = sync_channel(1);
    thread::Builder::new()
        .name("discovery".to_owned())
        .spawn(move || {
            while !modules.is_empty() {
                modules.retain_mut(|module| discover(module, &events));
                thread::sleep(DISCOVERY_EVERY);
                if allowed.recv().is_err() {
                    return;
                }
            }
        })
        .context("cannot start the discovery thread")?;
    Ok(passes)
}

/// One pass over one module; false if it has to be given up.
fn discover(module: &mut OpenModule, events: &Sender<Event>) -> bool {
    crate::log::set_scope(module.name, "discovery");
    match catch_unwind(AssertUnwindSafe(|| module.discover.discover())) {
        Ok(Ok(found)) => {
            module.told = None;
            let only = module.discover.reconfigured();
            events.send(Event::Found(module.name, found, only)).is_ok()
        }
        Ok(Err(error)) => {
            let error = format!("{error:#}");
            if module.told.as_ref() != Some(&error) {
                log::error!("{error}");
                module.told = Some(error);
            }
            true
        }
        Err(_) => {
            log::error!("discovery panicked: this module finds nothing new until a restart");
            false
        }
    }
}

/// Hands what the agent says to `desk`, until it falls silent for good.
fn listen(input: Box<dyn Read + Send>, desk: Desk, events: Sender<Event>) -> anyhow::Result<()> {
    thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(move || {
            for message in Messages::new(BufReader::new(input)) {
                desk.take(message, Instant::now());
            }
            let _ = events.send(Event::Quit("the agent closed our input"));
        })
        .context("cannot start the thread that listens to the agent")?;
    Ok(())
}

/// Ends the plugin in order on TERM, INT and HUP: death by a signal makes Netdata disable a plugin.
fn watch_signals(events: Sender<Event>) -> anyhow::Result<()> {
    use nix::sys::signal::{SigSet, Signal};
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot block signals")?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if signals.wait().is_ok() {
                let _ = events.send(Event::Quit("a signal asked for the end"));
            }
        })
        .context("cannot start the thread that waits for signals")?;
    Ok(())
}

/// When discovery was last heard of.
struct Heard {
    last: Instant,
    told: bool,
}

impl Heard {
    fn now(&mut self) {
        *self = Self {
            last: Instant::now(),
            told: false,
        };
    }

    fn check(&mut self) {
        if !self.told && self.last.elapsed() > DISCOVERY_LATE_AFTER {
            self.told = true;
            log::warn!(
                "discovery has been silent for {} s",
                DISCOVERY_LATE_AFTER.as_secs()
            );
        }
    }
}

/// The plugin's charts about itself.
struct SelfCharts {
    writer: Writer,
    frame: Frame,
    instance: std::sync::Arc<crate::chart::Instance>,
    next: Instant,
}

impl SelfCharts {
    fn new(plugin: &'static str, agent: &Agent) -> Self {
        Self {
            writer: Writer::new(plugin, "rs.d", "self", agent.knows(Version::HEATMAP)),
            frame: Frame::default(),
            instance: self_charts::plugin_instance(),
            next: Instant::now(),
        }
    }

    /// Writes them if a second has passed; events come in between.
    fn tick(&mut self, jobs: &mut Jobs, output: &Output) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        // Half a second of slack: the next tick on the grid may come a little early.
        self.next = now + Duration::from_millis(500);
        self.frame.clear();
        self_charts::record_plugin(&mut self.frame, &self.instance);
        jobs.reap(now);
        jobs.each(|instance, status: &Status, stuck, worked| {
            self_charts::record_job(&mut self.frame, instance, status, stuck, worked);
        });
        output.write(self.writer.write(&self.frame, SELF_EVERY, now));
    }
}
