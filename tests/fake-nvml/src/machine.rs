//! A scenario made ready to be read: models merged into their GPUs, loads into their signals,
//! texts parsed.

use std::time::SystemTime;

use crate::parts::{Activity, C2c, Fabric, MigInstance, NvLink, Oddities, PcieErrors};
use crate::record::Record;
use crate::scenario::{Clocks, Fault, Gpu as Entry, Model, Pcie, Process, Readings, Scenario, Xid};
use crate::signal::Signal;

/// The simulated machine.
#[derive(Debug)]
pub struct Machine {
    pub driver_version: String,
    pub nvml_version: String,
    /// As CUDA writes it: 13000 for 13.0.
    pub cuda_version: i32,
    /// Unix seconds.
    pub driver_loaded_s: f64,
    pub proc_root: String,
    /// Where its clock stands still, Unix seconds.
    pub stands_still_s: Option<f64>,
    pub call_log: Option<String>,
    pub hidden_symbols: Vec<String>,
    pub confidential_compute: Option<bool>,
    pub faults: Vec<Fault>,
    pub gpus: Vec<Gpu>,
    /// What answers in place of the readings.
    pub record: Option<Record>,
}

/// One GPU of it.
#[derive(Debug)]
pub struct Gpu {
    pub index: usize,
    pub uuid: String,
    pub serial: Option<String>,
    pub pci: PciAddress,
    pub phase_s: f64,
    pub compute_capability: (i32, i32),
    /// The model, with what the GPU's own entry replaces.
    pub model: Model,
    pub processes: Vec<Process>,
    pub xids: Vec<Xid>,
    /// Its instances, if MIG is enabled.
    pub mig: Option<Vec<MigInstance>>,
    pub odd: Oddities,
}

/// Where a GPU sits on the PCI bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciAddress {
    pub domain: u32,
    pub bus: u32,
    pub device: u32,
}

impl PciAddress {
    /// From `domain:bus:device.function` in hexadecimal, the domain of any length.
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let device = rest.split_once('.').map_or(rest, |(device, _)| device);
        let hex = |text: &str| u32::from_str_radix(text, 16).ok();
        Some(Self {
            domain: hex(domain)?,
            bus: hex(bus)?,
            device: hex(device)?,
        })
    }

    /// With a domain of eight digits, or four as older interfaces have it.
    pub fn text(self, legacy: bool) -> String {
        let Self {
            domain,
            bus,
            device,
        } = self;
        if legacy {
            format!("{domain:04X}:{bus:02X}:{device:02X}.0")
        } else {
            format!("{domain:08X}:{bus:02X}:{device:02X}.0")
        }
    }
}

impl Machine {
    /// From a scenario file's text. The error says what is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        if Record::is_one(text) {
            let record = Record::parse(text)?;
            let mut machine = Self::of_scenario(&record.scenario())?;
            machine.confidential_compute = record.confidential_compute();
            machine.stands_still_s = record.now_s;
            machine.record = Some(record);
            return Ok(machine);
        }
        Self::of_scenario(text)
    }

    fn of_scenario(text: &str) -> Result<Self, String> {
        let scenario: Scenario = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let cuda = two_numbers(&scenario.cuda_version)
            .ok_or_else(|| format!("cuda_version: `{}` is no x.y", scenario.cuda_version))?;
        let gpus = scenario
            .gpus
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let model = scenario.models.get(&entry.model);
                let model = model.ok_or_else(|| format!("gpus: no model `{}`", entry.model))?;
                Gpu::new(index, entry, model)
            })
            .collect::<Result<_, String>>()?;
        Ok(Self {
            nvml_version: scenario
                .nvml_version
                .unwrap_or_else(|| format!("{}.{}", cuda.0, scenario.driver_version)),
            driver_version: scenario.driver_version,
            cuda_version: cuda.0 * 1000 + cuda.1 * 10,
            driver_loaded_s: scenario.driver_loaded_s,
            proc_root: scenario.proc_root,
            stands_still_s: scenario.now_s,
            call_log: scenario.call_log,
            hidden_symbols: scenario.hidden_symbols,
            confidential_compute: scenario.confidential_compute,
            faults: scenario.faults,
            gpus,
            record: None,
        })
    }

    /// The clock behind every reading: Unix seconds.
    pub fn now_s(&self) -> f64 {
        let since = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let flowing = || since().map_or(0.0, |time| time.as_secs_f64());
        self.stands_still_s.unwrap_or_else(flowing)
    }

    /// Whether the driver numbers the field values 251 to 273 as CUDA 13.0 Update 1 does.
    pub fn renumbered_fields(&self) -> bool {
        two_numbers(&self.driver_version).is_some_and(|version| version >= (580, 82))
    }
}

impl Gpu {
    fn new(index: usize, entry: &Entry, model: &Model) -> Result<Self, String> {
        let mut model = model.clone();
        model.absent.extend(entry.absent.iter().cloned());
        model.readings = entry.readings.clone().or(model.readings);
        model.pcie = entry.pcie.clone().or(model.pcie);
        model.ecc = entry.ecc.clone().or(model.ecc);
        model.nvlink = entry.nvlink.clone().or(model.nvlink);
        let load = model.readings.load.take().unwrap_or(Signal::Constant(0.0));
        if load.follows_load() {
            return Err(format!("gpus: {index}: the load cannot follow itself"));
        }
        model.resolve(&load);
        let mut processes = entry.processes.clone();
        for process in &mut processes {
            if process.pid.is_some() == process.match_cmdline.is_some() {
                return Err(format!(
                    "gpus: {index}: a process has a pid or a match_cmdline"
                ));
            }
            process.resolve(&load);
        }
        let mut mig = entry.mig.clone();
        for instance in mig.iter_mut().flatten() {
            instance.resolve(&load);
        }
        Ok(Self {
            index,
            uuid: entry.uuid.clone(),
            serial: entry.serial.clone(),
            pci: PciAddress::parse(&entry.pci_bus_id)
                .ok_or_else(|| format!("pci_bus_id: `{}` is no address", entry.pci_bus_id))?,
            phase_s: entry.phase_s,
            compute_capability: two_numbers(&model.compute_capability).ok_or_else(|| {
                format!(
                    "compute_capability: `{}` is no x.y",
                    model.compute_capability
                )
            })?,
            model,
            processes,
            xids: entry.xids.clone(),
            mig,
            odd: entry.odd,
        })
    }
}

impl Readings {
    /// These readings, and those of `other` where there are none.
    fn or(self, other: Self) -> Self {
        Self {
            load: self.load.or(other.load),
            gpu_utilization: self.gpu_utilization.or(other.gpu_utilization),
            memory_utilization: self.memory_utilization.or(other.memory_utilization),
            encoder_utilization: self.encoder_utilization.or(other.encoder_utilization),
            decoder_utilization: self.decoder_utilization.or(other.decoder_utilization),
            jpeg_utilization: self.jpeg_utilization.or(other.jpeg_utilization),
            ofa_utilization: self.ofa_utilization.or(other.ofa_utilization),
            memory_base_mib: self.memory_base_mib.or(other.memory_base_mib),
            power_w: self.power_w.or(other.power_w),
            memory_power_w: self.memory_power_w.or(other.memory_power_w),
            module_power_w: self.module_power_w.or(other.module_power_w),
            temperature_c: self.temperature_c.or(other.temperature_c),
            memory_temperature_c: self.memory_temperature_c.or(other.memory_temperature_c),
            fan_percent: self.fan_percent.or(other.fan_percent),
            performance_state: self.performance_state.or(other.performance_state),
            clocks_mhz: self.clocks_mhz.or(other.clocks_mhz),
            clock_event_reasons: self.clock_event_reasons.or(other.clock_event_reasons),
            pcie_tx_mb_s: self.pcie_tx_mb_s.or(other.pcie_tx_mb_s),
            pcie_rx_mb_s: self.pcie_rx_mb_s.or(other.pcie_rx_mb_s),
            activity: self.activity.or(other.activity),
            recovery_action: self.recovery_action.or(other.recovery_action),
            compute_mode: self.compute_mode.or(other.compute_mode),
        }
    }
}

/// Replaces every `load:` by a function of the GPU's load.
trait Resolve {
    fn resolve(&mut self, load: &Signal);
}

impl Resolve for Signal {
    fn resolve(&mut self, load: &Signal) {
        *self = self.with_load(load);
    }
}

impl<T: Resolve> Resolve for Option<T> {
    fn resolve(&mut self, load: &Signal) {
        if let Some(inner) = self {
            inner.resolve(load);
        }
    }
}

macro_rules! resolve_members {
    ($($type:ty { $($member:ident),* $(,)? })*) => {$(
        impl Resolve for $type {
            fn resolve(&mut self, load: &Signal) {
                $(self.$member.resolve(load);)*
            }
        }
    )*};
}

resolve_members! {
    Model { bar1, pcie, ecc, nvlink, fabric, c2c, readings }
    Fabric { state, health }
    C2c { up }
    PcieErrors {
        correctable, non_fatal, fatal, unsupported_request, receiver, bad_tlp, bad_dllp, lcrc,
        naks_received, naks_sent,
    }
    NvLink { up, tx_mb_s, rx_mb_s, replays, recoveries, crc_errors }
    Activity { sm, occupancy, tensor, dram }
    MigInstance { used_mib, activity }
    crate::scenario::Bar1 { used_mib }
    Pcie { generation, width, replays, errors }
    crate::scenario::Ecc {
        corrected, uncorrected, aggregate_corrected, aggregate_uncorrected, remapped_corrected,
        remapped_uncorrected, remap_pending, remap_failed, retired_single_bit, retired_double_bit,
        retirement_pending, sram_corrected, sram_uncorrected, sram_threshold,
    }
    Clocks<Signal> { graphics, sm, memory, video }
    Process { memory_mib, sm, mem, enc, dec }
    Readings {
        gpu_utilization, memory_utilization, encoder_utilization, decoder_utilization,
        jpeg_utilization, ofa_utilization, memory_base_mib, power_w, memory_power_w,
        module_power_w, temperature_c,
        memory_temperature_c, fan_percent, performance_state, clocks_mhz, clock_event_reasons,
        pcie_tx_mb_s, pcie_rx_mb_s, activity, recovery_action, compute_mode,
    }
}

fn two_numbers(text: &str) -> Option<(i32, i32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
