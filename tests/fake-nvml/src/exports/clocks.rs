//! Clocks in MHz, performance states and what holds the clocks down.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};
use crate::scenario::Clocks;

/// Every `nvmlClocksEventReason*` bit but the display's.
const KNOWN_REASONS: u64 = 0x1ff;
/// `nvmlClockId_t`: as it is now, and the highest.
const CURRENT: c_uint = 0;
const CUSTOMER_BOOST_MAX: c_uint = 3;

/// The member of a clock domain, `nvmlClockType_t`.
fn domain<T>(clocks: &Clocks<T>, domain: c_uint) -> Result<&T, Code> {
    match domain {
        0 => Ok(&clocks.graphics),
        1 => Ok(&clocks.sm),
        2 => Ok(&clocks.memory),
        3 => Ok(&clocks.video),
        _ => Err(INVALID_ARGUMENT),
    }
}

fn now(gpu: &GpuNow<'_>, kind: c_uint) -> Result<c_uint, Code> {
    let clocks = supported(gpu.gpu.model.readings.clocks_mhz.as_ref())?;
    gpu.count(Some(domain(clocks, kind)?))
}

fn highest(gpu: &GpuNow<'_>, kind: c_uint) -> Result<c_uint, Code> {
    domain(supported(gpu.gpu.model.max_clocks_mhz.as_ref())?, kind).copied()
}

fn reasons(gpu: &GpuNow<'_>) -> Result<u64, Code> {
    Ok(gpu.whole(supported(
        gpu.gpu.model.readings.clock_event_reasons.as_ref(),
    )?))
}

/// For how long since the driver was loaded one of the reasons in `mask` was there, ns.
pub fn held_down_ns(gpu: &GpuNow<'_>, mask: u64) -> Result<u64, Code> {
    let reasons = supported(gpu.gpu.model.readings.clock_event_reasons.as_ref())?;
    Ok((gpu.since_loaded(&supported(reasons.any_bit(mask))?) * 1e9) as u64)
}

fn state(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    gpu.count(gpu.gpu.model.readings.performance_state.as_ref())
}

device_calls! {
    fn nvmlDeviceGetClockInfo(gpu, kind: c_uint, mhz: Out<c_uint>) {
        mhz.put(now(gpu, kind)?)
    }

    fn nvmlDeviceGetMaxClockInfo(gpu, kind: c_uint, mhz: Out<c_uint>) {
        mhz.put(highest(gpu, kind)?)
    }

    fn nvmlDeviceGetMaxCustomerBoostClock(gpu, kind: c_uint, mhz: Out<c_uint>) {
        mhz.put(highest(gpu, kind)?)
    }

    fn nvmlDeviceGetClock(gpu, kind: c_uint, id: c_uint, mhz: Out<c_uint>) {
        match id {
            CURRENT => mhz.put(now(gpu, kind)?),
            1..=CUSTOMER_BOOST_MAX => mhz.put(highest(gpu, kind)?),
            _ => Err(INVALID_ARGUMENT),
        }
    }

    fn nvmlDeviceGetApplicationsClock(gpu, kind: c_uint, mhz: Out<c_uint>) {
        mhz.put(highest(gpu, kind)?)
    }

    fn nvmlDeviceGetDefaultApplicationsClock(gpu, kind: c_uint, mhz: Out<c_uint>) {
        mhz.put(highest(gpu, kind)?)
    }

    fn nvmlDeviceGetViolationStatus(
        gpu,
        policy: c_uint,
        time: Out<sys::nvmlViolationTime_t>,
    ) {
        let mask = match policy {
            0 => 0x04,
            1 => 0x60,
            2 => 0x10,
            3..=5 | 10 | 11 => return Err(NOT_SUPPORTED),
            _ => return Err(INVALID_ARGUMENT),
        };
        time.put(sys::nvmlViolationTime_t {
            referenceTime: (gpu.now_s * 1e6) as u64,
            violationTime: held_down_ns(gpu, mask)?,
        })
    }

    fn nvmlDeviceGetPerformanceState(gpu, number: Out<c_uint>) {
        number.put(state(gpu)?)
    }

    fn nvmlDeviceGetPowerState(gpu, number: Out<c_uint>) {
        number.put(state(gpu)?)
    }

    fn nvmlDeviceGetCurrentClocksEventReasons(gpu, mask: Out<u64>) {
        mask.put(reasons(gpu)?)
    }

    fn nvmlDeviceGetCurrentClocksThrottleReasons(gpu, mask: Out<u64>) {
        mask.put(reasons(gpu)?)
    }

    fn nvmlDeviceGetSupportedClocksEventReasons(gpu, mask: Out<u64>) {
        reasons(gpu)?;
        mask.put(KNOWN_REASONS)
    }

    fn nvmlDeviceGetSupportedClocksThrottleReasons(gpu, mask: Out<u64>) {
        reasons(gpu)?;
        mask.put(KNOWN_REASONS)
    }
}
