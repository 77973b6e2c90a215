//! How many GPUs there are, and their handles.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::call;
use crate::ffi::{Answer, INVALID_ARGUMENT, NOT_FOUND, Out, Text};
use crate::machine::{Gpu, Machine, PciAddress};
use crate::session::{self, Device};

/// Hands out the handle of the GPU that `wanted` picks.
fn by(machine: &Machine, handle: Out<Device>, wanted: impl Fn(&Gpu) -> bool) -> Answer {
    let gpu = machine
        .gpus
        .iter()
        .find(|gpu| wanted(gpu))
        .ok_or(NOT_FOUND)?;
    handle.put(session::handle(&gpu.uuid))
}

fn by_index(machine: &Machine, index: c_uint, handle: Out<Device>) -> Answer {
    let gpu = machine.gpus.get(index as usize).ok_or(INVALID_ARGUMENT)?;
    call::strike_one("nvmlDeviceGetHandleByIndex_v2", machine, index as usize)?;
    handle.put(session::handle(&gpu.uuid))
}

fn by_pci(machine: &Machine, bus_id: &Text, handle: Out<Device>) -> Answer {
    let address = PciAddress::parse(bus_id.get()?).ok_or(INVALID_ARGUMENT)?;
    by(machine, handle, |gpu| gpu.pci == address)
}

system_calls! {
    fn nvmlDeviceGetCount(machine, count: Out<c_uint>) {
        count.put(machine.gpus.len() as c_uint)
    }

    fn nvmlDeviceGetCount_v2(machine, count: Out<c_uint>) {
        count.put(machine.gpus.len() as c_uint)
    }

    fn nvmlDeviceGetHandleByIndex(machine, index: c_uint, handle: Out<Device>) {
        by_index(machine, index, handle)
    }

    fn nvmlDeviceGetHandleByIndex_v2(machine, index: c_uint, handle: Out<Device>) {
        by_index(machine, index, handle)
    }

    fn nvmlDeviceGetHandleByUUID(machine, uuid: Text, handle: Out<Device>) {
        let uuid = uuid.get()?;
        by(machine, handle, |gpu| gpu.uuid == uuid)
    }

    fn nvmlDeviceGetHandleBySerial(machine, serial: Text, handle: Out<Device>) {
        let serial = serial.get()?;
        by(machine, handle, |gpu| gpu.serial.as_deref() == Some(serial))
    }

    fn nvmlDeviceGetHandleByPciBusId(machine, bus_id: Text, handle: Out<Device>) {
        by_pci(machine, &bus_id, handle)
    }

    fn nvmlDeviceGetHandleByPciBusId_v2(machine, bus_id: Text, handle: Out<Device>) {
        by_pci(machine, &bus_id, handle)
    }
}

device_calls! {
    fn nvmlDeviceGetIndex(gpu, index: Out<c_uint>) {
        index.put(gpu.gpu.index as c_uint)
    }

    fn nvmlDeviceGetMinorNumber(gpu, minor: Out<c_uint>) {
        minor.put(gpu.gpu.index as c_uint)
    }

    fn nvmlDeviceGetModuleId(gpu, module: Out<c_uint>) {
        module.put(gpu.gpu.index as c_uint + 1)
    }

    fn nvmlDeviceGetMultiGpuBoard(_gpu, is_multi: Out<c_uint>) {
        is_multi.put(0)
    }

    fn nvmlDeviceOnSameBoard(gpu, other: Device, same: Out<i32>) {
        same.put(i32::from(session::index(gpu.machine, other)?.0 == gpu.gpu.index))
    }

    fn nvmlDeviceGetTopologyCommonAncestor(gpu, other: Device, level: Out<c_uint>) {
        session::index(gpu.machine, other)?;
        level.put(sys::nvmlGpuLevel_enum_NVML_TOPOLOGY_SYSTEM)
    }
}
