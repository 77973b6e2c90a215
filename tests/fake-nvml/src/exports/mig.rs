//! MIG: the mode, and the instances' handles.

use std::ffi::c_uint;

use crate::ffi::{Answer, Code, INVALID_ARGUMENT, NOT_FOUND, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};
use crate::machine::Gpu;
use crate::parts::MigInstance;
use crate::session::{self, Device};

/// Instances a capable GPU can have.
const MOST: c_uint = 7;

fn capable(gpu: &Gpu) -> Answer {
    if gpu.model.mig_capable || gpu.mig.is_some() {
        Ok(())
    } else {
        Err(NOT_SUPPORTED)
    }
}

fn part<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a MigInstance, Code> {
    gpu.instance.ok_or(INVALID_ARGUMENT)
}

device_calls! {
    fn nvmlDeviceIsMigDeviceHandle(gpu, is_mig: Out<c_uint>) {
        is_mig.put(gpu.instance.is_some().into())
    }

    fn nvmlDeviceGetMigMode(gpu, current: Out<c_uint>, pending: Out<c_uint>) {
        capable(gpu.gpu)?;
        current.put(gpu.gpu.mig.is_some().into())?;
        pending.put(gpu.gpu.mig.is_some().into())
    }

    fn nvmlDeviceGetMaxMigDeviceCount(gpu, count: Out<c_uint>) {
        count.put(capable(gpu.gpu).map_or(0, |()| MOST))
    }

    fn nvmlDeviceGetMigDeviceHandleByIndex(gpu, index: c_uint, handle: Out<Device>) {
        capable(gpu.gpu)?;
        let instances = gpu.gpu.mig.as_deref().unwrap_or_default();
        let part = instances.get(index as usize).ok_or(NOT_FOUND)?;
        handle.put(session::handle(&part.uuid))
    }

    fn nvmlDeviceGetGpuInstanceId(gpu, id: Out<c_uint>) {
        id.put(part(gpu)?.gpu_instance)
    }

    fn nvmlDeviceGetComputeInstanceId(gpu, id: Out<c_uint>) {
        id.put(part(gpu)?.compute_instance)
    }

    fn nvmlDeviceGetDeviceHandleFromMigDeviceHandle(gpu, handle: Out<Device>) {
        supported(gpu.instance)?;
        handle.put(session::handle(&gpu.gpu.uuid))
    }
}
