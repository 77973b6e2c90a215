//! The slot between `nvidia`, which writes it, and `servers` and functions, which read it: the latest value only,
//! and nothing once it is older than three intervals.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One reading of all GPUs.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it was read.
    pub taken: Instant,
    /// The interval at which it is read.
    pub every: Duration,
    /// Every GPU that answered.
    pub gpus: Vec<Gpu>,
    /// Every process on them; `None` for a GPU's processes is the absence of rows and `processes_known` false.
    pub processes: Vec<Process>,
}

/// One GPU's use.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// `GPU-…`, stable over restarts and reorderings.
    pub uuid: Arc<str>,
    /// NVML's index, for display.
    pub index: u32,
    /// As the driver spells it.
    pub product_name: Arc<str>,
    /// `nvmlDeviceGetTotalEnergyConsumption`, mJ since the driver was loaded.
    pub energy_mj: Option<u64>,
    /// `nvmlDeviceGetPowerUsage`, mW, a one-second average.
    pub power_mw: Option<u32>,
    /// `nvmlDeviceGetUtilizationRates`, per cent of time with a kernel running.
    pub busy_pct: Option<f64>,
    /// Whether anything ran since the previous reading, as far as the driver's samples say.
    pub ran: Option<bool>,
    /// Whether it is split into instances (MIG): what runs in one is told by no sample.
    pub split: bool,
    /// Whether the list of its processes could be read.
    pub processes_known: bool,
}

/// What a process does on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Has a compute context.
    Compute,
    /// Has a graphics context.
    Graphics,
    /// Computes through NVIDIA's multi-process service: its share of SM time is the server's.
    Mps,
}

impl Kind {
    /// In one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Compute => "compute",
            Self::Graphics => "graphics",
            Self::Mps => "MPS",
        }
    }
}

/// One process on one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// The GPU's [`Gpu::uuid`].
    pub gpu_uuid: Arc<str>,
    /// Pid in the host's namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot (field 22 of `/proc/PID/stat`), to tell reused pids apart.
    pub start_ticks: Option<u64>,
    /// Its program's name, never arguments; `None` if /proc does not know the pid.
    pub name: Option<Arc<str>>,
    /// Whose it is, as far as that may be shown; `None` likewise.
    pub user: Option<Arc<str>>,
    /// Bytes of GPU memory held.
    pub mem_bytes: Option<u64>,
    /// Per cent of SM time.
    pub sm_pct: Option<f64>,
    /// What it does there.
    pub kind: Kind,
}

/// Holds the latest snapshot.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Option<Arc<Snapshot>>>);

/// Intervals after which a snapshot says nothing about now.
const STALE_AFTER: u32 = 3;

impl Slot {
    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        *self.lock() = Some(Arc::new(snapshot));
    }

    /// The latest snapshot, unless it is stale at `now`.
    pub fn latest(&self, now: Instant) -> Option<Arc<Snapshot>> {
        let snapshot = self.lock().clone()?;
        let age = now.saturating_duration_since(snapshot.taken);
        (age <= snapshot.every * STALE_AFTER).then_some(snapshot)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Snapshot>>> {
        // A writer that panicked cannot have left half a snapshot: the value is replaced whole.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_older_than_three_intervals_is_not_given_out() {
        let (slot, taken, every) = (Slot::default(), Instant::now(), Duration::from_secs(1));
        assert!(slot.latest(taken).is_none());
        slot.publish(Snapshot {
            taken,
            every,
            gpus: vec![],
            processes: vec![],
        });
        assert!(slot.latest(taken + every * 3).is_some());
        assert!(slot.latest(taken + every * 4).is_none());
    }
}
