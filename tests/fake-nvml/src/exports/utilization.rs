//! Utilisation of the GPU's engines, percent.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Answer, Out};
use crate::gpu::GpuNow;
use crate::signal::Signal;

/// Over how long the engines' utilisation is measured, µs.
const PERIOD_US: c_uint = 167_000;

fn engine(
    gpu: &GpuNow<'_>,
    reading: Option<&Signal>,
    percent: Out<c_uint>,
    period_us: Out<c_uint>,
) -> Answer {
    percent.put(gpu.percent(reading)?)?;
    period_us.put(PERIOD_US)
}

device_calls! {
    fn nvmlDeviceGetUtilizationRates(gpu, rates: Out<sys::nvmlUtilization_t>) {
        let readings = &gpu.gpu.model.readings;
        rates.put(sys::nvmlUtilization_t {
            gpu: gpu.percent(readings.gpu_utilization.as_ref())?,
            memory: gpu.percent(readings.memory_utilization.as_ref())?,
        })
    }

    fn nvmlDeviceGetEncoderUtilization(gpu, percent: Out<c_uint>, period_us: Out<c_uint>) {
        engine(gpu, gpu.gpu.model.readings.encoder_utilization.as_ref(), percent, period_us)
    }

    fn nvmlDeviceGetDecoderUtilization(gpu, percent: Out<c_uint>, period_us: Out<c_uint>) {
        engine(gpu, gpu.gpu.model.readings.decoder_utilization.as_ref(), percent, period_us)
    }

    fn nvmlDeviceGetJpgUtilization(gpu, percent: Out<c_uint>, period_us: Out<c_uint>) {
        engine(gpu, gpu.gpu.model.readings.jpeg_utilization.as_ref(), percent, period_us)
    }

    fn nvmlDeviceGetOfaUtilization(gpu, percent: Out<c_uint>, period_us: Out<c_uint>) {
        engine(gpu, gpu.gpu.model.readings.ofa_utilization.as_ref(), percent, period_us)
    }
}
