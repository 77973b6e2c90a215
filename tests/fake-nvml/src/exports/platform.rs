//! What is around a GPU: a fabric of GPUs, a CPU on the same module, confidential computing.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Code, INVALID_ARGUMENT, Out};
use crate::gpu::{GpuNow, supported};
use crate::parts::{C2c, Fabric};

fn fabric<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a Fabric, Code> {
    supported(gpu.gpu.model.fabric.as_ref())
}

fn fabric_state(gpu: &GpuNow<'_>) -> Result<u8, Code> {
    Ok(gpu.whole(&fabric(gpu)?.state) as u8)
}

/// Its links to the CPU.
pub fn c2c<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a C2c, Code> {
    supported(gpu.gpu.model.c2c.as_ref())
}

/// 1 if that link works.
pub fn c2c_up(gpu: &GpuNow<'_>, link: c_uint) -> Result<c_uint, Code> {
    let c2c = c2c(gpu)?;
    if link >= c2c.links {
        return Err(INVALID_ARGUMENT);
    }
    let up = c2c
        .up
        .as_ref()
        .map_or(c2c.links, |up| gpu.whole(up) as c_uint);
    Ok((link < up).into())
}

device_calls! {
    fn nvmlDeviceGetGpuFabricInfo(gpu, info: Out<sys::nvmlGpuFabricInfo_t>) {
        info.put(sys::nvmlGpuFabricInfo_t {
            clusterUuid: [0; 16],
            status: 0,
            cliqueId: 1,
            state: fabric_state(gpu)?,
        })
    }

    /// Version 2 of the structure; a later one is a mismatch, as with drivers that do not know it.
    fn nvmlDeviceGetGpuFabricInfoV(gpu, info: Out<sys::nvmlGpuFabricInfo_v2_t>) {
        info.versioned(|info| {
            info.state = fabric_state(gpu)?;
            let health = fabric(gpu)?.health.as_ref();
            info.healthMask = health.map_or(0, |health| gpu.whole(health) as c_uint);
            (info.clusterUuid, info.status, info.cliqueId) = ([0; 16], 0, 1);
            Ok(())
        })
    }

    fn nvmlDeviceGetC2cModeInfoV(gpu, info: Out<sys::nvmlC2cModeInfo_v1_t>) {
        info.put(sys::nvmlC2cModeInfo_v1_t {
            isC2cEnabled: gpu.gpu.model.c2c.is_some().into(),
        })
    }

    fn nvmlDeviceGetRepairStatus(_gpu, status: Out<sys::nvmlRepairStatus_t>) {
        status.versioned(|status| {
            (status.bChannelRepairPending, status.bTpcRepairPending) = (0, 0);
            Ok(())
        })
    }
}

system_calls! {
    fn nvmlSystemGetConfComputeState(machine, state: Out<sys::nvmlConfComputeSystemState_t>) {
        let on = supported(machine.confidential_compute)?;
        state.put(sys::nvmlConfComputeSystemState_t {
            environment: on.into(),
            ccFeature: on.into(),
            devToolsMode: 0,
        })
    }
}
