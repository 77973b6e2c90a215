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
use super::{fast, health, mig};
use crate::config::Selection;
use crate::nvidia::snapshot::{Gpu, Identity, Snapshot, State};

/// The GPUs, and what was read of them.
#[derive(Default)]
pub struct Devices {
    count: u32,
    /// GPUs counted that answer nothing, not even their UUID.
    hidden: usize,
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
    /// It is not touched.
    pub skipped: bool,
    /// What it answers.
    pub calls: Calls,
    /// Its counters of every tick.
    pub fast: fast::Past,
    /// Its fields of every ten seconds.
    pub health: Health,
    /// Its NVLinks.
    pub links: NvLinks,
    /// Its MIG instances.
    pub mig: mig::Instances,
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
    pub fn handles(&self) -> Vec<(Handle, String)> {
        let gpus = self.entries.iter().zip(&self.snapshot.gpus);
        gpus.filter_map(|(entry, gpu)| Some((entry.handle?, gpu.id.uuid.clone())))
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
        self.hidden > 0 || gpus.any(|gpu| gpu.state != State::Ok && !skipped(gpu))
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

    /// Takes stock of GPUs by UUID. Those that NVML counts but does not show stay, as lost; those that it
    /// does not count are forgotten. Returns the last refusal.
    pub fn enumerate(&mut self, nvml: &Nvml, count: u32) -> Option<NvmlError> {
        let other_set = self.count != count;
        if other_set && self.count != 0 {
            log::info!(
                "the driver counts {count} GPUs, not {} any more",
                self.count
            );
        }
        self.count = count;
        let (mut refusal, mut hidden) = (None, 0);
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
                    // A GPU that belongs to somebody else is not there for us.
                    hidden += usize::from(!matches!(error, NvmlError::NoPermission));
                    refusal = Some(error);
                    continue;
                }
            };
            let number = index.to_string();
            let known_as = [id.uuid.as_str(), &number, &id.product_name];
            if !self.selection.lets_through(&known_as) {
                continue;
            }
            let (mut entry, mut gpu) =
                match known.iter().position(|(_, gpu)| gpu.id.uuid == id.uuid) {
                    Some(at) => known.swap_remove(at),
                    None => (Entry::default(), Gpu::default()),
                };
            // Another handle or driver may support what the previous one did not.
            if other_set || entry.handle != Some(handle) {
                entry.calls = Calls::default();
                entry.handle = Some(handle);
            }
            entry.calls.reports(index, &self.progress);
            gpu.id = id;
            found.push((entry, gpu));
        }
        for (mut entry, mut gpu) in known.into_iter().take(hidden) {
            entry.handle = None;
            gpu.becomes(State::Lost);
            found.push((entry, gpu));
        }
        if hidden > self.hidden {
            log::warn!("{hidden} of {count} GPUs do not answer");
        }
        self.hidden = hidden;
        found.sort_by_key(|(_, gpu)| gpu.id.index);
        (self.entries, self.snapshot.gpus) = found.into_iter().unzip();
        refusal
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
        uuid: device.uuid()?,
        index,
        product_name: device.name().unwrap_or_else(|_| "unknown".to_owned()),
    };
    // SAFETY: used only by `Handle::device`, while this `Nvml` lives.
    Ok((Handle(unsafe { device.handle() }), id))
}

impl Gpu {
    /// Notes its state, says so if that is news, and forgets readings that say nothing about now.
    pub(super) fn becomes(&mut self, state: State) {
        let before = std::mem::replace(&mut self.state, state);
        if state == State::Lost {
            self.forget_readings();
        }
        if state != before {
            say(&self.id.uuid, before, state);
        }
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

fn say(uuid: &str, before: State, after: State) {
    match after {
        State::Ok if before == State::Stale => {}
        State::Ok => log::info!("GPU {uuid} answers again"),
        State::Lost => log::error!(
            "GPU {uuid} fell off the bus: its charts have gaps until it is back, usually after a reboot"
        ),
        State::ResetRequired => log::error!(
            "GPU {uuid} wants a reset: end what runs on it, then `nvidia-smi --gpu-reset` as root"
        ),
        State::Stale => log::warn!("GPU {uuid} answers no call"),
    }
}
