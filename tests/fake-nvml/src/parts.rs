//! What a scenario says of NVLinks, of how busy a GPU's parts are, of MIG instances, and of what a driver gets
//! wrong.

use serde::Deserialize;

use crate::signal::Signal;

/// NVLinks, all alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvLink {
    /// How many the board has.
    pub links: u32,
    /// How many of them are up, the lower numbers first; all, if left out.
    pub up: Option<Signal>,
    /// The generation, which decides which counters there are: bytes from the fifth on, else KiB.
    #[serde(default = "fourth")]
    pub version: u32,
    /// Over each link.
    pub tx_mb_s: Signal,
    pub rx_mb_s: Signal,
    /// Errors of each link; none, if left out.
    pub replays: Option<Signal>,
    pub recoveries: Option<Signal>,
    pub crc_errors: Option<Signal>,
}

fn fourth() -> u32 {
    4
}

/// Errors of the PCIe link since the driver was loaded, each a signal; those left out are 0.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PcieErrors {
    pub correctable: Option<Signal>,
    pub non_fatal: Option<Signal>,
    pub fatal: Option<Signal>,
    pub unsupported_request: Option<Signal>,
    pub receiver: Option<Signal>,
    pub bad_tlp: Option<Signal>,
    pub bad_dllp: Option<Signal>,
    pub lcrc: Option<Signal>,
    pub naks_received: Option<Signal>,
    pub naks_sent: Option<Signal>,
}

/// A fabric of GPUs, which a manager joins them to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// `nvmlGpuFabricState_t`: 1 not started, 2 in progress, 3 completed.
    pub state: Signal,
    /// `healthMask`; unknown, if left out.
    pub health: Option<Signal>,
}

/// Links to the CPU on the same module.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct C2c {
    pub links: u32,
    /// How many of them work, the lower numbers first; all, if left out.
    pub up: Option<Signal>,
}

/// What performance monitoring (GPM) says, percent. A GPU without it has none.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    pub sm: Signal,
    pub occupancy: Signal,
    pub tensor: Signal,
    pub dram: Signal,
}

/// A MIG instance.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigInstance {
    /// Its number within the GPU.
    pub gpu_instance: u32,
    #[serde(default)]
    pub compute_instance: u32,
    /// `MIG-…`.
    pub uuid: String,
    /// Such as `1g.18gb`.
    pub profile: String,
    pub memory_mib: f64,
    pub used_mib: Signal,
    /// How busy it is; the GPU's own, if left out.
    pub activity: Option<Activity>,
}

/// What a driver gets wrong without an error code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Oddities {
    /// Rows by which the list of compute processes is longer with each call; their pids do not exist.
    pub list_grows_by: u32,
    /// A hundred samples of nonsense come before the true ones.
    pub garbage_samples: bool,
    /// How far the clock of samples is ahead of the system's.
    pub sample_clock_s: f64,
    /// The memory that is in use, and what each process holds, are the largest number there is.
    pub unknown_memory: bool,
}
