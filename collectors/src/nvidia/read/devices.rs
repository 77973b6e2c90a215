//! Which GPUs there are: by UUID, because NVML's indices move.

use std::sync::Arc;

use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::nvmlDevice_t;

use super::calls::Calls;
use super::fields::Batch;
use super::idle::Idle;
use super::nvlink::NvLinks;
use super::progress::Progress;
use super::sm_time::SmTime;
use super::{board, fast, health, mig};
use crate::config::Selection;
use crate::nvidia::snapshot::{Gpu, Identity, Snapshot, State};

/// The GPUs, and what was read of them.
#[derive(Default)]
pub struct Devices {
    count: u32,
    /// Indices of GPUs counted that answer nothing, not even their UUID, and what that makes of each.
    silent: Vec<(u32, State)>,
    entries: Vec<Entry>,
    /// GPUs that are not touched, because their calls hang.
    skip: Vec<Identity>,
    progress: Arc<Progress>,
    /// Those that the configuration wants.
    selection: Selection,
    /// What was read last.
    pub snapshot: Snapshot,
}

/// What is kept between ticks about the GPU of the same place in the snapshot.
#[derive(Default)]
pub struct Entry {
    /// `None` while NVML refuses to give one: the GPU is lost.
    pub handle: Option<Handle>,
    /// What it is while there is no handle.
    pub unheard: State,
    /// It is not touched.
    pub skipped: bool,
    /// What it answers.
    pub calls: Calls,
    /// Its counters of every tick.
    pub fast: fast::Past,
    /// Its fields of every ten seconds.
    pub health: Health,
    /// What is asked of its board.
    pub board: board::Past,
    /// Its NVLinks.
    pub links: NvLinks,
    /// Its MIG instances.
    pub mig: mig::Instances,
    /// Whether it was split when that was known last.
    pub split: Option<bool>,
    /// Since when nothing has run on it.
    pub idle: Idle,
    /// Its samples of processes.
    pub sm_time: SmTime,
}

/// A batch of what tells of wear and faults.
pub struct Health(pub Batch);

impl Default for Health {
    fn default() -> Self {
        Self(health::batch())
    }
}

/// NVML's handle of a GPU; valid until the library is shut down, which is when the reader is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(nvmlDevice_t);

// SAFETY: NVML is thread-safe and its handles are bound to no thread; nvml_wrapper says so of `Device`.
unsafe impl Send for Handle {}

impl Handle {
    /// The GPU, for as long as `nvml` lives; `nvml` must be the one that gave the handle.
    pub fn device(self, nvml: &Nvml) -> Device<'_> {
        // SAFETY: the handle came from this `Nvml`, which is still initialised because it is borrowed.
        unsafe { Device::new(self.0, nvml) }
    }
}

impl Handle {
    /// Whether it is the handle of `device`.
    pub fn is_of(self, device: &Device<'_>) -> bool {
        // SAFETY: compared only.
        self.0 == unsafe { device.handle() }
    }
}

impl Devices {
    /// None yet. Only GPUs in `selection` will be there, and those in `skip` will not be touched; `progress` is
    /// told every call.
    pub fn new(skip: Vec<Identity>, progress: Arc<Progress>, selection: Selection) -> Self {
        Self {
            skip,
            progress,
            selection,
            ..Self::default()
        }
    }

    /// The handles that answer, with the UUIDs of their GPUs.
    pub fn handles(&self) -> Vec<(Handle, Arc<str>)> {
        let gpus = self.entries.iter().zip(&self.snapshot.gpus);
        gpus.filter_map(|(entry, gpu)| Some((entry.handle?, Arc::clone(&gpu.id.uuid))))
            .collect()
    }

    /// How many GPUs NVML counted.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether a GPU is in trouble.
    pub fn ailing(&self) -> bool {
        let mut gpus = self.snapshot.gpus.iter();
        let skipped = |gpu: &Gpu| self.skip.contains(&gpu.id);
        !self.silent.is_empty() || gpus.any(|gpu| gpu.state != State::Ok && !skipped(gpu))
    }

    /// Every GPU with what is kept about it.
    pub fn each(&mut self) -> impl Iterator<Item = (&mut Entry, &mut Gpu)> {
        self.entries.iter_mut().zip(&mut self.snapshot.gpus)
    }

    /// What concerns the driver as a whole, once.
    pub fn take_fatal(&mut self) -> Option<NvmlError> {
        let mut entries = self.entries.iter_mut();
        entries.find_map(|entry| entry.calls.take_fatal())
    }

    /// Takes stock of GPUs by UUID. Those that NVML counts but does not show stay, under a name of their place
    /// if they never said theirs; those that it does not count are forgotten. Returns the last refusal.
    pub fn enumerate(&mut self, nvml: &Nvml, count: u32) -> Option<NvmlError> {
        let other_set = self.count != count;
        if other_set && self.count != 0 {
            log::info!(
                "the driver counts {count} GPUs, not {} any more",
                self.count
            );
        }
        self.count = count;
        let (mut refusal, mut silent) = (None, vec![]);
        let mut found: Vec<(Entry, Gpu)> = Vec::new();
        let mut known: Vec<(Entry, Gpu)> = std::mem::take(&mut self.entries)
            .into_iter()
            .zip(std::mem::take(&mut self.snapshot.gpus))
            .collect();
        for index in 0..count {
            if let Some(id) = self.skip.iter().find(|id| id.index == index) {
                found.push(untouched(id));
                continue;
            }
            self.progress
                .begins(Some(index), "nvmlDeviceGetHandleByIndex_v2");
            let (handle, id) = match identify(nvml, index) {
                Ok(identified) => identified,
                Err(error) => {
                    log::debug!("GPU {index} does not say which it is: {error}");
                    match error {
                        // A GPU that belongs to somebody else is not there for us; one that was, is.
                        NvmlError::NoPermission
                            if !known.iter().any(|(_, gpu)| gpu.id.index == index) => {}
                        NvmlError::GpuLost => silent.push((index, State::Lost)),
                        NvmlError::ResetRequired => silent.push((index, State::ResetRequired)),
                        _ => silent.push((index, State::Stale)),
                    }
                    refusal = Some(error);
                    continue;
                }
            };
            let number = index.to_string();
            let known_as = [&*id.uuid, &number, &id.product_name];
            if !self.selection.lets_through(&known_as) {
                continue;
            }
            let (mut entry, mut gpu) =
                match known.iter().position(|(_, gpu)| gpu.id.uuid == id.uuid) {
                    Some(at) => known.swap_remove(at),
                    None => (Entry::default(), Gpu::default()),
                };
            // Another handle or driver may support what the previous one did not, and a user who was refused
            // everything may be let in again.
            if other_set || entry.handle != Some(handle) || gpu.state == State::Stale {
                entry.calls = Calls::default();
                entry.handle = Some(handle);
            }
            entry.calls.reports(index, &self.progress);
            gpu.id = id;
            found.push((entry, gpu));
        }
        found.extend(self.unheard(known, &silent));
        if silent.len() > self.silent.len() {
            log::warn!("{} of {count} GPUs do not answer", silent.len());
        }
        self.silent = silent;
        found.sort_by_key(|(_, gpu)| gpu.id.index);
        (self.entries, self.snapshot.gpus) = found.into_iter().unzip();
        refusal
    }
}

impl Devices {
    /// The GPUs at the places that answer nothing: those of `known` that are missing, at their own place if it
    /// can be, and for the rest their places.
    fn unheard(&self, mut known: Vec<(Entry, Gpu)>, silent: &[(u32, State)]) -> Vec<(Entry, Gpu)> {
        // Those whose place answers now have moved, so they are any of the rest.
        known.sort_by_key(|(_, gpu)| !silent.iter().any(|(index, _)| *index == gpu.id.index));
        known.truncate(silent.len());
        let taken = |index: u32| known.iter().any(|(_, gpu)| gpu.id.index == index);
        let nameless = silent.len() - known.len();
        let free: Vec<_> = silent.iter().filter(|(index, _)| !taken(*index)).collect();
        let new = free
            .into_iter()
            .rev()
            .take(nameless)
            .rev()
            .map(|(index, _)| Gpu {
                id: Identity::unknown(*index),
                ..Gpu::default()
            });
        let wanted = |gpu: &Gpu| {
            let known_as = [&*gpu.id.uuid, &gpu.id.index.to_string()];
            self.selection.lets_through(&known_as)
        };
        let new: Vec<_> = new
            .filter(wanted)
            .map(|gpu| (Entry::default(), gpu))
            .collect();
        let mut all = known;
        all.extend(new);
        for (entry, gpu) in &mut all {
            entry.handle = None;
            let at = silent.iter().find(|(index, _)| *index == gpu.id.index);
            entry.unheard = at.map_or(State::Lost, |(_, state)| *state);
        }
        all
    }
}

/// A GPU that only its name is known of.
fn untouched(id: &Identity) -> (Entry, Gpu) {
    let entry = Entry {
        skipped: true,
        ..Entry::default()
    };
    let gpu = Gpu {
        id: id.clone(),
        ..Gpu::default()
    };
    (entry, gpu)
}

fn identify(nvml: &Nvml, index: u32) -> Result<(Handle, Identity), NvmlError> {
    let device = nvml.device_by_index(index)?;
    let id = Identity {
        uuid: device.uuid()?.into(),
        index,
        product_name: device.name().map_or_else(|_| "unknown".into(), Arc::from),
    };
    // SAFETY: used only by `Handle::device`, while this `Nvml` lives.
    Ok((Handle(unsafe { device.handle() }), id))
}

impl Gpu {
    /// Notes its state, says so and why if that is news, and forgets readings that say nothing about now.
    pub(super) fn becomes(&mut self, state: State, why: Option<&str>) {
        let before = std::mem::replace(&mut self.state, state);
        if !state.answers() {
            self.forget_readings();
        }
        if state != before {
            say(&self.id.uuid, before, state, why);
        }
    }

    /// Notes the state of a GPU of which NVML gives no handle, whatever that is.
    pub(super) fn is_unheard(&mut self, state: State) {
        self.forget_readings();
        self.becomes(state, None);
    }

    /// What was read before says nothing about a GPU that is gone.
    fn forget_readings(&mut self) {
        let Self { id, state, .. } = std::mem::take(self);
        *self = Self {
            id,
            state,
            ..Self::default()
        };
    }
}

fn say(uuid: &str, before: State, after: State, why: Option<&str>) {
    match after {
        State::Ok if before == State::Stale => {}
        State::Ok => log::info!("GPU {uuid} answers again"),
        State::Lost => log::error!(
            "GPU {uuid} fell off the bus: its charts have gaps until it is back, usually after a reboot"
        ),
        State::ResetRequired => log::error!(
            "GPU {uuid} wants a reset: end what runs on it, then `nvidia-smi --gpu-reset` as root"
        ),
        State::Stale => match why {
            Some(why) => log::warn!("GPU {uuid} answers no call: {why}"),
            None => log::warn!("GPU {uuid} answers no call"),
        },
    }
}
