//! Watches the reading of the GPUs. While calls of one GPU hang in the driver, a child process reads the others;
//! when they return, it ends. Nothing here waits for the driver longer than a tick lasts.

use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use netdata_plugin::module::Tick;

use super::helper;
use super::read::{Events, Place, READING_PROC, Trouble};
use super::reading::Settings;
use super::snapshot::{Gpu, Identity, Snapshot, State};
use super::worker::{Reply, Worker};
use crate::host_probe::HostProbe;

/// A call that takes longer hangs.
const HANGS_AFTER: Duration = Duration::from_secs(5);

/// A child's start may take longer: the driver wakes up GPUs that nobody used.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// Ticks without a reading after which the GPUs are called stale.
const STALE_AFTER: u32 = 3;

/// Children that hang in the kernel, so that nothing ends them, before no more are started.
const MOST_ABANDONED: usize = 3;

/// Pause between two starts of a child.
const START_EVERY: Duration = Duration::from_secs(5);

/// How often a wait looks whether a call hangs.
const LOOK: Duration = Duration::from_millis(100);

/// Longest interval to which readings that take long are stretched, seconds.
const LONGEST_STRETCH: u32 = 60;

/// The reading, and whoever does it at the moment.
pub struct Watch {
    settings: Settings,
    program: PathBuf,
    /// On a thread of our own.
    own: Worker,
    /// None before NVML is open.
    events: Arc<Events>,
    /// In a child, while a call of our own hangs.
    child: Option<Worker>,
    next_start: Option<Instant>,
    /// The hang that the log told last.
    told: Option<Place>,
    abandoned: Vec<Child>,
    /// The latest reading; after `STALE_AFTER` ticks without one, the GPUs without their readings.
    latest: Snapshot,
    missed: u32,
    took: Duration,
}

impl Watch {
    /// Opens NVML in this process, and waits for that until it hangs: then the child is tried. `program` is run
    /// as the child if need be.
    ///
    /// # Errors
    /// As [`super::read::Reader::open`].
    pub fn open(
        settings: Settings,
        probe: Arc<HostProbe>,
        program: PathBuf,
    ) -> anyhow::Result<Self> {
        let mut watch = Self {
            own: Worker::thread(settings.clone(), probe)?,
            settings,
            program,
            events: Arc::new(Events::none()),
            child: None,
            next_start: None,
            told: None,
            abandoned: vec![],
            latest: Snapshot::default(),
            missed: 0,
            took: Duration::ZERO,
        };
        while watch.next_start.is_none() {
            match watch.own.replies.recv_timeout(LOOK) {
                Ok(Reply::Opened { events, found }) => {
                    watch.opened(events, found);
                    break;
                }
                Ok(Reply::CannotOpen(error)) => return Err(error),
                Ok(Reply::Read(..) | Reply::Failed(_)) => {}
                Err(RecvTimeoutError::Timeout) => watch.look_for_a_hang(),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("the thread that opens NVML has ended")
                }
            }
        }
        Ok(watch)
    }

    fn opened(&mut self, events: Arc<Events>, found: Snapshot) {
        self.own.busy = false;
        self.events = events;
        self.latest = found;
    }

    /// A reading of this tick; `None` if there is none, and the GPUs without readings if there was none for
    /// several ticks.
    ///
    /// # Errors
    /// When the driver as a whole is in trouble.
    pub fn tick(&mut self, tick: Tick) -> Result<Option<&Snapshot>, Trouble> {
        self.return_to_our_own()?;
        self.abandoned
            .retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let until = tick.now + tick.every * 4 / 5;
        loop {
            self.start_child_if_due();
            let Some(worker) = self.worker() else {
                std::thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
                if Instant::now() >= until {
                    return Ok(self.missed());
                }
                continue;
            };
            let reply = if worker.request(tick.now) {
                let left = until.saturating_duration_since(Instant::now());
                worker.replies.recv_timeout(left.min(LOOK))
            } else {
                Err(RecvTimeoutError::Disconnected)
            };
            match reply {
                Ok(Reply::Read(snapshot, took)) => {
                    worker.busy = false;
                    // A decaying maximum: an interval that goes back and forth redefines every chart each time.
                    self.took = took.max(self.took.mul_f64(0.95));
                    self.missed = 0;
                    self.latest = *snapshot;
                    if self.child.is_some() {
                        self.add_xids();
                    }
                    return Ok(Some(&self.latest));
                }
                Ok(Reply::Failed(trouble)) => {
                    worker.busy = false;
                    return Err(trouble);
                }
                // Told once and heard by whoever waited for it.
                Ok(Reply::Opened { .. } | Reply::CannotOpen(_)) => worker.busy = false,
                Err(RecvTimeoutError::Timeout) => {
                    self.look_for_a_hang();
                    if Instant::now() >= until {
                        return Ok(self.missed());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => match self.child.take() {
                    Some(child) => {
                        log::warn!("the process that reads the GPUs ended: it is started again");
                        self.end(child);
                    }
                    None => return Err(Trouble::other("the thread that reads NVML has ended")),
                },
            }
        }
    }

    /// A longer interval in seconds, where a reading takes more than half of one.
    pub fn stretched_to(&self) -> Option<u32> {
        let seconds = (self.took.as_secs_f64() * 2.0).ceil() as u32;
        (seconds > 1).then_some(seconds.min(LONGEST_STRETCH))
    }

    /// Who reads now: nobody while a call of our own hangs and no child runs.
    fn worker(&mut self) -> Option<&mut Worker> {
        match (&mut self.child, self.next_start) {
            (Some(child), _) => Some(child),
            (None, None) => Some(&mut self.own),
            (None, Some(_)) => None,
        }
    }

    /// The call that hung has returned: our own thread reads on, and the child ends.
    fn return_to_our_own(&mut self) -> Result<(), Trouble> {
        if self.next_start.is_none() {
            return Ok(());
        }
        let mut outcome = Ok(());
        match self.own.replies.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Ok(Reply::Opened { events, found }) => self.opened(events, found),
            Ok(Reply::CannotOpen(error)) => outcome = Err(Trouble::other(&format!("{error:#}"))),
            _ => self.own.busy = false,
        }
        self.next_start = None;
        self.told = None;
        self.settings.skip.clear();
        self.settings.look_up = true;
        if let Some(child) = self.child.take() {
            self.end(child);
        }
        log::info!("the call that hung has returned: every GPU is read again");
        outcome
    }

    fn look_for_a_hang(&mut self) {
        let Some(worker) = self.worker() else { return };
        let Some((place, since)) = worker.progress.now() else {
            return;
        };
        // A child's first call is the initialisation: it, too, waits for GPUs that wake up.
        let limit = if place.call == helper::STARTING || place.call == helper::INITIALISING {
            STARTS_WITHIN
        } else {
            HANGS_AFTER
        };
        if since < limit {
            return;
        }
        // A GPU whose first call hangs has not said which it is.
        let hanging = place.gpu.map(|index| {
            let mut gpus = self.latest.gpus.iter();
            let known = gpus.find(|gpu| gpu.id.index == index);
            known.map_or_else(|| Identity::unknown(index), |gpu| gpu.id.clone())
        });
        if self.told.as_ref() != Some(&place) {
            say_hangs(hanging.as_ref(), &place.call, limit);
        }
        self.settings.look_up &= place.call != READING_PROC;
        self.told = Some(place);
        self.settings.skip.extend(hanging);
        if let Some(child) = self.child.take() {
            self.end(child);
        }
        // At once for the first, and for another GPU; START_EVERY keeps the rest apart.
        self.next_start.get_or_insert_with(Instant::now);
    }

    fn start_child_if_due(&mut self) {
        let Some(due) = self.next_start else { return };
        if self.child.is_some() || Instant::now() < due || self.abandoned.len() >= MOST_ABANDONED {
            return;
        }
        self.next_start = Some(Instant::now() + START_EVERY);
        let settings = Settings {
            events: false,
            ..self.settings.clone()
        };
        match Worker::child(&self.program, &settings) {
            Ok(child) => self.child = Some(child),
            Err(error) => log::warn!("{error:#}"),
        }
    }

    fn end(&mut self, child: Worker) {
        if let Some(hanging) = child.end() {
            self.abandoned.push(hanging);
            if self.abandoned.len() == MOST_ABANDONED {
                log::error!(
                    "{MOST_ABANDONED} processes hang in the NVIDIA driver: the GPUs are not read \
                     until one returns. Look for `NVRM` in the host's kernel log"
                );
            }
        }
    }

    /// A tick without a reading.
    fn missed(&mut self) -> Option<&Snapshot> {
        self.missed += 1;
        if self.missed < STALE_AFTER {
            return None;
        }
        for gpu in &mut self.latest.gpus {
            *gpu = Gpu {
                id: std::mem::take(&mut gpu.id),
                state: State::Stale,
                ..Gpu::default()
            };
        }
        self.add_xids();
        Some(&self.latest)
    }

    /// XID errors reach us while a reading hangs, or a child reads.
    fn add_xids(&mut self) {
        let xids = self.events.take();
        for gpu in &mut self.latest.gpus {
            gpu.xids = xids.of(&gpu.id.uuid);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            child.end();
        }
    }
}

fn say_hangs(gpu: Option<&Identity>, call: &str, limit: Duration) {
    let seconds = limit.as_secs();
    match gpu {
        Some(id) => log::error!(
            "GPU {} ({}): {call} has not answered for {seconds} s: the other GPUs are read in a \
             process of their own until it does. Look for `NVRM` in the host's kernel log",
            id.index,
            id.uuid
        ),
        None if call == READING_PROC => log::warn!(
            "{call} takes longer than {seconds} s: the GPUs are read in a process of their own, \
             without names of processes, until it is done"
        ),
        None => log::error!(
            "{call} has not answered for {seconds} s: trying in a process of its own. Look for \
             `NVRM` in the host's kernel log"
        ),
    }
}

/// This very program, even if its file was replaced meanwhile.
#[cfg(not(test))]
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The plugin itself: a test's own program knows no helper. Cargo puts it above that.
#[cfg(test)]
pub fn this_program() -> PathBuf {
    let tests = std::env::current_exe().expect("a test knows its program");
    tests.with_file_name("../rs-d-plugin")
}

/// Ends the plugin in order, so that the agent starts it anew: the library of the driver that was replaced
/// stays mapped in this process.
pub fn end_the_plugin() -> anyhow::Result<()> {
    nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGTERM)
        .map_err(|error| anyhow!("cannot end the plugin: {error}"))
}
