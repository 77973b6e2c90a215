//! The readings of every tick: a dozen calls of microseconds each.

use std::sync::Arc;
use std::time::Instant;

use nvml_wrapper::enum_wrappers::device::{Clock, PerformanceState, TemperatureSensor};
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper::{Device, Nvml};
use nvml_wrapper_sys::bindings::{
    nvmlMarginTemperature_t, nvmlMemory_t, nvmlTemperature_t,
    nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU,
};

use super::calls::Calls;
use super::fields::{Batch, Field, Value};
use super::gpm::{Gpm, Part};
use super::samples::{self, Samples};
use super::{Shared, nvlink, throttle};
use crate::nvidia::snapshot::{Clocks, Fast, Memory, PowerSensors, Throughput};
use crate::rate::Rate;

const MEMORY_TEMPERATURE: Field = Field::new(82);
/// Bytes since the driver was loaded. `nvmlDeviceGetPcieThroughput` counts for 20 ms while it blocks.
const PCIE_TX: Field = Field::new(197);
const PCIE_RX: Field = Field::new(198);
/// Averaged over a second.
const POWER_ONE_SECOND: Field = Field::new(185);
/// At this moment; by scope: the GPU, the module with its CPU, the memory.
const POWER_INSTANT: Field = Field::new(186);
const POWER_MODULE: Field = Field { id: 186, scope: 1 };
const POWER_MEMORY: Field = Field { id: 186, scope: 2 };

/// What one GPU's readings of every tick remember.
pub struct Past {
    energy: Rate,
    fields: Batch,
    throttle: throttle::Counters,
    pcie: (Rate, Rate),
    nvlink: nvlink::Totals,
    gpm: Gpm,
    power: Samples,
    utilization: Samples,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            energy: Rate::default(),
            fields: Batch::new([
                nvlink::TOTALS[0],
                nvlink::TOTALS[1],
                PCIE_TX,
                PCIE_RX,
                MEMORY_TEMPERATURE,
                POWER_ONE_SECOND,
                POWER_INSTANT,
                POWER_MODULE,
                POWER_MEMORY,
                throttle::SW_POWER_CAP,
                throttle::THERMAL,
                throttle::SYNC_BOOST,
                throttle::SW_THERMAL,
                throttle::HW_THERMAL,
                throttle::HW_POWER_BRAKE,
            ]),
            throttle: throttle::Counters::default(),
            pcie: Default::default(),
            nvlink: nvlink::Totals::default(),
            gpm: Gpm::default(),
            power: Samples::default(),
            utilization: Samples::default(),
        }
    }
}

impl Past {
    /// Forgets the counters: their next rates are gaps.
    pub fn reset(&mut self) {
        self.energy.reset();
        self.throttle.reset();
        self.pcie = Default::default();
        self.nvlink.reset();
        self.gpm = Gpm::default();
    }
}

/// Reads all of it.
pub fn read(
    nvml: &Arc<Nvml>,
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    past: &mut Past,
    shared: &mut Shared,
) -> Fast {
    // First, so that the time of its reading depends on no other call's duration.
    let energy_mj = calls.ask(uuid, "nvmlDeviceGetTotalEnergyConsumption", || {
        device.total_energy_consumption()
    });
    let average_power_w = average_power_w(&mut past.energy, energy_mj, shared.clock.now());
    past.fields.read(device, uuid, calls, shared.numbering);
    let (now, numbering) = (shared.clock.now(), shared.numbering);
    let throttled = past.throttle.shares(&past.fields, numbering, now);
    let count = |field| past.fields.get(field, numbering).and_then(Value::count);
    let counter = |field| count(field).map(|count| count as f64);
    let power_sensors = PowerSensors {
        instant_mw: count(POWER_INSTANT),
        one_second_mw: count(POWER_ONE_SECOND),
        memory_mw: count(POWER_MEMORY),
        module_mw: count(POWER_MODULE),
    };
    let pcie_tx = past.pcie.0.per_second(counter(PCIE_TX), now);
    let pcie_rx = past.pcie.1.per_second(counter(PCIE_RX), now);
    let (nvlink_tx, nvlink_rx) = past.nvlink.rates(&past.fields, numbering, now);
    let gpm = past.gpm.read(nvml, device, Part::Gpu, uuid, calls, now);
    let memory_temperature = past.fields.get(MEMORY_TEMPERATURE, shared.numbering);
    let mut range = |samples: &mut Samples, kind| {
        let buffer = &mut shared.samples;
        samples.range(kind, device, uuid, calls, shared.now_us, buffer)
    };
    let power_range = range(&mut past.power, samples::POWER);
    let busy_range_pct = range(&mut past.utilization, samples::UTILIZATION);
    let utilization = calls.ask(uuid, "nvmlDeviceGetUtilizationRates", || {
        device.utilization_rates()
    });
    Fast {
        busy_pct: utilization.as_ref().map(|u| u.gpu),
        mem_bus_busy_pct: utilization.as_ref().map(|u| u.memory),
        busy_range_pct,
        encoder_pct: calls
            .ask(uuid, "nvmlDeviceGetEncoderUtilization", || {
                device.encoder_utilization()
            })
            .map(|encoder| encoder.utilization),
        decoder_pct: calls
            .ask(uuid, "nvmlDeviceGetDecoderUtilization", || {
                device.decoder_utilization()
            })
            .map(|decoder| decoder.utilization),
        activity: gpm.activity,
        pcie: Throughput {
            tx: pcie_tx.or(gpm.pcie_tx),
            rx: pcie_rx.or(gpm.pcie_rx),
        },
        nvlink: Throughput {
            tx: nvlink_tx.or(gpm.nvlink_tx),
            rx: nvlink_rx.or(gpm.nvlink_rx),
        },
        memory: memory(device, uuid, calls),
        power_mw: calls.ask(uuid, "nvmlDeviceGetPowerUsage", || device.power_usage()),
        energy_mj,
        average_power_w,
        power_range_w: power_range.map(|(low, high)| (low / 1e3, high / 1e3)),
        power_sensors,
        temperature_c: temperature(device, uuid, calls),
        memory_temperature_c: memory_temperature.and_then(Value::small),
        margin_c: calls.ask(uuid, "nvmlDeviceGetMarginTemperature", || margin(device)),
        clock_reasons: throttle::reasons(device, uuid, calls),
        throttled,
        clocks: clocks(device, uuid, calls),
        p_state: calls
            .ask(uuid, "nvmlDeviceGetPerformanceState", || {
                device.performance_state()
            })
            .and_then(p_state),
    }
}

/// No board draws nothing: a counter that stood still was not refreshed yet.
fn average_power_w(energy: &mut Rate, energy_mj: Option<u64>, now: Instant) -> Option<f64> {
    let mj_per_second = energy.per_second(energy_mj.map(|mj| mj as f64), now)?;
    (mj_per_second > 0.0).then_some(mj_per_second / 1e3)
}

fn memory(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Memory {
    let v2 = calls.ask(uuid, "nvmlDeviceGetMemoryInfo_v2", || device.memory_info());
    if let Some(info) = v2 {
        return split(info.total, info.free, info.used, Some(info.reserved));
    }
    calls
        .ask(uuid, "nvmlDeviceGetMemoryInfo", || memory_v1(device))
        .map(|info| split(info.total, info.free, info.used, None))
        .unwrap_or_default()
}

/// The memory of a MIG instance: of what may go at any time, nothing is remembered.
pub fn memory_once(device: &Device<'_>) -> Memory {
    match (device.memory_info(), memory_v1(device)) {
        (Ok(info), _) => split(info.total, info.free, info.used, Some(info.reserved)),
        (Err(_), Ok(info)) => split(info.total, info.free, info.used, None),
        _ => Memory::default(),
    }
}

/// Makes `used` exclude `reserved`, which drivers handle differently, and `u64::MAX`
/// (`NVML_VALUE_NOT_AVAILABLE`) an unknown.
fn split(total: u64, free: u64, used: u64, reserved: Option<u64>) -> Memory {
    let known = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
    let reserved = reserved.and_then(known);
    let contains_reserved = known(free)
        .zip(known(used))
        .zip(known(total))
        .is_some_and(|((free, used), total)| free.saturating_add(used) >= total);
    let used = known(used).map(|used| match reserved {
        Some(reserved) if contains_reserved => used.saturating_sub(reserved),
        _ => used,
    });
    Memory {
        free_bytes: known(free),
        used_bytes: used,
        reserved_bytes: reserved,
    }
}

fn memory_v1(device: &Device<'_>) -> Result<nvmlMemory_t, NvmlError> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetMemoryInfo.as_ref())?;
    let mut info = nvmlMemory_t {
        total: 0,
        free: 0,
        used: 0,
    };
    // SAFETY: the handle comes from this library, still initialised; `info` is a live nvmlMemory_t.
    nvml_try(unsafe { call(device.handle(), &mut info) })?;
    Ok(info)
}

fn temperature(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Option<i32> {
    // CUDA 13 deprecates the older call, drivers before 570 lack the newer one.
    let newer = calls.ask(uuid, "nvmlDeviceGetTemperatureV", || temperature_v1(device));
    if newer.is_some() {
        return newer;
    }
    calls
        .ask(uuid, "nvmlDeviceGetTemperature", || {
            device.temperature(TemperatureSensor::Gpu)
        })
        .and_then(|celsius| i32::try_from(celsius).ok())
}

fn temperature_v1(device: &Device<'_>) -> Result<i32, NvmlError> {
    /// The structure's size with version 1 in the top byte, as nvml.h's NVML_STRUCT_VERSION.
    const VERSION: u32 = size_of::<nvmlTemperature_t>() as u32 | (1 << 24);
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetTemperatureV.as_ref())?;
    let mut reading = nvmlTemperature_t {
        version: VERSION,
        sensorType: nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU,
        temperature: 0,
    };
    // SAFETY: as above; `reading` says its own size and version.
    nvml_try(unsafe { call(device.handle(), &mut reading) })?;
    Ok(reading.temperature)
}

fn margin(device: &Device<'_>) -> Result<i32, NvmlError> {
    const VERSION: u32 = size_of::<nvmlMarginTemperature_t>() as u32 | (1 << 24);
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetMarginTemperature.as_ref())?;
    let mut reading = nvmlMarginTemperature_t {
        version: VERSION,
        marginTemperature: 0,
    };
    // SAFETY: as above; `reading` says its own size and version.
    nvml_try(unsafe { call(device.handle(), &mut reading) })?;
    Ok(reading.marginTemperature)
}

fn clocks(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Clocks {
    let mut clock = |call, kind| calls.ask(uuid, call, || device.clock_info(kind));
    Clocks {
        graphics_mhz: clock("nvmlDeviceGetClockInfo(graphics)", Clock::Graphics),
        sm_mhz: clock("nvmlDeviceGetClockInfo(sm)", Clock::SM),
        mem_mhz: clock("nvmlDeviceGetClockInfo(mem)", Clock::Memory),
        video_mhz: clock("nvmlDeviceGetClockInfo(video)", Clock::Video),
    }
}

fn p_state(state: PerformanceState) -> Option<u8> {
    u8::try_from(state.as_c()).ok().filter(|state| *state <= 15)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn used_excludes_reserved_whichever_way_the_driver_counts() {
        let expected = Memory {
            free_bytes: Some(90 * GIB),
            used_bytes: Some(49 * GIB),
            reserved_bytes: Some(GIB),
        };
        assert_eq!(split(140 * GIB, 90 * GIB, 49 * GIB, Some(GIB)), expected);
        assert_eq!(split(140 * GIB, 90 * GIB, 50 * GIB, Some(GIB)), expected);
    }

    #[test]
    fn memory_of_the_largest_number_is_unknown() {
        let memory = split(140 * GIB, u64::MAX, u64::MAX, Some(u64::MAX));
        assert_eq!(memory, Memory::default());
    }

    #[test]
    fn an_older_driver_tells_nothing_about_reserved_memory() {
        let memory = split(140 * GIB, 90 * GIB, 50 * GIB, None);
        assert_eq!(memory.used_bytes, Some(50 * GIB));
        assert_eq!(memory.reserved_bytes, None);
    }

    #[test]
    fn average_power_is_the_counters_gain_and_a_gap_where_it_stood_still_or_went_back() {
        let (mut energy, start) = (Rate::default(), Instant::now());
        let mut at =
            |second, mj| average_power_w(&mut energy, mj, start + Duration::from_secs(second));
        assert_eq!(at(0, Some(1_000_000)), None);
        assert_eq!(at(2, Some(1_900_000)), Some(450.0));
        assert_eq!(at(3, Some(1_900_000)), None);
        assert_eq!(at(4, Some(10)), None);
        assert_eq!(at(5, Some(100_010)), Some(100.0));
    }

    #[test]
    fn an_unknown_p_state_is_a_gap() {
        assert_eq!(p_state(PerformanceState::Zero), Some(0));
        assert_eq!(p_state(PerformanceState::Fifteen), Some(15));
        assert_eq!(p_state(PerformanceState::Unknown), None);
    }
}
