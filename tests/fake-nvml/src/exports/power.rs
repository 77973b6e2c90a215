//! Power in mW and energy in mJ.

use std::ffi::c_uint;

use crate::ffi::{Code, Out};
use crate::gpu::{GpuNow, supported};
use crate::scenario::PowerLimit;

fn limit_mw(gpu: &GpuNow<'_>, pick: impl Fn(&PowerLimit) -> f64) -> Result<c_uint, Code> {
    let limit = supported(gpu.gpu.model.power_limit_w.as_ref())?;
    Ok((pick(limit) * 1000.0).round() as c_uint)
}

/// The limit in force, mW.
pub fn current_limit_mw(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    limit_mw(gpu, |limit| limit.current.unwrap_or(limit.default))
}

/// The limit after a boot, mW.
pub fn default_limit_mw(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    limit_mw(gpu, |limit| limit.default)
}

/// The lowest and the highest limit that can be set, mW.
pub fn limit_range_mw(gpu: &GpuNow<'_>) -> Result<(c_uint, c_uint), Code> {
    Ok((
        limit_mw(gpu, |limit| limit.min)?,
        limit_mw(gpu, |limit| limit.max)?,
    ))
}

device_calls! {
    fn nvmlDeviceGetPowerUsage(gpu, power: Out<c_uint>) {
        power.put(gpu.power_mw()?)
    }

    fn nvmlDeviceGetTotalEnergyConsumption(gpu, energy: Out<u64>) {
        energy.put(gpu.energy_mj()?)
    }

    fn nvmlDeviceGetPowerManagementMode(gpu, mode: Out<c_uint>) {
        current_limit_mw(gpu)?;
        mode.put(1)
    }

    fn nvmlDeviceGetPowerManagementLimit(gpu, limit: Out<c_uint>) {
        limit.put(current_limit_mw(gpu)?)
    }

    fn nvmlDeviceGetEnforcedPowerLimit(gpu, limit: Out<c_uint>) {
        limit.put(current_limit_mw(gpu)?)
    }

    fn nvmlDeviceGetPowerManagementDefaultLimit(gpu, limit: Out<c_uint>) {
        limit.put(default_limit_mw(gpu)?)
    }

    fn nvmlDeviceGetPowerManagementLimitConstraints(gpu, min: Out<c_uint>, max: Out<c_uint>) {
        let (lowest, highest) = limit_range_mw(gpu)?;
        min.put(lowest)?;
        max.put(highest)
    }
}
