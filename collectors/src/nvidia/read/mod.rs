//! Reads the GPUs through NVML: the only folder that touches nvml_wrapper. Three groups of calls, by what
//! they cost the driver and with it the workload: every tick, every few seconds, every ten seconds.

mod board;
mod calls;
mod devices;
mod events;
mod explain;
mod fast;
mod fields;
mod gpm;
mod health;
mod idle;
mod mig;
mod nvlink;
mod processes;
mod progress;
mod samples;
mod slow;
mod sm_time;
mod throttle;

use std::ffi::OsStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};

use self::calls::is_fatal;
use self::devices::{Devices, Entry};
pub use self::events::Events;
pub use self::explain::explain;
use self::fields::Numbering;
pub use self::progress::{Place, Progress};
use super::reading::Settings;
use super::snapshot::{Kept, Process, Processes, Snapshot};

/// Link state, limits and fans: nobody looks at them by the second, and a fan takes 137 µs.
pub const SLOW_EVERY: Duration = Duration::from_secs(10);

/// What is under way while processes are looked up: no call to the driver, and a GPU's fault at no time.
pub const READING_PROC: &str = "reading /proc";

/// Touched only while NVML is initialised.
const INIT_STACK_BYTES: usize = 4 * 1024 * 1024;

/// NVML, initialised once, and the GPUs that it knows.
pub struct Reader {
    nvml: Arc<Nvml>,
    library: String,
    devices: Devices,
    events: Arc<Events>,
    progress: Arc<Progress>,
    shared: Shared,
    processes: Pace,
    slow: Pace,
}

/// What the readings of all GPUs share.
#[derive(Default)]
struct Shared {
    numbering: Numbering,
    clock: Clock,
    /// Of this tick, microseconds since 1970: what samples are compared with.
    now_us: u64,
    rows: processes::Buffers,
    samples: samples::Buffer,
}

/// What counters' readings are dated by.
#[derive(Clone, Copy)]
struct Clock(fn() -> Instant);

impl Default for Clock {
    fn default() -> Self {
        Self(Instant::now)
    }
}

impl Clock {
    fn now(self) -> Instant {
        (self.0)()
    }
}

/// What keeps every GPU from being read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// For the user, with what to do.
    pub text: String,
    /// The driver was replaced, so that only a new process can talk to it.
    pub replaced: bool,
}

impl Trouble {
    /// Anything but a replaced driver.
    pub fn other(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            replaced: false,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trouble {}

/// When a group is due.
struct Pace {
    every: Duration,
    last: Option<Instant>,
}

impl Pace {
    fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    /// True once an interval; ticks jitter, so a tick that is nearly due is taken.
    fn due(&mut self, now: Instant) -> bool {
        let due = self
            .last
            .is_none_or(|last| now.duration_since(last) + self.every / 10 >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

impl Reader {
    /// Loads the library and looks for GPUs. `progress` is told every call.
    ///
    /// # Errors
    /// No library, no driver, no permission, no GPU: a text for the user that says what to do.
    pub fn open(settings: &Settings, progress: Arc<Progress>) -> anyhow::Result<Self> {
        let library = settings.library.as_str();
        progress.begins(None, "nvmlInit");
        let nvml = load(library)?.map_err(|error| anyhow!(explain(&error, library)))?;
        let events = match settings.events {
            true => Events::start(Arc::clone(&nvml))
                .context("cannot start a thread to wait for XID errors on")?,
            false => Events::none(),
        };
        progress.begins(None, "nvmlSystemGetDriverVersion");
        let driver = nvml.sys_driver_version();
        let mut reader = Self {
            nvml,
            library: library.to_owned(),
            devices: Devices::new(
                settings.skip.clone(),
                Arc::clone(&progress),
                settings.selection.clone(),
            ),
            events: Arc::new(events),
            progress,
            shared: Shared {
                numbering: Numbering::of_driver(driver.as_deref().unwrap_or_default()),
                ..Shared::default()
            },
            processes: Pace::new(settings.processes_every),
            slow: Pace::new(SLOW_EVERY),
        };
        reader.progress.begins(None, "nvmlDeviceGetCount_v2");
        let count = reader.nvml.device_count();
        let count = count.map_err(|error| reader.explain(&error))?;
        let refusal = reader.devices.enumerate(&reader.nvml, count);
        let gpus = &reader.devices.snapshot.gpus;
        let lost = matches!(refusal, Some(NvmlError::GpuLost));
        if gpus.is_empty()
            || (reader.devices.handles().is_empty() && !lost && settings.skip.is_empty())
        {
            return Err(match refusal {
                Some(error) => reader.explain(&error).into(),
                None if count > 0 => {
                    anyhow!("include and exclude of rs.d/nvidia.conf leave out all {count} GPUs")
                }
                None => anyhow!(
                    "the NVIDIA driver is loaded but shows no GPU to this user; GPU charts are off \
                     until it does. Check `nvidia-smi -L` on the host"
                ),
            });
        }
        reader.events.watch(reader.devices.handles());
        log::info!(
            "{} GPUs ({}, …), driver {}",
            gpus.len(),
            gpus[0].id.product_name,
            driver.as_deref().unwrap_or("of unknown version"),
        );
        Ok(reader)
    }

    /// Has counters' readings dated by another clock.
    #[cfg(test)]
    pub fn date_by(&mut self, clock: fn() -> Instant) {
        self.shared.clock = Clock(clock);
    }

    /// Its XID errors, which come also while a reading hangs.
    pub fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    /// The GPUs that it found, without readings.
    pub fn identities(&self) -> Snapshot {
        self.devices.snapshot.clone()
    }

    /// Reads what is due. `resolve` turns the rows of a GPU's process list into what is known of them.
    ///
    /// # Errors
    /// When the driver as a whole is gone or was replaced. One GPU's trouble is its state.
    pub fn read(
        &mut self,
        now: Instant,
        resolve: impl Fn(Vec<Process>) -> Processes,
    ) -> Result<&Snapshot, Trouble> {
        // Before the first reading no GPU has shown that it is well, and all were just looked up.
        let first = self.slow.last.is_none();
        let slow_due = self.slow.due(now);
        let processes_due = self.processes.due(now);
        self.follow_the_set(slow_due && !first)?;
        let Self {
            nvml,
            devices,
            shared,
            events,
            progress,
            ..
        } = self;
        shared.now_us = since_1970_us();
        let xids = events.take();
        for (entry, gpu) in devices.each() {
            if entry.skipped {
                continue;
            }
            let Some(handle) = entry.handle else {
                gpu.is_unheard(entry.unheard);
                entry.fast.reset();
                entry.idle.reset();
                entry.links.reset();
                gpu.xids = xids.of(&gpu.id.uuid);
                continue;
            };
            let device = handle.device(nvml);
            let Entry {
                calls,
                fast: past,
                health: fields,
                board: around,
                idle,
                links,
                mig: instances,
                split,
                sm_time,
                ..
            } = entry;
            let uuid = &*Arc::clone(&gpu.id.uuid);
            calls.begin();
            gpu.latency.fast_ms =
                timed(|| gpu.fast = fast::read(nvml, &device, uuid, calls, past, shared));
            let numbering = shared.numbering;
            if slow_due {
                calls.ask_denied_again();
                gpu.latency.slow_ms = timed(|| {
                    gpu.slow = slow::read(&device, uuid, calls);
                    gpu.health = health::read(&device, uuid, calls, &mut fields.0, numbering);
                    gpu.board = board::read(&device, uuid, calls, around, numbering);
                    let its = Arc::make_mut(&mut gpu.links);
                    links.look(&device, uuid, calls, numbering, its);
                });
            }
            if processes_due {
                let busy = gpu.fast.busy_pct;
                let mut rows = None;
                gpu.latency.processes_ms = timed(|| {
                    rows = processes::read(&device, uuid, calls, sm_time, busy, shared);
                    let its = Arc::make_mut(&mut gpu.links);
                    links.read(&device, uuid, calls, shared, its);
                    gpu.mig = mig::read(nvml, &device, uuid, calls, instances, now);
                });
                progress.begins(None, READING_PROC);
                gpu.processes = rows.map(|rows| Arc::new(resolve(rows)));
                progress.ends();
                // A GPU that is split supports other calls than one that is whole.
                let before = *split;
                *split = gpu.mig.enabled.or(before);
                if before.is_some() && *split != before {
                    log::info!("GPU {uuid}: MIG was switched");
                    calls.ask_again();
                    *past = fast::Past::default();
                }
            }
            gpu.kept = Kept {
                processes: !processes_due,
                slow: !slow_due,
            };
            gpu.held_idle = idle.held(gpu.ran(), gpu.memory_held(), now);
            let state = calls.finish(uuid);
            gpu.becomes(state, calls.refusal().as_deref());
            gpu.xids = xids.of(&gpu.id.uuid);
        }
        match self.devices.take_fatal() {
            Some(error) => Err(self.explain(&error)),
            None => Ok(&self.devices.snapshot),
        }
    }

    /// Enumerates again when the number of GPUs changed, and now and then while one does not answer: after
    /// a reset it may have another handle.
    fn follow_the_set(&mut self, look_again: bool) -> Result<(), Trouble> {
        self.progress.begins(None, "nvmlDeviceGetCount_v2");
        let count = match self.nvml.device_count() {
            Ok(count) => count,
            Err(error) if is_fatal(&error) => return Err(self.explain(&error)),
            // The GPUs may answer all the same, and each says for itself if it does not.
            Err(_) => self.devices.count(),
        };
        if count != self.devices.count() || (look_again && self.devices.ailing()) {
            self.devices.enumerate(&self.nvml, count);
            self.events.watch(self.devices.handles());
        }
        Ok(())
    }

    fn explain(&self, error: &NvmlError) -> Trouble {
        Trouble {
            text: explain(error, &self.library),
            replaced: matches!(error, NvmlError::LibRmVersionMismatch),
        }
    }
}

/// Initialises NVML on a thread of its own: nvml_wrapper builds its table of 400 functions on the stack,
/// which is more than a job's thread has, and nobody knows what the driver itself needs.
pub fn load(library: &str) -> anyhow::Result<Result<Arc<Nvml>, NvmlError>> {
    thread::scope(|scope| {
        let init = || {
            let nvml = Nvml::builder().lib_path(OsStr::new(library)).init();
            nvml.map(Arc::new)
        };
        let thread = thread::Builder::new()
            .name("nvml-init".to_owned())
            .stack_size(INIT_STACK_BYTES)
            .spawn_scoped(scope, init)
            .context("cannot start a thread to initialise NVML on")?;
        thread
            .join()
            .map_err(|_| anyhow!("initialising NVML panicked: see the log above"))
    })
}

/// Now, as NVML stamps its samples.
fn since_1970_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_micros() as u64
}

/// Runs `calls` and returns how long it took, in milliseconds.
fn timed(calls: impl FnOnce()) -> Option<f64> {
    let began = Instant::now();
    calls();
    Some(began.elapsed().as_secs_f64() * 1e3)
}

#[cfg(test)]
pub mod tests;
