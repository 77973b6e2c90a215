//! XID errors, as they happen: a thread of its own waits for the driver's events, writes each to the log at
//! once, and keeps it for the next tick.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::event::EventData;
use nvml_wrapper::{EventSet, Nvml};

use super::devices::Handle;
use crate::nvidia::xid::{Meaning, meaning};

/// One wait; then the thread looks whether it should end or watch other GPUs.
const WAIT: Duration = Duration::from_millis(1000);

/// Pause after a wait that failed, so that a broken driver does not make the thread spin.
const PAUSE: Duration = Duration::from_secs(1);

/// Events kept between two ticks: a storm is one.
const MOST_KEPT: usize = 1024;

/// The same error of the same GPU is logged again after this long, with how often it happened meanwhile.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Different errors whose last time in the log is remembered.
const MOST_SAID: usize = 256;

/// `NVML_XID` of an error without a number.
const NO_NUMBER: u64 = 999;

/// The thread, as the reader sees it. Dropping it ends the thread at its next look.
pub struct Events {
    shared: Arc<Shared>,
}

struct Shared {
    end: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whom to watch: handles with UUIDs.
    gpus: Vec<(Handle, Arc<str>)>,
    /// The set has changed since the thread looked.
    changed: bool,
    /// GPUs whose events the driver tells.
    watched: Arc<[Arc<str>]>,
    /// What happened since the last tick.
    happened: Vec<(Arc<str>, u64)>,
}

impl Events {
    /// Starts the thread; it watches nothing yet.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(nvml: Arc<Nvml>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            end: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("nvml-events".to_owned())
            .spawn(move || {
                netdata_plugin::log::set_scope("nvidia", "events");
                theirs.run(&nvml);
            })?;
        Ok(Self { shared })
    }

    /// No thread: nothing is ever told.
    pub fn none() -> Self {
        Self {
            shared: Arc::new(Shared {
                end: AtomicBool::new(true),
                state: Mutex::default(),
            }),
        }
    }

    /// Watches these GPUs from now on.
    pub fn watch(&self, gpus: Vec<(Handle, Arc<str>)>) {
        let mut state = self.shared.state();
        if state.gpus != gpus {
            state.gpus = gpus;
            state.changed = true;
        }
    }

    /// The errors of each GPU since the last call: `None` for one whose events are not told.
    pub fn take(&self) -> Taken {
        let mut state = self.shared.state();
        Taken {
            watched: Arc::clone(&state.watched),
            happened: std::mem::take(&mut state.happened),
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
    }
}

/// What happened between two ticks.
#[derive(Debug, Default)]
pub struct Taken {
    watched: Arc<[Arc<str>]>,
    happened: Vec<(Arc<str>, u64)>,
}

impl Taken {
    /// The errors of one GPU.
    pub fn of(&self, uuid: &str) -> Option<Vec<u64>> {
        let of = self.happened.iter().filter(|(whose, _)| **whose == *uuid);
        let xids: Vec<_> = of.map(|(_, xid)| *xid).collect();
        let watched = self.watched.iter().any(|watched| **watched == *uuid);
        (watched || !xids.is_empty()).then_some(xids)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain lists, each replaced or appended to as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.end.load(Ordering::Relaxed)
    }

    fn run(&self, nvml: &Nvml) {
        let mut said = Said::default();
        while !self.ended() {
            let gpus = {
                let mut state = self.state();
                state.changed = false;
                state.gpus.clone()
            };
            match register(nvml, &gpus) {
                Some((set, watched)) => {
                    self.state().watched = watched;
                    self.wait(&set, &gpus, &mut said);
                }
                None => {
                    self.state().watched = Arc::default();
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    /// Waits until the set of GPUs changes or the driver refuses to go on.
    fn wait(&self, set: &EventSet<'_>, gpus: &[(Handle, Arc<str>)], said: &mut Said) {
        while !self.ended() && !self.state().changed {
            match set.wait(WAIT.as_millis() as u32) {
                Ok(event) => self.take_note(&event, gpus, said),
                Err(NvmlError::Timeout) => {}
                Err(error) => {
                    log::debug!("waiting for the driver's events: {error}");
                    thread::sleep(PAUSE);
                    return;
                }
            }
        }
    }

    fn take_note(&self, event: &EventData<'_>, gpus: &[(Handle, Arc<str>)], said: &mut Said) {
        let xid = match event.event_data {
            Some(XidError::Value(xid)) => xid,
            Some(XidError::Unknown) => NO_NUMBER,
            None => return,
        };
        let known = gpus.iter().find(|(handle, _)| handle.is_of(&event.device));
        let Some((_, uuid)) = known else {
            log::warn!("XID {xid} on a GPU that is not known here");
            return;
        };
        said.say(uuid, &meaning(xid), Instant::now());
        let mut state = self.state();
        if state.happened.len() < MOST_KEPT {
            state.happened.push((uuid.clone(), xid));
        }
    }
}

/// A set with every GPU that tells of XIDs, and which those are; `None` if there is no such GPU.
fn register<'a>(
    nvml: &'a Nvml,
    gpus: &[(Handle, Arc<str>)],
) -> Option<(EventSet<'a>, Arc<[Arc<str>]>)> {
    let wanted = EventTypes::CRITICAL_XID_ERROR;
    let tells = |handle: &Handle| {
        let types = handle.device(nvml).supported_event_types();
        types.is_ok_and(|types| types.contains(wanted))
    };
    let mut willing: Vec<_> = gpus.iter().filter(|(handle, _)| tells(handle)).collect();
    // A registration that fails costs the set, so one is made anew without the GPU that refused.
    while !willing.is_empty() {
        let mut set = Some(nvml.create_event_set().ok()?);
        let refused = willing.iter().position(|(handle, uuid)| {
            let Some(before) = set.take() else {
                return true;
            };
            match handle.device(nvml).register_events(wanted, before) {
                Ok(after) => set = Some(after),
                Err(error) => log::debug!("GPU {uuid} does not tell of its XIDs: {}", error.error),
            }
            set.is_none()
        });
        match (refused, set) {
            (None, Some(set)) => {
                let watched = willing.iter().map(|(_, uuid)| uuid.clone()).collect();
                return Some((set, watched));
            }
            (Some(at), _) => drop(willing.remove(at)),
            (None, None) => return None,
        }
    }
    None
}

/// What was logged when, so that a storm of errors does not fill the log.
#[derive(Debug, Default)]
struct Said(Vec<(String, u64, Instant, u64)>);

impl Said {
    fn say(&mut self, uuid: &str, meaning: &Meaning, now: Instant) {
        if let Some(unsaid) = self.due(uuid, meaning.xid, now) {
            let again = match unsaid {
                0 => String::new(),
                more => format!(", and {more} times more since it was last told"),
            };
            log::error!(
                "GPU {uuid}: XID {}{again} ({}): {}. {}",
                meaning.xid,
                meaning.class.name(),
                meaning.what,
                meaning.todo
            );
        }
    }

    /// How often it happened unsaid, if it is to be said now.
    fn due(&mut self, uuid: &str, xid: u64, now: Instant) -> Option<u64> {
        let known = self
            .0
            .iter_mut()
            .find(|(whose, number, ..)| whose == uuid && *number == xid);
        match known {
            Some((_, _, last, unsaid)) if now.duration_since(*last) < SAY_AGAIN_AFTER => {
                *unsaid += 1;
                None
            }
            Some((_, _, last, unsaid)) => {
                *last = now;
                Some(std::mem::take(unsaid))
            }
            None => {
                if self.0.len() >= MOST_SAID {
                    self.0.remove(0);
                }
                self.0.push((uuid.to_owned(), xid, now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_one_error_is_logged_once_a_minute_with_its_count() {
        let (mut said, start) = (Said::default(), Instant::now());
        assert_eq!(said.due("GPU-1", 13, start), Some(0));
        for _ in 0..500 {
            assert_eq!(said.due("GPU-1", 13, start), None);
        }
        assert_eq!(said.due("GPU-1", 79, start), Some(0));
        assert_eq!(said.due("GPU-2", 13, start), Some(0));
        assert_eq!(said.due("GPU-1", 13, start + SAY_AGAIN_AFTER), Some(500));
    }

    #[test]
    fn a_gpu_that_tells_nothing_is_unknown_and_one_that_is_well_has_none() {
        let taken = Taken {
            watched: ["GPU-1".into()].into(),
            happened: vec![],
        };
        assert_eq!(taken.of("GPU-1"), Some(vec![]));
        assert_eq!(taken.of("GPU-2"), None);
    }
}
