//! Temperatures in degrees Celsius, their thresholds, and fans.

use std::ffi::{c_int, c_uint};

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};

fn temperature(gpu: &GpuNow<'_>, sensor: c_uint) -> Result<c_uint, Code> {
    if sensor != sys::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU {
        return Err(INVALID_ARGUMENT);
    }
    gpu.count(gpu.gpu.model.readings.temperature_c.as_ref())
}

fn fan(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    gpu.percent(gpu.gpu.model.readings.fan_percent.as_ref())
}

/// How many degrees are left until the GPU slows down.
pub fn margin(gpu: &GpuNow<'_>) -> Result<c_int, Code> {
    let slowdown = supported(gpu.gpu.model.temperature_thresholds_c.slowdown)?;
    let now = temperature(gpu, sys::nvmlTemperatureSensors_enum_NVML_TEMPERATURE_GPU)?;
    Ok(slowdown as c_int - now as c_int)
}

device_calls! {
    fn nvmlDeviceGetTemperature(gpu, sensor: c_uint, degrees: Out<c_uint>) {
        degrees.put(temperature(gpu, sensor)?)
    }

    fn nvmlDeviceGetTemperatureV(gpu, reading: Out<sys::nvmlTemperature_t>) {
        reading.versioned(|reading| {
            reading.temperature = temperature(gpu, reading.sensorType)? as c_int;
            Ok(())
        })
    }

    fn nvmlDeviceGetMarginTemperature(gpu, reading: Out<sys::nvmlMarginTemperature_t>) {
        reading.versioned(|reading| {
            reading.marginTemperature = margin(gpu)?;
            Ok(())
        })
    }

    fn nvmlDeviceGetTemperatureThreshold(gpu, kind: c_uint, degrees: Out<c_uint>) {
        let thresholds = &gpu.gpu.model.temperature_thresholds_c;
        let threshold = match kind {
            0 => thresholds.shutdown,
            1 => thresholds.slowdown,
            2 => thresholds.memory_max,
            3 => thresholds.gpu_max,
            4..=7 => None,
            _ => return Err(INVALID_ARGUMENT),
        };
        degrees.put(supported(threshold)?)
    }

    fn nvmlDeviceGetFanSpeed(gpu, percent: Out<c_uint>) {
        percent.put(fan(gpu)?)
    }

    fn nvmlDeviceGetFanSpeed_v2(gpu, index: c_uint, percent: Out<c_uint>) {
        let speed = fan(gpu)?;
        if index != 0 {
            return Err(INVALID_ARGUMENT);
        }
        percent.put(speed)
    }

    fn nvmlDeviceGetNumFans(gpu, count: Out<c_uint>) {
        match fan(gpu) {
            Err(NOT_SUPPORTED) => count.put(0),
            fan => {
                fan?;
                count.put(1)
            }
        }
    }
}
