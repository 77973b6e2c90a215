//! What the host probe reads of servers' processes: open files, disk I/O, PSS, sockets. Asked for on a thread
//! of its own: however long the probe takes, no tick waits for it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::host_probe::{HostProbe, ProcessId};
use crate::rate::Rate;

/// Pause between two rounds: a probe reads a directory of files for each process.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// Pause between two questions for a process's PSS; the probe itself stretches it where reading takes long.
const PSS_EVERY: Duration = Duration::from_secs(30);
/// Age from which a reading is none any more.
const HOLDS: Duration = Duration::from_secs(15);
/// No deep calls.
const STACK_BYTES: usize = 128 << 10;

/// What was read of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Open files.
    pub open_files: Option<u64>,
    /// Bytes read from disks a second.
    pub read_rate: Option<f64>,
    /// Bytes written to disks a second.
    pub write_rate: Option<f64>,
    /// Proportional set size, in bytes.
    pub pss_bytes: Option<u64>,
}

/// A round's readings, and when they were taken.
type Round = (Instant, BTreeMap<ProcessId, Reading>);

/// The processes to ask about, and those among them whose sockets are wanted.
struct Wanted {
    processes: Vec<ProcessId>,
    mains: Vec<ProcessId>,
}

/// Asks in the background. Ends with its owner.
#[derive(Debug)]
pub struct Outside {
    wanted: SyncSender<Wanted>,
    asked_at: Option<Instant>,
    shared: Arc<Shared>,
}

/// What both threads see.
#[derive(Debug, Default)]
struct Shared {
    round: Mutex<Option<Round>>,
    /// Of main processes: an environment does not change.
    places: Mutex<BTreeMap<ProcessId, Place>>,
}

/// Which GPUs and which job a process was started with: `CUDA_VISIBLE_DEVICES` and `SLURM_JOB_ID`.
pub type Place = BTreeMap<String, String>;

impl Outside {
    /// Asks `probe`. Without a thread nothing is ever known.
    #[must_use]
    pub fn new(probe: Arc<HostProbe>) -> Self {
        // One round at a time: while one is under way no other is queued.
        let (wanted, orders) = sync_channel(0);
        let shared = Arc::<Shared>::default();
        let target = Arc::clone(&shared);
        let asker = thread::Builder::new()
            .name("host probe".to_owned())
            .stack_size(STACK_BYTES);
        if let Err(error) = asker.spawn(move || ask(&probe, &orders, &target)) {
            log::warn!("the host probe is not asked: {error}");
        }
        Self {
            wanted,
            asked_at: None,
            shared,
        }
    }

    /// Has the processes read, if that was long ago: `mains` also for their sockets.
    pub fn want(
        &mut self,
        processes: impl FnOnce() -> Vec<ProcessId>,
        mains: impl FnOnce() -> Vec<ProcessId>,
        now: Instant,
    ) {
        if self.asked_at.is_some_and(|at| now < at + ASK_EVERY) {
            return;
        }
        let wanted = Wanted {
            processes: processes(),
            mains: mains(),
        };
        // Full: the round before is still under way.
        if self.wanted.try_send(wanted).is_ok() {
            self.asked_at = Some(now);
        }
    }

    /// Where a server's main process was started, once that was told.
    #[must_use]
    pub fn place(&self, main: ProcessId) -> Option<Place> {
        lock(&self.shared.places).get(&main).cloned()
    }

    /// What was read last of each process; nothing that is too old.
    #[must_use]
    pub fn readings(&self, now: Instant) -> BTreeMap<ProcessId, Reading> {
        let round = lock(&self.shared.round);
        match &*round {
            Some((at, readings)) if now.saturating_duration_since(*at) <= HOLDS => readings.clone(),
            _ => BTreeMap::new(),
        }
    }
}

/// The past of one process.
#[derive(Debug, Default)]
struct Past {
    read: Rate,
    written: Rate,
    pss: Option<(Instant, Option<u64>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ask(probe: &HostProbe, orders: &Receiver<Wanted>, shared: &Shared) {
    let mut pasts: BTreeMap<ProcessId, Past> = BTreeMap::new();
    while let Ok(wanted) = orders.recv() {
        for id in &wanted.mains {
            // For its sockets a later scan looks up what was told.
            probe.listening(*id, Instant::now());
            if !lock(&shared.places).contains_key(id)
                && let Some(place) = probe.place(*id)
            {
                lock(&shared.places).insert(*id, place);
            }
        }
        lock(&shared.places).retain(|id, _| wanted.mains.contains(id));
        let usage = probe.usage(&wanted.processes);
        let now = Instant::now();
        let mut readings = BTreeMap::new();
        pasts.retain(|id, _| wanted.processes.contains(id));
        for id in wanted.processes {
            let Some(usage) = usage.get(&id.pid) else {
                // A gap: what comes next cannot be dated.
                pasts.remove(&id);
                continue;
            };
            let past = pasts.entry(id).or_default();
            // Exact up to 8 PiB.
            #[allow(clippy::cast_precision_loss)]
            let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
            // A probe that rests refuses: it is asked again in the next round.
            if past
                .pss
                .is_none_or(|(at, value)| value.is_none() || now >= at + PSS_EVERY)
            {
                past.pss = Some((now, probe.pss_bytes(id)));
            }
            let reading = Reading {
                open_files: usage.open_files,
                read_rate: past.read.per_second(bytes(usage.read_bytes), now),
                write_rate: past.written.per_second(bytes(usage.write_bytes), now),
                pss_bytes: past.pss.and_then(|(_, bytes)| bytes),
            };
            readings.insert(id, reading);
        }
        *lock(&shared.round) = Some((now, readings));
    }
}
