//! Reads the GPUs through NVML: the only folder that touches nvml_wrapper. Three groups of calls, by what
//! they cost the driver and with it the workload: every tick, every few seconds, every ten seconds.

mod calls;
mod devices;
mod explain;
mod fast;
mod processes;
mod slow;
mod sm_time;

use std::ffi::OsStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use self::calls::is_fatal;
use self::devices::{Devices, Entry};
use self::explain::explain;
use super::snapshot::{Process, Processes, Snapshot, State};

/// Link state, limits and fans: nobody looks at them by the second, and a fan takes 137 µs.
const SLOW_EVERY: Duration = Duration::from_secs(10);

/// Touched only while NVML is initialised.
const INIT_STACK_BYTES: usize = 4 * 1024 * 1024;

/// NVML, initialised once, and the GPUs that it knows.
pub struct Reader {
    nvml: Box<Nvml>,
    library: String,
    devices: Devices,
    buffers: processes::Buffers,
    processes: Pace,
    slow: Pace,
}

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
    /// Loads `library` and looks for GPUs; processes will be read every `processes_every`.
    ///
    /// # Errors
    /// No library, no driver, no permission, no GPU: a text for the user that says what to do.
    pub fn open(library: &str, processes_every: Duration) -> anyhow::Result<Self> {
        let nvml = load(library)?.map_err(|error| anyhow!(explain(&error, library)))?;
        let mut reader = Self {
            nvml,
            library: library.to_owned(),
            devices: Devices::default(),
            buffers: processes::Buffers::default(),
            processes: Pace::new(processes_every),
            slow: Pace::new(SLOW_EVERY),
        };
        let count = reader.nvml.device_count();
        let count = count.map_err(|error| reader.explain(&error))?;
        let refusal = reader.devices.enumerate(&reader.nvml, count);
        let gpus = &reader.devices.snapshot.gpus;
        if gpus.is_empty() {
            return Err(match refusal {
                Some(error) => reader.explain(&error),
                None => anyhow!(
                    "the NVIDIA driver is loaded but shows no GPU to this user; GPU charts are off \
                     until it does. Check `nvidia-smi -L` on the host"
                ),
            });
        }
        let driver = reader.nvml.sys_driver_version();
        log::info!(
            "{} GPUs ({}, …), driver {}",
            gpus.len(),
            gpus[0].id.product_name,
            driver.as_deref().unwrap_or("of unknown version"),
        );
        Ok(reader)
    }

    /// Reads what is due. `resolve` turns the rows of a GPU's process list into what is known of them.
    ///
    /// # Errors
    /// When the driver as a whole is gone or was replaced. One GPU's trouble is its state.
    pub fn read(
        &mut self,
        now: Instant,
        resolve: impl Fn(Vec<Process>) -> Processes,
    ) -> anyhow::Result<&Snapshot> {
        // Before the first reading no GPU has shown that it is well, and all were just looked up.
        let first = self.slow.last.is_none();
        let slow_due = self.slow.due(now);
        let processes_due = self.processes.due(now);
        self.follow_the_set(slow_due && !first)?;
        let Self {
            nvml,
            devices,
            buffers,
            ..
        } = self;
        for (entry, gpu) in devices.each() {
            let Some(handle) = entry.handle else {
                gpu.becomes(State::Lost);
                entry.energy.reset();
                continue;
            };
            let device = handle.device(nvml);
            let Entry {
                calls,
                energy,
                sm_time,
                ..
            } = entry;
            let uuid = gpu.id.uuid.as_str();
            calls.begin();
            gpu.latency.fast_ms = timed(|| gpu.fast = fast::read(&device, uuid, calls, energy));
            if processes_due {
                let busy = gpu.fast.busy_pct;
                let mut rows = None;
                gpu.latency.processes_ms = timed(|| {
                    rows = processes::read(&device, uuid, calls, sm_time, busy, buffers);
                });
                gpu.processes = rows.map(&resolve);
            }
            if slow_due {
                gpu.latency.slow_ms = timed(|| gpu.slow = slow::read(&device, uuid, calls));
            }
            let state = calls.finish(uuid);
            gpu.becomes(state);
        }
        match self.devices.take_fatal() {
            Some(error) => Err(self.explain(&error)),
            None => Ok(&self.devices.snapshot),
        }
    }

    /// Enumerates again when the number of GPUs changed, and now and then while one does not answer: after
    /// a reset it may have another handle.
    fn follow_the_set(&mut self, look_again: bool) -> anyhow::Result<()> {
        let count = match self.nvml.device_count() {
            Ok(count) => count,
            Err(error) if is_fatal(&error) => return Err(self.explain(&error)),
            // The GPUs may answer all the same, and each says for itself if it does not.
            Err(_) => self.devices.count(),
        };
        if count != self.devices.count() || (look_again && self.devices.ailing()) {
            self.devices.enumerate(&self.nvml, count);
        }
        Ok(())
    }

    fn explain(&self, error: &NvmlError) -> anyhow::Error {
        anyhow!(explain(error, &self.library))
    }
}

/// Initialises NVML on a thread of its own: nvml_wrapper builds its table of 400 functions on the stack,
/// which is more than a job's thread has, and nobody knows what the driver itself needs.
fn load(library: &str) -> anyhow::Result<Result<Box<Nvml>, NvmlError>> {
    thread::scope(|scope| {
        let init = || {
            let nvml = Nvml::builder().lib_path(OsStr::new(library)).init();
            nvml.map(Box::new)
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

/// Runs `calls` and returns how long it took, in milliseconds.
fn timed(calls: impl FnOnce()) -> Option<f64> {
    let began = Instant::now();
    calls();
    Some(began.elapsed().as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests;
