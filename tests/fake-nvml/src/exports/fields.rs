//! Field values. Ids 251 to 273 have two numberings, before driver 580.82 and since; inside this
//! library the newer one is used.

use std::ffi::{c_int, c_uint};

use nvml_wrapper_sys::bindings as sys;

use super::{clocks, ecc, nvlink, pcie, platform, power};
use crate::ffi::{Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};

/// The first id that no header names.
const END: c_uint = 300;

enum Value {
    Unsigned(c_uint),
    Signed(c_int),
    Long(u64),
}

/// The number an id has since driver 580.82.
fn since_580_82(id: c_uint) -> c_uint {
    match id {
        251..=255 => id + 18,
        256..=273 => id - 5,
        _ => id,
    }
}

fn value(gpu: &GpuNow<'_>, id: c_uint, scope: c_uint) -> Result<Value, Code> {
    use Value::{Long, Signed, Unsigned};
    let model = &gpu.gpu.model;
    let readings = &model.readings;
    let thresholds = &model.temperature_thresholds_c;
    // T.Limit thresholds count down to the highest temperature of operation.
    let tlimit = |threshold: Option<u32>| -> Result<Value, Code> {
        Ok(Signed(
            supported(thresholds.gpu_max)? as c_int - supported(threshold)? as c_int,
        ))
    };
    Ok(match id {
        1 | 2 => ecc::ecc(gpu).map(|_| Unsigned(1))?,
        3 => Long(ecc::errors(gpu, 0, ecc::VOLATILE)?),
        4 => Long(ecc::errors(gpu, 1, ecc::VOLATILE)?),
        5 => Long(ecc::errors(gpu, 0, ecc::AGGREGATE)?),
        6 => Long(ecc::errors(gpu, 1, ecc::AGGREGATE)?),
        29 | 30 => Long(ecc::retired(gpu, id - 29)?),
        31 => Unsigned(ecc::retirement_pending(gpu)?),
        74 => Long(clocks::held_down_ns(gpu, 0x04)?),
        75 => Long(clocks::held_down_ns(gpu, 0x60)?),
        76 => Long(clocks::held_down_ns(gpu, 0x10)?),
        82 => Unsigned(gpu.count(readings.memory_temperature_c.as_ref())?),
        83 | 191 => Long(gpu.energy_mj()?),
        91 => Unsigned(nvlink::count(gpu)?),
        138 => Long(nvlink::kib(gpu, scope, true)?),
        139 => Long(nvlink::kib(gpu, scope, false)?),
        161..=163 => Long(nvlink::errors(gpu, scope, id - 161)?),
        202 => Long(nvlink::newer_bytes(gpu, scope, true)?),
        204 => Long(nvlink::newer_bytes(gpu, scope, false)?),
        94 => {
            let pcie = supported(model.pcie.as_ref())?;
            Unsigned(gpu.count(pcie.replays.as_ref())?)
        }
        142 => Unsigned(ecc::remapped(gpu)?.0),
        143 => Unsigned(ecc::remapped(gpu)?.1),
        144 => Unsigned(ecc::remap_state(gpu)?.0),
        145 => Unsigned(ecc::remap_state(gpu)?.1),
        170 => Unsigned(platform::c2c(gpu)?.links),
        171 => Unsigned(platform::c2c_up(gpu, scope)?),
        173..=182 => Long(pcie::errors(gpu, id)?),
        // Scope 0 is the board; the others are the module with its CPU, and the memory.
        186 if scope == 1 => Unsigned(gpu.milliwatts(readings.module_power_w.as_ref())?),
        186 if scope == 2 => Unsigned(gpu.milliwatts(readings.memory_power_w.as_ref())?),
        185..=192 if scope != 0 => return Err(NOT_SUPPORTED),
        185 => Unsigned(gpu.power_mw()?),
        186 => Unsigned(gpu.power_at_mw(gpu.now_s)?),
        187 => Unsigned(power::limit_range_mw(gpu)?.0),
        188 => Unsigned(power::limit_range_mw(gpu)?.1),
        189 => Unsigned(power::default_limit_mw(gpu)?),
        190 | 192 => Unsigned(power::current_limit_mw(gpu)?),
        193 => tlimit(thresholds.shutdown)?,
        194 => tlimit(thresholds.slowdown)?,
        195 => thresholds
            .memory_max
            .map(|_| Signed(0))
            .ok_or(NOT_SUPPORTED)?,
        196 => tlimit(thresholds.gpu_max)?,
        197 => Long(gpu.pcie_bytes(readings.pcie_tx_mb_s.as_ref())?),
        198 => Long(gpu.pcie_bytes(readings.pcie_rx_mb_s.as_ref())?),
        230 => Unsigned(gpu.count(readings.recovery_action.as_ref())?),
        269 => Long(clocks::held_down_ns(gpu, 0x20)?),
        270 => Long(clocks::held_down_ns(gpu, 0x40)?),
        271 => Long(clocks::held_down_ns(gpu, 0x80)?),
        0 | END.. => return Err(INVALID_ARGUMENT),
        _ => return Err(NOT_SUPPORTED),
    })
}

fn fill(gpu: &GpuNow<'_>, field: &mut sys::nvmlFieldValue_t) {
    let asked = field.fieldId;
    let id = if gpu.machine.renumbered_fields() {
        asked
    } else {
        since_580_82(asked)
    };
    field.timestamp = (gpu.now_s * 1e6) as i64;
    field.latencyUsec = 1;
    field.value = sys::nvmlValue_st { ullVal: 0 };
    let absent = gpu.gpu.model.absent.contains(&format!("field:{asked}"));
    let recorded = gpu.machine.record.as_ref().map(|record| {
        let asked = [asked.into(), field.scopeId.into()];
        record.at(&gpu.key(), "nvmlDeviceGetFieldValues", &asked, gpu.now_s)
    });
    if let Some(recorded) = recorded {
        field.nvmlReturn = recorded.map_or_else(
            |Code(code)| code,
            |recorded| {
                field.valueType = recorded.number(0).unwrap_or(0) as c_uint;
                field.value.ullVal = recorded.number(1).unwrap_or(0);
                0
            },
        );
        return;
    }
    let answer = if absent {
        Err(NOT_SUPPORTED)
    } else {
        value(gpu, id, field.scopeId)
    };
    (field.valueType, field.nvmlReturn) = match answer {
        Ok(Value::Unsigned(number)) => {
            field.value.uiVal = number;
            (1, 0)
        }
        Ok(Value::Long(number)) => {
            field.value.ullVal = number;
            (3, 0)
        }
        Ok(Value::Signed(number)) => {
            field.value.siVal = number;
            (5, 0)
        }
        Err(Code(code)) => (1, code),
    };
}

device_calls! {
    fn nvmlDeviceGetFieldValues(gpu, count: c_int, fields: Out<sys::nvmlFieldValue_t>) {
        let count = usize::try_from(count).map_err(|_| INVALID_ARGUMENT)?;
        if count == 0 {
            return Err(INVALID_ARGUMENT);
        }
        let mut fields = fields;
        for field in fields.slice(count)? {
            fill(gpu, field);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_numberings_of_ids_are_a_permutation() {
        let mut ids: Vec<c_uint> = (251..=273).map(since_580_82).collect();
        assert_eq!((ids[0], ids[4], ids[5], ids[22]), (269, 273, 251, 268));
        ids.sort_unstable();
        assert_eq!(ids, (251..=273).collect::<Vec<_>>());
    }
}
