//! What one reading of the GPUs found, as plain data: every unknown is `None`, every unit is in the
//! name. Knows neither NVML nor charts.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gpu_usage::Kind;

pub use super::board::{
    Board, C2c, FabricHealth, HeatLimits, Modes, PcieErrors, SpareRows, SramErrors,
};
pub use super::health::{Ecc, Health, RemappedRows, RetiredPages};

/// All GPUs, in NVML's order. Taken every second and handed on, so that what is long and seldom changes is shared; one that fell off the bus keeps its place as long as NVML counts it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// One entry a GPU.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Gpu {
    /// Which one.
    pub id: Identity,
    /// Whether it answers.
    pub state: State,
    /// Read on every tick.
    pub fast: Fast,
    /// Read every few seconds; `None` if the list could not be read.
    pub processes: Option<Arc<Processes>>,
    /// Read every ten seconds.
    pub slow: Slow,
    /// NVLinks: what passes over each is read with the processes, the rest with `slow`.
    pub links: Arc<Links>,
    /// Whether it is split, and its instances; read with the processes.
    pub mig: Mig,
    /// Read with `slow`: what tells of wear and faults.
    pub health: Health,
    /// Read with `slow`: the board and what is around it.
    pub board: Board,
    /// XID errors since the previous reading; `None` where the driver does not tell of them.
    pub xids: Option<Vec<u64>>,
    /// For how long nothing has run while processes hold memory; zero while something runs, or where no
    /// process holds any.
    pub held_idle: Option<Duration>,
    /// How long the driver took.
    pub latency: Latency,
    /// What was not read this time, and stands as it was read before.
    pub kept: Kept,
}

/// Groups of readings that stand as they were read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// `processes`, and what is read with them.
    pub processes: bool,
    /// `slow`, and what is read with it.
    pub slow: bool,
}

impl Gpu {
    /// Whether a process holds memory on it; `None` if the list is not known.
    pub fn memory_held(&self) -> Option<bool> {
        let rows = &self.processes.as_ref()?.rows;
        Some(rows.iter().any(|row| row.mem_bytes != Some(0)))
    }

    /// Whether anything ran since the previous reading, as far as the driver's samples say; between them a
    /// short kernel may hide.
    pub fn ran(&self) -> Option<bool> {
        let sampled = self.fast.busy_range_pct.map(|(_, highest)| highest > 0.0);
        let now = self.fast.busy_pct.map(|busy| busy > 0);
        match (sampled, now) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (sampled, now) => sampled.or(now),
        }
    }
}

/// What names a GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `GPU-…`: the key, because it survives restarts and reordering.
    pub uuid: Arc<str>,
    /// NVML's index, for display only.
    pub index: u32,
    /// As the driver spells it.
    pub product_name: Arc<str>,
}

impl Identity {
    /// Of a GPU that the driver counts at this index and that has not said which it is.
    pub fn unknown(index: u32) -> Self {
        Self {
            uuid: format!("unknown-{index}").into(),
            index,
            product_name: "unknown".into(),
        }
    }
}

/// Whether a GPU answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fast {
    /// Per cent of the last sampling period in which a kernel ran.
    pub busy_pct: Option<u32>,
    /// The lowest and the highest of the driver's samples of it since the previous reading.
    pub busy_range_pct: Option<(f64, f64)>,
    /// Per cent of it in which memory was read or written.
    pub mem_bus_busy_pct: Option<u32>,
    /// Per cent.
    pub encoder_pct: Option<u32>,
    /// Per cent.
    pub decoder_pct: Option<u32>,
    /// How busy its parts were since the previous reading, where the board can tell.
    pub activity: Activity,
    /// Bytes per second over the link to the host.
    pub pcie: Throughput,
    /// Bytes per second over all NVLinks.
    pub nvlink: Throughput,
    /// Frame buffer.
    pub memory: Memory,
    /// A one-second average by the board's sensor.
    pub power_mw: Option<u32>,
    /// Counter since the driver was loaded.
    pub energy_mj: Option<u64>,
    /// From the energy counter, over the time since the previous reading.
    pub average_power_w: Option<f64>,
    /// The lowest and the highest of the driver's samples since the previous reading.
    pub power_range_w: Option<(f64, f64)>,
    /// By sensor, at the moment of the reading.
    pub power_sensors: PowerSensors,
    /// The GPU's hottest internal sensor that NVML shows.
    pub temperature_c: Option<i32>,
    /// The memory's sensor.
    pub memory_temperature_c: Option<i32>,
    /// Degrees until the GPU slows down, where the driver tells it.
    pub margin_c: Option<i32>,
    /// What holds the clocks down now: `nvmlClocksEventReason*` bits.
    pub clock_reasons: Option<u64>,
    /// Per cent of the time since the previous reading in which the clocks were held down.
    pub throttled: Throttled,
    /// Current clocks.
    pub clocks: Clocks,
    /// 0 is the fastest, 15 the slowest.
    pub p_state: Option<u8>,
}

/// Power by sensor, where the board has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerSensors {
    /// The GPU at this moment.
    pub instant_mw: Option<u64>,
    /// The GPU, averaged over a second.
    pub one_second_mw: Option<u64>,
    /// Its memory alone.
    pub memory_mw: Option<u64>,
    /// The module with its CPU.
    pub module_mw: Option<u64>,
}

/// Frame buffer memory: the three add up to what the board has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Not allocated.
    pub free_bytes: Option<u64>,
    /// Allocated by processes; holds the driver's own part where `reserved_bytes` is unknown.
    pub used_bytes: Option<u64>,
    /// Held by the driver and firmware. Older drivers do not tell.
    pub reserved_bytes: Option<u64>,
}

/// Current clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// Bytes per second since the previous reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Sent by the GPU.
    pub tx: Option<f64>,
    /// Received by it.
    pub rx: Option<f64>,
}

/// Per cent of time, averaged over all of the GPU's parts of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// SMs with at least one warp.
    pub sm: Option<f64>,
    /// Warps resident, of those that fit.
    pub occupancy: Option<f64>,
    /// Tensor cores.
    pub tensor: Option<f64>,
    /// Memory interface.
    pub dram: Option<f64>,
}

/// NVLinks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Links {
    /// By their number; empty for a board without any.
    pub each: Vec<Link>,
}

/// One NVLink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Whether it works.
    pub up: bool,
    /// Bytes per second sent.
    pub tx: Option<f64>,
    /// Received.
    pub rx: Option<f64>,
    /// Its errors.
    pub errors: LinkErrors,
}

/// Errors of one NVLink since the driver was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkErrors {
    /// Packets sent again.
    pub replays: Option<u64>,
    /// Times the link was trained anew.
    pub recoveries: Option<u64>,
    /// Wrong check sums.
    pub crc: Option<u64>,
}

/// Whether a GPU is split, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mig {
    /// `None` for boards that cannot be.
    pub enabled: Option<bool>,
    /// Its instances.
    pub instances: Vec<MigInstance>,
}

/// One GPU instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MigInstance {
    /// Its number: the key within its GPU.
    pub gpu_instance: u32,
    /// `MIG-…`.
    pub uuid: String,
    /// Product and profile.
    pub name: String,
    /// Its memory.
    pub memory: Memory,
    /// Free and used.
    pub bar1_bytes: Option<(u64, u64)>,
    /// How busy its parts were.
    pub activity: Activity,
}

/// Per cent of time in which each cause held the clocks down. Causes may overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Throttled {
    /// The power limit.
    pub sw_power_cap: Option<f64>,
    /// The driver, to keep the GPU or its memory under its operating temperature.
    pub sw_thermal: Option<f64>,
    /// The board, because it was too hot: clocks are halved or worse.
    pub hw_thermal: Option<f64>,
    /// A signal from outside the board, such as a power supply at its limit.
    pub hw_power_brake: Option<f64>,
    /// The slowest GPU of a group that is kept in step.
    pub sync_boost: Option<f64>,
    /// Any thermal cause; only where the driver does not tell them apart.
    pub thermal: Option<f64>,
}

/// What hardly moves, or costs too much to ask for on every tick.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slow {
    /// What the board is allowed to draw, whoever set it.
    pub power_limit_mw: Option<u32>,
    /// Temperatures at which heat is acted upon.
    pub limits: HeatLimits,
    /// `nvmlComputeMode_t`: who may have contexts on it.
    pub compute_mode: Option<u32>,
    /// Image decoder, per cent.
    pub jpeg_pct: Option<u32>,
    /// Optical flow accelerator, per cent.
    pub ofa_pct: Option<u32>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    /// One row a process.
    pub rows: Vec<Process>,
    /// Rows without an entry in the host's /proc; `None` where nobody looked.
    pub unresolved: Option<usize>,
    /// By command and user, the largest holder of memory first.
    pub top: Vec<Holding>,
    /// What did not fit into `top`; `None` if all did.
    pub other: Option<Holding>,
}

/// One process on one GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// As NVML says: the host's, unless the driver cannot tell.
    pub pid: u32,
    /// Clock ticks between boot and its start, to tell reused pids apart.
    pub start_ticks: Option<u64>,
    /// Command name, never arguments; `None` if /proc does not know the pid.
    pub name: Option<Arc<str>>,
    /// Whose it is, as far as that may be shown; `None` if /proc does not know the pid.
    pub user: Option<Arc<str>>,
    /// GPU memory held.
    pub mem_bytes: Option<u64>,
    /// Per cent of SM time since the previous reading.
    pub sm_pct: Option<f64>,
    /// Compute or graphics.
    pub kind: Kind,
}

/// What all processes of one command and user hold and do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// Command and user, `python3 (marie)`.
    pub name: String,
    /// `None` if one of them is unknown.
    pub mem_bytes: Option<u64>,
    /// Per cent of SM time; `None` if one of them is unknown.
    pub sm_pct: Option<f64>,
}

/// Time in the driver for all calls of a group, the last time it was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Group of every tick.
    pub fast_ms: Option<f64>,
    /// Process lists and their utilisation.
    pub processes_ms: Option<f64>,
    /// Group of every ten seconds.
    pub slow_ms: Option<f64>,
}
