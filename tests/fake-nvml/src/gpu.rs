//! What one GPU reads at one moment, in the units of NVML. Nothing here keeps state.

use crate::ffi::{Code, NOT_SUPPORTED};
use crate::machine::{Gpu, Machine};
use crate::parts::MigInstance;
use crate::processes::{self, Running};
use crate::signal::Signal;

/// The driver averages the power it reports over this time (Ampere and later).
const POWER_WINDOW_S: f64 = 1.0;
/// The time over which the throughput call counts bytes.
pub const PCIE_WINDOW_S: f64 = 0.020;
const MIB: f64 = 1_048_576.0;

/// One GPU at one moment.
pub struct GpuNow<'a> {
    pub machine: &'a Machine,
    pub gpu: &'a Gpu,
    /// The instance whose handle was used, if it was one's.
    pub instance: Option<&'a MigInstance>,
    /// Unix seconds.
    pub now_s: f64,
}

/// Frame buffer memory in bytes; the three parts add up to `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBytes {
    pub total: u64,
    pub reserved: u64,
    pub used: u64,
    pub free: u64,
}

/// What a process held and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessNow {
    pub running: Running,
    pub gpu_instance: Option<u32>,
    pub memory_bytes: u64,
    pub sm: u32,
    pub mem: u32,
    pub enc: u32,
    pub dec: u32,
}

/// A reading the scenario does not have is one the GPU does not support.
pub fn supported<T>(reading: Option<T>) -> Result<T, Code> {
    reading.ok_or(NOT_SUPPORTED)
}

impl GpuNow<'_> {
    fn t(&self) -> f64 {
        self.now_s + self.gpu.phase_s
    }

    /// A reading rounded to a whole number, never below 0.
    pub fn whole(&self, signal: &Signal) -> u64 {
        signal.at(self.t()).round().max(0.0) as u64
    }

    /// As [`GpuNow::whole`], for a reading that may not exist.
    pub fn count(&self, signal: Option<&Signal>) -> Result<u32, Code> {
        Ok(self.whole(supported(signal)?) as u32)
    }

    /// A percentage.
    pub fn percent(&self, signal: Option<&Signal>) -> Result<u32, Code> {
        self.percent_at(signal, self.now_s)
    }

    /// A percentage at another moment, Unix seconds.
    pub fn percent_at(&self, signal: Option<&Signal>, at_s: f64) -> Result<u32, Code> {
        let value = supported(signal)?.at(at_s + self.gpu.phase_s);
        Ok(value.round().clamp(0.0, 100.0) as u32)
    }

    /// Board power averaged over the last second, mW.
    pub fn power_mw(&self) -> Result<u32, Code> {
        let power = supported(self.gpu.model.readings.power_w.as_ref())?;
        let joules = power.integral(self.t() - POWER_WINDOW_S, self.t());
        Ok((joules / POWER_WINDOW_S * 1000.0).round().max(0.0) as u32)
    }

    /// Board power at a moment, mW.
    pub fn power_at_mw(&self, at_s: f64) -> Result<u32, Code> {
        let power = supported(self.gpu.model.readings.power_w.as_ref())?;
        Ok((power.at(at_s + self.gpu.phase_s) * 1000.0)
            .round()
            .max(0.0) as u32)
    }

    /// The power of a part of the board now, mW.
    pub fn milliwatts(&self, watts: Option<&Signal>) -> Result<u32, Code> {
        Ok((supported(watts)?.at(self.t()) * 1000.0).round().max(0.0) as u32)
    }

    /// Energy since the driver was loaded, mJ: the integral of the power.
    pub fn energy_mj(&self) -> Result<u64, Code> {
        let power = supported(self.gpu.model.readings.power_w.as_ref())?;
        Ok((self.since_loaded(power) * 1000.0) as u64)
    }

    /// What has passed over the PCIe link since the driver was loaded, bytes.
    pub fn pcie_bytes(&self, mb_s: Option<&Signal>) -> Result<u64, Code> {
        Ok((self.since_loaded(supported(mb_s)?) * 1e6) as u64)
    }

    /// The average of a signal between two moments, Unix seconds.
    pub fn average(&self, signal: &Signal, from_s: f64, to_s: f64) -> f64 {
        let (from, to) = (from_s + self.gpu.phase_s, to_s + self.gpu.phase_s);
        signal.integral(from, to) / (to - from)
    }

    /// The throughput of the last 20 ms, KB/s.
    pub fn pcie_kb_s(&self, mb_s: Option<&Signal>) -> Result<u32, Code> {
        let megabytes = supported(mb_s)?.integral(self.t() - PCIE_WINDOW_S, self.t());
        Ok((megabytes / PCIE_WINDOW_S * 1000.0).round().max(0.0) as u32)
    }

    /// The integral of a signal since the driver was loaded.
    pub fn since_loaded(&self, signal: &Signal) -> f64 {
        let loaded = self.machine.driver_loaded_s + self.gpu.phase_s;
        signal.integral(loaded, self.t().max(loaded))
    }

    /// Frame buffer memory. What processes hold is in `used`.
    pub fn memory(&self) -> MemoryBytes {
        if let Some(instance) = self.instance {
            let total = (instance.memory_mib * MIB) as u64;
            let used = self.bytes(&instance.used_mib).min(total);
            return MemoryBytes {
                total,
                reserved: 0,
                used,
                free: total - used,
            };
        }
        let memory = &self.gpu.model.memory;
        let total = (memory.total_mib * MIB) as u64;
        let reserved = ((memory.reserved_mib * MIB) as u64).min(total);
        let base = self.gpu.model.readings.memory_base_mib.as_ref();
        let base = base.map_or(0, |signal| self.bytes(signal));
        if self.gpu.odd.unknown_memory {
            return MemoryBytes {
                total,
                reserved,
                used: u64::MAX,
                free: u64::MAX,
            };
        }
        let held: u64 = self
            .processes()
            .iter()
            .map(|process| process.memory_bytes)
            .sum();
        let used = (base + held).min(total - reserved);
        MemoryBytes {
            total,
            reserved,
            used,
            free: total - reserved - used,
        }
    }

    /// BAR1 memory: total and used, bytes.
    pub fn bar1(&self) -> Result<(u64, u64), Code> {
        let bar1 = supported(self.gpu.model.bar1.as_ref())?;
        let total = (bar1.total_mib * MIB) as u64;
        Ok((total, self.bytes(&bar1.used_mib).min(total)))
    }

    fn bytes(&self, mib: &Signal) -> u64 {
        (mib.at(self.t()).max(0.0) * MIB) as u64
    }

    /// The processes of this GPU that exist, a pid only once.
    pub fn processes(&self) -> Vec<ProcessNow> {
        self.processes_at(self.now_s)
    }

    /// As [`GpuNow::processes`], with the readings of another moment.
    pub fn processes_at(&self, at_s: f64) -> Vec<ProcessNow> {
        let readings = &self.gpu.model.readings;
        let running = processes::running(&self.machine.proc_root, &self.gpu.processes);
        let percent = |own: Option<&Signal>| self.percent_at(own, at_s).unwrap_or(0);
        // Those without a share of their own divide the GPU's among them.
        let sharers = running.iter().filter(|(entry, _)| entry.sm.is_none());
        let sharers = sharers.count().max(1) as u32;
        let share = |own: &Option<Signal>, gpus: &Option<Signal>| match own {
            Some(own) => percent(Some(own)),
            None => percent(gpus.as_ref()) / sharers,
        };
        running
            .into_iter()
            .map(|(entry, running)| ProcessNow {
                running,
                gpu_instance: entry.gpu_instance,
                memory_bytes: match self.gpu.odd.unknown_memory {
                    true => u64::MAX,
                    false => self.bytes(&entry.memory_mib),
                },
                sm: share(&entry.sm, &readings.gpu_utilization),
                mem: share(&entry.mem, &readings.memory_utilization),
                enc: percent(entry.enc.as_ref()),
                dec: percent(entry.dec.as_ref()),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_gpu(readings: &str, check: impl Fn(&GpuNow<'_>)) {
        let machine = Machine::parse(&format!(
            "driver_version: 580.95.05
cuda_version: '13.0'
models:
  m:
    name: X (simulated)
    compute_capability: '9.0'
    memory: {{total_mib: 1000, reserved_mib: 10}}
    readings: {readings}
gpus:
  - {{model: m, uuid: GPU-1, pci_bus_id: '0000:01:00.0', phase_s: 3,
     processes: [{{pid: 1, memory_mib: 200}}, {{pid: 1, memory_mib: 300}}]}}
"
        ))
        .unwrap();
        check(&GpuNow {
            machine: &machine,
            gpu: &machine.gpus[0],
            instance: None,
            now_s: 1_790_000_000.5,
        });
    }

    #[test]
    fn the_energy_counter_rises_by_what_the_power_call_says() {
        with_gpu(
            "{power_w: {sine: {min: 80, max: 560, period_s: 17}}}",
            |gpu| {
                let later = GpuNow {
                    now_s: gpu.now_s + 1.0,
                    ..*gpu
                };
                let joules = later.energy_mj().unwrap() - gpu.energy_mj().unwrap();
                assert!(joules.abs_diff(u64::from(later.power_mw().unwrap())) <= 1);
            },
        );
    }

    #[test]
    fn memory_adds_up_and_counts_a_process_once() {
        with_gpu("{memory_base_mib: 5}", |gpu| {
            let memory = gpu.memory();
            assert_eq!(memory.used, 205 << 20);
            assert_eq!(memory.total, memory.reserved + memory.used + memory.free);
        });
    }

    #[test]
    fn processes_without_a_share_of_their_own_divide_the_gpus() {
        with_gpu("{gpu_utilization: 81}", |gpu| {
            let mut entries = gpu.gpu.processes.clone();
            entries[1].pid = Some(2);
            let machine = Machine::parse(
                "{driver_version: '580.1', cuda_version: '13.0', models: {}, gpus: []}",
            )
            .unwrap();
            let shared = Gpu {
                processes: entries,
                uuid: String::new(),
                serial: None,
                xids: vec![],
                mig: None,
                model: gpu.gpu.model.clone(),
                odd: gpu.gpu.odd,
                ..*gpu.gpu
            };
            let gpu = GpuNow {
                machine: &machine,
                gpu: &shared,
                ..*gpu
            };
            let shares: Vec<_> = gpu.processes().iter().map(|process| process.sm).collect();
            assert_eq!(shares, [40, 40]);
        });
    }

    #[test]
    fn a_reading_the_scenario_lacks_is_not_supported() {
        with_gpu("{}", |gpu| {
            assert_eq!(gpu.power_mw(), Err(NOT_SUPPORTED));
            assert_eq!(gpu.energy_mj(), Err(NOT_SUPPORTED));
            assert_eq!(gpu.bar1(), Err(NOT_SUPPORTED));
            assert_eq!(gpu.percent(None), Err(NOT_SUPPORTED));
        });
    }
}
