//! What one reading of the GPUs found, as plain data: every unknown is `None`, every unit is in the
//! name. Knows neither NVML nor charts.

use crate::gpu_usage::Kind;

/// All GPUs, in NVML's order; one that fell off the bus keeps its place as long as NVML counts it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// One entry a GPU.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpu {
    /// Which one.
    pub id: Identity,
    /// Whether it answers.
    pub state: State,
    /// Read on every tick.
    pub fast: Fast,
    /// Read every few seconds; `None` if the list could not be read.
    pub processes: Option<Processes>,
    /// Read every ten seconds.
    pub slow: Slow,
    /// How long the driver took.
    pub latency: Latency,
}

/// What names a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// `GPU-…`: the key, because it survives restarts and reordering.
    pub uuid: String,
    /// NVML's index, for display only.
    pub index: u32,
    /// As the driver spells it.
    pub product_name: String,
}

/// Whether a GPU answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It answered at least one call.
    Ok,
    /// It fell off the bus (NVML 15).
    Lost,
    /// It wants a reset (NVML 16).
    ResetRequired,
    /// It said neither: no call was answered.
    #[default]
    Stale,
}

impl State {
    /// Whether its readings are of now.
    pub fn answers(self) -> bool {
        matches!(self, Self::Ok | Self::ResetRequired)
    }
}

/// What swings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fast {
    /// Per cent of the last sampling period in which a kernel ran.
    pub busy_pct: Option<u32>,
    /// Per cent of it in which memory was read or written.
    pub mem_bus_busy_pct: Option<u32>,
    /// Per cent.
    pub encoder_pct: Option<u32>,
    /// Per cent.
    pub decoder_pct: Option<u32>,
    /// Frame buffer.
    pub memory: Memory,
    /// A one-second average by the board's sensor.
    pub power_mw: Option<u32>,
    /// Counter since the driver was loaded.
    pub energy_mj: Option<u64>,
    /// From the energy counter, over the time since the previous reading.
    pub average_power_w: Option<f64>,
    /// The GPU's hottest internal sensor that NVML shows.
    pub temperature_c: Option<i32>,
    /// Current clocks.
    pub clocks: Clocks,
    /// 0 is the fastest, 15 the slowest.
    pub p_state: Option<u8>,
}

/// Frame buffer memory: the three add up to what the board has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Not allocated.
    pub free_bytes: Option<u64>,
    /// Allocated by processes; holds the driver's own part where `reserved_bytes` is unknown.
    pub used_bytes: Option<u64>,
    /// Held by the driver and firmware. Older drivers do not tell.
    pub reserved_bytes: Option<u64>,
}

/// Current clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Graphics engine.
    pub graphics_mhz: Option<u32>,
    /// Streaming multiprocessors.
    pub sm_mhz: Option<u32>,
    /// Memory.
    pub mem_mhz: Option<u32>,
    /// Video engines.
    pub video_mhz: Option<u32>,
}

/// What hardly moves, or costs too much to ask for on every tick.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slow {
    /// What the board is allowed to draw, whoever set it.
    pub power_limit_mw: Option<u32>,
    /// Per cent of the fan's maximum; passively cooled boards have none.
    pub fan_pct: Option<u32>,
    /// Not mapped.
    pub bar1_free_bytes: Option<u64>,
    /// Mapped into the CPU's address space.
    pub bar1_used_bytes: Option<u64>,
    /// The link to the host.
    pub pcie: PcieLink,
}

/// The PCI Express link, now and at best (the lower of what board and slot can do).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PcieLink {
    /// Drops at idle to save power.
    pub generation: Option<u32>,
    /// Best possible.
    pub max_generation: Option<u32>,
    /// Lanes.
    pub width: Option<u32>,
    /// Best possible.
    pub max_width: Option<u32>,
}

/// The processes on one GPU, and what is charted of them, worked out once a reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processes {
    /// One row a process.
    pub rows: Vec<Process>,
    /// Rows without an entry in the host's /proc.
    pub unresolved: usize,
    /// GPU memory by command name, the largest first.
    pub top: Vec<Holding>,
    /// The names that did not fit into `top`; `None` if there are none, or if one's memory is unknown.
    pub other_bytes: Option<u64>,
}

/// One process on one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// As NVML says: the host's, unless the driver cannot tell.
    pub pid: u32,
    /// Clock ticks between boot and its start, to tell reused pids apart.
    pub start_ticks: Option<u64>,
    /// Command name, never arguments; `None` if /proc does not know the pid.
    pub name: Option<String>,
    /// GPU memory held.
    pub mem_bytes: Option<u64>,
    /// Per cent of SM time since the previous reading.
    pub sm_pct: Option<f64>,
    /// Compute or graphics.
    pub kind: Kind,
}

/// What all processes of one name hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Command name.
    pub name: String,
    /// `None` if one of them is unknown.
    pub mem_bytes: Option<u64>,
}

/// Time in the driver for all calls of a group, the last time it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Latency {
    /// Group of every tick.
    pub fast_ms: Option<f64>,
    /// Process lists and their utilisation.
    pub processes_ms: Option<f64>,
    /// Group of every ten seconds.
    pub slow_ms: Option<f64>,
}
