//! The library's state: how often it was initialised, the scenario in force, and the handles it
//! has given out.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::ffi::{Code, GPU_IS_LOST, INVALID_ARGUMENT, UNINITIALIZED, UNKNOWN};
use crate::machine::Machine;
use crate::source::Source;

/// How often the scenario's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Handles are numbers that no allocation has, so that a wrong one is recognised.
const FIRST_HANDLE: usize = 0x4e56_4d4c_0000;
const HANDLE_STEP: usize = 0x10;

/// An `nvmlDevice_t`. It stands for a UUID, not for an index: it survives a new order of GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Device(*mut c_void);

impl Device {
    /// As a structure of nvml.h holds it.
    pub fn as_ptr<T>(self) -> *mut T {
        self.0.cast()
    }
}

struct State {
    initialised: usize,
    machine: Option<Arc<Machine>>,
    /// What was last loaded, or tried.
    source: Option<Source>,
    looked: Option<Instant>,
    /// The UUID behind each handle, in the order in which they were first seen.
    handles: Vec<String>,
    /// What was asked for, and how often before.
    asked: Vec<(String, u32)>,
}

static STATE: Mutex<State> = Mutex::new(State {
    initialised: 0,
    machine: None,
    source: None,
    looked: None,
    handles: Vec::new(),
    asked: Vec::new(),
});

fn state() -> MutexGuard<'static, State> {
    // A panic elsewhere leaves the state whole: every change below is a single assignment.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Before an initialisation: makes the next call look at the scenario at once, and search for it anew if
/// nobody uses the library yet.
pub fn look_again() {
    let mut state = state();
    state.looked = None;
    if state.initialised == 0 {
        state.source = None;
    }
}

/// Counts an initialisation. Fails if there is no valid scenario at all.
pub fn initialise() -> Result<(), Code> {
    let mut state = state();
    if state.machine.is_none() {
        return Err(UNKNOWN);
    }
    state.initialised += 1;
    Ok(())
}

/// Counts a shutdown.
pub fn shut_down() -> Result<(), Code> {
    let mut state = state();
    state.initialised = state.initialised.checked_sub(1).ok_or(UNINITIALIZED)?;
    Ok(())
}

/// Whether calls other than initialisation may be made.
pub fn is_initialised() -> bool {
    state().initialised > 0
}

/// The machine in force now, initialised or not.
pub fn machine() -> Result<Arc<Machine>, Code> {
    let mut state = state();
    state.refresh();
    state.machine.clone().ok_or(UNKNOWN)
}

/// The handle of the GPU with that UUID.
pub fn handle(uuid: &str) -> Device {
    let mut state = state();
    let slot = state
        .handles
        .iter()
        .position(|known| known == uuid)
        .unwrap_or_else(|| {
            state.handles.push(uuid.to_owned());
            state.handles.len() - 1
        });
    Device((FIRST_HANDLE + slot * HANDLE_STEP) as *mut c_void)
}

/// How often something of that name was asked for before.
pub fn asked_before(name: &str) -> u32 {
    let mut state = state();
    if let Some((_, times)) = state.asked.iter_mut().find(|(known, _)| known == name) {
        *times = times.saturating_add(1);
        return *times;
    }
    state.asked.push((name.to_owned(), 0));
    0
}

/// What a handle stands for: a GPU's index, and the place of one of its MIG instances. It is lost if the
/// scenario no longer has it.
pub fn index(machine: &Machine, device: Device) -> Result<(usize, Option<usize>), Code> {
    let offset = (device.0 as usize)
        .checked_sub(FIRST_HANDLE)
        .ok_or(INVALID_ARGUMENT)?;
    if !offset.is_multiple_of(HANDLE_STEP) {
        return Err(INVALID_ARGUMENT);
    }
    let state = state();
    let slot = offset / HANDLE_STEP;
    let uuid = state.handles.get(slot).ok_or(INVALID_ARGUMENT)?;
    // Mostly they were first seen in the order in which they are.
    if machine.gpus.get(slot).is_some_and(|it| it.uuid == *uuid) {
        return Ok((slot, None));
    }
    let found = machine.gpus.iter().enumerate().find_map(|(gpu, entry)| {
        if entry.uuid == *uuid {
            return Some((gpu, None));
        }
        let instances = entry.mig.as_ref()?;
        let instance = instances.iter().position(|part| part.uuid == *uuid)?;
        Some((gpu, Some(instance)))
    });
    found.ok_or(GPU_IS_LOST)
}

impl State {
    /// Takes over a scenario that changed. One that is wrong is said once and changes nothing.
    fn refresh(&mut self) {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < LOOK_EVERY)
        {
            return;
        }
        self.looked = Some(Instant::now());
        let source = match &self.source {
            None | Some(Source::BuiltIn) => Source::search(),
            Some(file) => file.as_it_is_now(),
        };
        if self.source.as_ref() == Some(&source) {
            return;
        }
        match source.load() {
            Ok(machine) => self.machine = Some(Arc::new(machine)),
            Err(error) => {
                let kept = if self.machine.is_some() {
                    "; the old one stays in force"
                } else {
                    ""
                };
                eprintln!("fake-nvml: scenario {error}{kept}");
            }
        }
        self.source = Some(source);
    }
}
