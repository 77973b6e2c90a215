//! What a scenario file says: its shape, its defaults and what makes it invalid.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::parts::{Activity, C2c, Fabric, MigInstance, NvLink, Oddities, PcieErrors};
use crate::signal::Signal;

/// A whole scenario file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// As `nvidia-smi` prints it, such as `580.95.05`.
    pub driver_version: String,
    /// What `nvmlSystemGetNVMLVersion` says; by default the CUDA major and the driver version.
    pub nvml_version: Option<String>,
    /// The CUDA version of the driver, such as `"13.0"`.
    pub cuda_version: String,
    /// When the driver was loaded, Unix seconds: where energy and byte counters start.
    #[serde(default = "driver_loaded_default")]
    pub driver_loaded_s: f64,
    /// A moment at which the clock stands still, Unix seconds.
    pub now_s: Option<f64>,
    /// Where process titles are read.
    #[serde(default = "proc_root_default")]
    pub proc_root: String,
    /// A file that counts calls by name; `{pid}` stands for the process that calls.
    pub call_log: Option<String>,
    /// Calls that this driver does not have, as faults name them: they answer 13.
    #[serde(default)]
    pub hidden_symbols: Vec<String>,
    /// Whether the machine computes confidentially; it cannot, if left out.
    pub confidential_compute: Option<bool>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// Kinds of GPU, by a name of the file's own.
    pub models: BTreeMap<String, Model>,
    /// The GPUs, in NVML's order.
    #[serde(default)]
    pub gpus: Vec<Gpu>,
}

/// What all GPUs of one kind share. What is left out, the GPU does not support.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The product name, which ends in `(simulated)`.
    pub name: String,
    #[serde(default)]
    pub architecture: Architecture,
    #[serde(default)]
    pub brand: Brand,
    /// CUDA compute capability, such as `"9.0"`.
    pub compute_capability: String,
    pub cores: Option<u32>,
    pub vbios: Option<String>,
    /// PCI device and subsystem id, device in the upper half.
    #[serde(default)]
    pub pci_device_id: u32,
    #[serde(default)]
    pub pci_subsystem_id: u32,
    pub memory: Memory,
    pub bar1: Option<Bar1>,
    pub power_limit_w: Option<PowerLimit>,
    pub max_clocks_mhz: Option<Clocks<u32>>,
    #[serde(default)]
    pub temperature_thresholds_c: Thresholds,
    pub pcie: Option<Pcie>,
    pub ecc: Option<Ecc>,
    pub nvlink: Option<NvLink>,
    pub fabric: Option<Fabric>,
    pub c2c: Option<C2c>,
    /// Whether MIG exists; it is on where a GPU has `mig`.
    #[serde(default)]
    pub mig_capable: bool,
    /// Calls that answer NotSupported although the scenario has a value for them.
    #[serde(default)]
    pub absent: BTreeSet<String>,
    #[serde(default)]
    pub readings: Readings,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    Kepler = 2,
    Maxwell = 3,
    Pascal = 4,
    Volta = 5,
    Turing = 6,
    Ampere = 7,
    Ada = 8,
    #[default]
    Hopper = 9,
    Blackwell = 10,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Brand {
    Quadro = 1,
    Tesla = 2,
    Geforce = 5,
    NvidiaRtx = 13,
    #[default]
    Nvidia = 14,
    GeforceRtx = 15,
}

/// Frame buffer. In use is `memory_base_mib` of the readings and what the processes hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    pub total_mib: f64,
    pub reserved_mib: f64,
    pub bus_width_bits: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bar1 {
    pub total_mib: f64,
    pub used_mib: Signal,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PowerLimit {
    pub min: f64,
    pub max: f64,
    pub default: f64,
    /// The limit in force; the default one if left out.
    pub current: Option<f64>,
}

/// One value a clock domain.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks<T> {
    pub graphics: T,
    pub sm: T,
    pub memory: T,
    pub video: T,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    pub shutdown: Option<u32>,
    pub slowdown: Option<u32>,
    pub memory_max: Option<u32>,
    pub gpu_max: Option<u32>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pcie {
    /// The link as it is now; a signal, so that it may degrade.
    pub generation: Signal,
    pub width: Signal,
    pub max_generation: u32,
    pub max_width: u32,
    pub replays: Option<Signal>,
    pub errors: Option<PcieErrors>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ecc {
    pub corrected: Signal,
    pub uncorrected: Signal,
    /// In the GPU's lifetime; by default as many as since the driver was loaded.
    pub aggregate_corrected: Option<Signal>,
    pub aggregate_uncorrected: Option<Signal>,
    /// Rows remapped; without it the GPU retires pages instead.
    pub remapped_corrected: Option<Signal>,
    pub remapped_uncorrected: Option<Signal>,
    /// 1 while a row waits for a reset to be remapped, or could not be.
    pub remap_pending: Option<Signal>,
    pub remap_failed: Option<Signal>,
    /// Pages retired; none by default.
    pub retired_single_bit: Option<Signal>,
    pub retired_double_bit: Option<Signal>,
    /// 1 while a page waits for a reset to be retired.
    pub retirement_pending: Option<Signal>,
    /// Errors in caches and registers; a GPU that tells none of the three does not know the call.
    pub sram_corrected: Option<Signal>,
    pub sram_uncorrected: Option<Signal>,
    /// 1 where there are so many that the board is to be replaced.
    pub sram_threshold: Option<Signal>,
}

/// What moves. A reading that is left out is NotSupported; `load` alone is always there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Readings {
    /// How busy the GPU is, percent: what `load:` signals follow.
    pub load: Option<Signal>,
    pub gpu_utilization: Option<Signal>,
    pub memory_utilization: Option<Signal>,
    pub encoder_utilization: Option<Signal>,
    pub decoder_utilization: Option<Signal>,
    pub jpeg_utilization: Option<Signal>,
    pub ofa_utilization: Option<Signal>,
    /// Memory in use besides what the processes hold, MiB.
    pub memory_base_mib: Option<Signal>,
    /// Instantaneous board power; the usage call averages it over a second.
    pub power_w: Option<Signal>,
    /// Of the memory alone, and of the module with its CPU.
    pub memory_power_w: Option<Signal>,
    pub module_power_w: Option<Signal>,
    pub temperature_c: Option<Signal>,
    pub memory_temperature_c: Option<Signal>,
    pub fan_percent: Option<Signal>,
    pub performance_state: Option<Signal>,
    pub clocks_mhz: Option<Clocks<Signal>>,
    /// The mask of `nvmlClocksEventReason*` bits.
    pub clock_event_reasons: Option<Signal>,
    pub pcie_tx_mb_s: Option<Signal>,
    pub pcie_rx_mb_s: Option<Signal>,
    pub activity: Option<Activity>,
    /// `nvmlDeviceGpuRecoveryAction_t`.
    pub recovery_action: Option<Signal>,
    /// `nvmlComputeMode_t`; the default one if left out.
    pub compute_mode: Option<Signal>,
}

/// One GPU.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// A key of `models`.
    pub model: String,
    pub uuid: String,
    pub serial: Option<String>,
    /// `domain:bus:device.function`, such as `00000000:17:00.0`.
    pub pci_bus_id: String,
    /// How far this GPU's readings run ahead of the clock.
    #[serde(default)]
    pub phase_s: f64,
    /// Readings that replace the model's.
    #[serde(default)]
    pub readings: Readings,
    /// A PCIe link that replaces the model's.
    pub pcie: Option<Pcie>,
    /// Errors in memory that replace the model's.
    pub ecc: Option<Ecc>,
    /// NVLinks that replace the model's.
    pub nvlink: Option<NvLink>,
    /// MIG instances: with such a list, though it be empty, MIG is enabled.
    pub mig: Option<Vec<MigInstance>>,
    /// Added to the model's.
    #[serde(default)]
    pub absent: BTreeSet<String>,
    #[serde(default)]
    pub processes: Vec<Process>,
    #[serde(default)]
    pub xids: Vec<Xid>,
    #[serde(default)]
    pub odd: Oddities,
}

/// An XID error that a waiting program hears of.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xid {
    pub xid: u64,
    /// When it first happens, Unix seconds.
    #[serde(default)]
    pub at_s: f64,
    /// How often it happens again; never, if left out.
    pub every_s: Option<f64>,
}

impl Xid {
    /// When it next happens after a moment, Unix seconds.
    pub fn next_after(&self, moment_s: f64) -> Option<f64> {
        if moment_s < self.at_s {
            return Some(self.at_s);
        }
        let every = self.every_s.filter(|every| *every > 0.0)?;
        Some(self.at_s + (((moment_s - self.at_s) / every).floor() + 1.0) * every)
    }
}

/// A process, or every process of a title, that holds memory on a GPU.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: Option<u32>,
    /// The process's title, which is its first argument; a final `*` matches every title that
    /// starts so.
    pub match_cmdline: Option<String>,
    #[serde(rename = "type", default)]
    pub kind: ProcessKind,
    pub memory_mib: Signal,
    /// The MIG instance that it runs on.
    pub gpu_instance: Option<u32>,
    /// Share of the SMs, percent; by default an equal part of the GPU's utilisation.
    pub sm: Option<Signal>,
    pub mem: Option<Signal>,
    pub enc: Option<Signal>,
    pub dec: Option<Signal>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    #[default]
    Compute,
    Graphics,
    Mps,
}

/// A call that fails, is slow or hangs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The call's name; a final `*` matches every name that starts so.
    pub call: String,
    /// The GPU's index; every GPU, and calls about none, if left out.
    pub gpu: Option<usize>,
    /// The `nvmlReturn_t` to answer.
    pub code: Option<u32>,
    /// How long the call takes before it answers.
    #[serde(default)]
    pub delay_ms: u64,
    /// Never answers, until a scenario without this fault is in force.
    #[serde(default)]
    pub hang: bool,
}

fn driver_loaded_default() -> f64 {
    // 2025-01-01: counters then have the size of a driver that was up for months.
    1_735_689_600.0
}

fn proc_root_default() -> String {
    "/proc".to_owned()
}

impl Fault {
    /// Whether this fault concerns `call` on the GPU of that index.
    pub fn concerns(&self, call: &str, gpu: Option<usize>) -> bool {
        matches_name(&self.call, call) && (self.gpu.is_none() || self.gpu == gpu)
    }
}

/// Whether `name` is `pattern`, or starts with it where it ends in `*`.
pub fn matches_name(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xid_happens_once_unless_it_repeats() {
        let once = Xid {
            xid: 79,
            at_s: 100.0,
            every_s: None,
        };
        assert_eq!(
            (once.next_after(99.0), once.next_after(100.0)),
            (Some(100.0), None)
        );
        let often = Xid {
            every_s: Some(30.0),
            ..once
        };
        assert_eq!(
            (often.next_after(100.0), often.next_after(159.0)),
            (Some(130.0), Some(160.0))
        );
    }

    #[test]
    fn a_fault_concerns_its_call_and_its_gpu_only() {
        let fault: Fault =
            serde_saphyr::from_str("{call: nvmlDeviceGet*, gpu: 1, code: 15}").unwrap();
        assert!(fault.concerns("nvmlDeviceGetName", Some(1)));
        assert!(!fault.concerns("nvmlDeviceGetName", Some(0)));
        assert!(!fault.concerns("nvmlDeviceGetCount", None));
        assert!(!fault.concerns("nvmlShutdown", Some(1)));
    }
}
