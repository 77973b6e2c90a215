//! Performance monitoring: samples, and metrics as averages between two of them.

use std::collections::BTreeMap;
use std::ffi::c_uint;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nvml_wrapper_sys::bindings as sys;

use super::nvlink;
use crate::ffi::{Answer, Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out, VERSION_MISMATCH};
use crate::gpu::{GpuNow, supported};
use crate::machine::Machine;
use crate::parts::Activity;
use crate::record::Token;
use crate::signal::Signal;

/// An `nvmlGpmSample_t`, a number that is never used again.
type Handle = usize;

/// What was sampled, and when: a GPU by UUID, the number of an instance, Unix seconds.
#[derive(Clone, PartialEq)]
struct Sample {
    uuid: String,
    instance: Option<c_uint>,
    at_s: f64,
}

type Samples = (Handle, BTreeMap<Handle, Option<Sample>>);

static SAMPLES: Mutex<Samples> = Mutex::new((0, BTreeMap::new()));

fn samples() -> MutexGuard<'static, Samples> {
    SAMPLES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn activity<'a>(gpu: &'a GpuNow<'_>, instance: Option<c_uint>) -> Result<&'a Activity, Code> {
    let own = gpu.gpu.model.readings.activity.as_ref();
    let Some(number) = instance else {
        return supported(own);
    };
    let parts = gpu.gpu.mig.as_deref().unwrap_or_default();
    let part = parts.iter().find(|part| part.gpu_instance == number);
    supported(part.ok_or(INVALID_ARGUMENT)?.activity.as_ref().or(own))
}

fn take(gpu: &GpuNow<'_>, instance: Option<c_uint>, sample: Handle) -> Answer {
    match (&gpu.machine.record, instance) {
        (None, _) => drop(activity(gpu, instance)?),
        (Some(record), None) => {
            record.at(&gpu.key(), "nvmlGpmSampleGet", &[], gpu.now_s)?;
        }
        (Some(record), Some(id)) => {
            record.at(&gpu.key(), "nvmlGpmMigSampleGet", &[id.into()], gpu.now_s)?;
        }
    }
    let mut samples = samples();
    *samples.1.get_mut(&sample).ok_or(INVALID_ARGUMENT)? = Some(Sample {
        uuid: gpu.gpu.uuid.clone(),
        instance,
        at_s: gpu.now_s,
    });
    Ok(())
}

fn metric(gpu: &GpuNow<'_>, id: c_uint, from: &Sample, to: &Sample) -> Result<f64, Code> {
    if let Some(record) = &gpu.machine.record {
        let asked: Vec<_> = [Some(id), from.instance]
            .into_iter()
            .flatten()
            .map(u64::from)
            .collect();
        let recorded = record.at(&gpu.key(), "nvmlGpmMetricsGet", &asked, to.at_s)?;
        return match recorded.values.first() {
            Some(Token::Float(value)) => Ok(*value),
            _ => Err(NOT_SUPPORTED),
        };
    }
    let activity = activity(gpu, from.instance)?;
    let readings = &gpu.gpu.model.readings;
    let average = |signal: &Signal| gpu.average(signal, from.at_s, to.at_s);
    let mib =
        |signal: &Option<Signal>| Ok(average(supported(signal.as_ref())?) * 1e6 / 1_048_576.0);
    match id {
        1 | 2 => Ok(average(&activity.sm)),
        3 => Ok(average(&activity.occupancy)),
        5 => Ok(average(&activity.tensor)),
        10 => Ok(average(&activity.dram)),
        20 => mib(&readings.pcie_tx_mb_s),
        21 => mib(&readings.pcie_rx_mb_s),
        60 => nvlink::average_mib_s(gpu, false, from.at_s, to.at_s),
        61 => nvlink::average_mib_s(gpu, true, from.at_s, to.at_s),
        _ => Err(NOT_SUPPORTED),
    }
}

fn compare(machine: &Machine, request: &mut sys::nvmlGpmMetricsGet_t) -> Answer {
    if request.version != sys::NVML_GPM_METRICS_GET_VERSION {
        return Err(VERSION_MISMATCH);
    }
    let sample = |handle: sys::nvmlGpmSample_t| {
        let samples = samples();
        let sample = samples.1.get(&(handle as usize)).cloned();
        sample.flatten().ok_or(INVALID_ARGUMENT)
    };
    let (from, to) = (sample(request.sample1)?, sample(request.sample2)?);
    if from.uuid != to.uuid || from.instance != to.instance || from.at_s >= to.at_s {
        return Err(INVALID_ARGUMENT);
    }
    let gpu = machine.gpus.iter().find(|gpu| gpu.uuid == from.uuid);
    let gpu = GpuNow {
        machine,
        gpu: gpu.ok_or(crate::ffi::GPU_IS_LOST)?,
        instance: None,
        now_s: to.at_s,
    };
    let count = request.numMetrics as usize;
    for asked in request.metrics.get_mut(..count).ok_or(INVALID_ARGUMENT)? {
        match metric(&gpu, asked.metricId, &from, &to) {
            Ok(value) => (asked.nvmlReturn, asked.value) = (0, value),
            Err(Code(code)) => asked.nvmlReturn = code,
        }
    }
    Ok(())
}

system_calls! {
    fn nvmlGpmSampleAlloc(_machine, sample: Out<Handle>) {
        let mut samples = samples();
        samples.0 += 1;
        let handle = samples.0;
        samples.1.insert(handle, None);
        sample.put(handle)
    }

    fn nvmlGpmSampleFree(_machine, sample: Handle) {
        samples().1.remove(&sample).map(|_| ()).ok_or(INVALID_ARGUMENT)
    }

    fn nvmlGpmMetricsGet(machine, request: Out<sys::nvmlGpmMetricsGet_t>) {
        request.change(|request| compare(machine, request))?
    }
}

device_calls! {
    fn nvmlGpmQueryDeviceSupport(gpu, support: Out<sys::nvmlGpmSupport_t>) {
        support.change(|support| {
            if support.version != sys::NVML_GPM_SUPPORT_VERSION {
                return Err(VERSION_MISMATCH);
            }
            support.isSupportedDevice = gpu.gpu.model.readings.activity.is_some().into();
            Ok(())
        })?
    }

    fn nvmlGpmSampleGet(gpu, sample: Handle) {
        take(gpu, None, sample)
    }

    fn nvmlGpmMigSampleGet(gpu, instance: c_uint, sample: Handle) {
        take(gpu, Some(instance), sample)
    }
}
