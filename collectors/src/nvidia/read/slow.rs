//! The readings of every ten seconds: what hardly moves, and the fan, which takes 137 µs a call.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::TemperatureThreshold;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlReturn_t};

use super::calls::Calls;
use crate::nvidia::snapshot::{HeatLimits, PcieLink, Slow};

/// Reads all of it.
pub fn read(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Slow {
    let bar1 = calls.ask(uuid, "nvmlDeviceGetBAR1MemoryInfo", || {
        device.bar1_memory_info()
    });
    let known = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
    let mut threshold = |call, kind| {
        let degrees = calls.ask(uuid, call, || device.temperature_threshold(kind));
        degrees.and_then(|degrees| i32::try_from(degrees).ok())
    };
    let limits = HeatLimits {
        slowdown_c: threshold(
            "nvmlDeviceGetTemperatureThreshold(slowdown)",
            TemperatureThreshold::Slowdown,
        ),
        shutdown_c: threshold(
            "nvmlDeviceGetTemperatureThreshold(shutdown)",
            TemperatureThreshold::Shutdown,
        ),
        gpu_max_c: threshold(
            "nvmlDeviceGetTemperatureThreshold(gpu)",
            TemperatureThreshold::GpuMax,
        ),
        memory_max_c: threshold(
            "nvmlDeviceGetTemperatureThreshold(memory)",
            TemperatureThreshold::MemoryMax,
        ),
    };
    Slow {
        power_limit_mw: calls.ask(uuid, "nvmlDeviceGetEnforcedPowerLimit", || {
            device.enforced_power_limit()
        }),
        limits,
        compute_mode: calls.ask(uuid, "nvmlDeviceGetComputeMode", || {
            device.compute_mode().map(|mode| mode.as_c())
        }),
        jpeg_pct: engine(device, uuid, calls, "nvmlDeviceGetJpgUtilization", |lib| {
            nvml_sym(lib.nvmlDeviceGetJpgUtilization.as_ref()).copied()
        }),
        ofa_pct: engine(device, uuid, calls, "nvmlDeviceGetOfaUtilization", |lib| {
            nvml_sym(lib.nvmlDeviceGetOfaUtilization.as_ref()).copied()
        }),
        fan_pct: calls.ask(uuid, "nvmlDeviceGetFanSpeed_v2", || device.fan_speed(0)),
        bar1_free_bytes: bar1.as_ref().and_then(|bar1| known(bar1.free)),
        bar1_used_bytes: bar1.as_ref().and_then(|bar1| known(bar1.used)),
        pcie: PcieLink {
            generation: calls.ask(uuid, "nvmlDeviceGetCurrPcieLinkGeneration", || {
                device.current_pcie_link_gen()
            }),
            max_generation: calls.ask(uuid, "nvmlDeviceGetMaxPcieLinkGeneration", || {
                device.max_pcie_link_gen()
            }),
            width: calls.ask(uuid, "nvmlDeviceGetCurrPcieLinkWidth", || {
                device.current_pcie_link_width()
            }),
            max_width: calls.ask(uuid, "nvmlDeviceGetMaxPcieLinkWidth", || {
                device.max_pcie_link_width()
            }),
        },
    }
}

/// A call that says how busy an engine is, and over how many microseconds that was measured.
type EngineCall = unsafe extern "C" fn(nvmlDevice_t, *mut u32, *mut u32) -> nvmlReturn_t;

fn engine(
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    name: &'static str,
    find: impl FnOnce(&NvmlLib) -> Result<EngineCall, NvmlError>,
) -> Option<u32> {
    calls.ask(uuid, name, || {
        let call = find(device.nvml().lib())?;
        let (mut percent, mut period_us) = (0, 0);
        // SAFETY: the handle comes from this library, still initialised; both integers are live.
        nvml_try(unsafe { call(device.handle(), &mut percent, &mut period_us) })?;
        Ok(percent)
    })
}
