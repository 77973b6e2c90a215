//! What a GPU is, and its modes, none of which this library lets anyone change.

use std::ffi::{c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Out, Room};
use crate::gpu::supported;

device_calls! {
    fn nvmlDeviceGetName(gpu, name: Out<c_char>, length: Room) {
        match gpu.instance {
            Some(part) => name.text(length.0, &format!("{} MIG {}", gpu.gpu.model.name, part.profile)),
            None => name.text(length.0, &gpu.gpu.model.name),
        }
    }

    fn nvmlDeviceGetUUID(gpu, uuid: Out<c_char>, length: Room) {
        uuid.text(length.0, gpu.instance.map_or(&gpu.gpu.uuid, |part| &part.uuid))
    }

    fn nvmlDeviceGetSerial(gpu, serial: Out<c_char>, length: Room) {
        serial.text(length.0, supported(gpu.gpu.serial.as_deref())?)
    }

    fn nvmlDeviceGetVbiosVersion(gpu, version: Out<c_char>, length: Room) {
        version.text(length.0, supported(gpu.gpu.model.vbios.as_deref())?)
    }

    fn nvmlDeviceGetBrand(gpu, brand: Out<c_uint>) {
        brand.put(gpu.gpu.model.brand as c_uint)
    }

    fn nvmlDeviceGetArchitecture(gpu, architecture: Out<c_uint>) {
        architecture.put(gpu.gpu.model.architecture as c_uint)
    }

    fn nvmlDeviceGetCudaComputeCapability(gpu, major: Out<c_int>, minor: Out<c_int>) {
        major.put(gpu.gpu.compute_capability.0)?;
        minor.put(gpu.gpu.compute_capability.1)
    }

    fn nvmlDeviceGetNumGpuCores(gpu, cores: Out<c_uint>) {
        cores.put(supported(gpu.gpu.model.cores)?)
    }

    fn nvmlDeviceGetMemoryBusWidth(gpu, bits: Out<c_uint>) {
        bits.put(supported(gpu.gpu.model.memory.bus_width_bits)?)
    }

    fn nvmlDeviceGetBoardId(gpu, id: Out<c_uint>) {
        id.put(gpu.gpu.pci.bus << 8)
    }

    fn nvmlDeviceGetComputeMode(gpu, mode: Out<c_uint>) {
        let reading = gpu.gpu.model.readings.compute_mode.as_ref();
        mode.put(match reading {
            Some(reading) => gpu.count(Some(reading))?,
            None => sys::nvmlComputeMode_enum_NVML_COMPUTEMODE_DEFAULT,
        })
    }

    fn nvmlDeviceGetPersistenceMode(_gpu, mode: Out<c_uint>) {
        mode.put(sys::nvmlEnableState_enum_NVML_FEATURE_ENABLED)
    }

    fn nvmlDeviceGetDisplayMode(_gpu, mode: Out<c_uint>) {
        mode.put(sys::nvmlEnableState_enum_NVML_FEATURE_DISABLED)
    }

    fn nvmlDeviceGetDisplayActive(_gpu, active: Out<c_uint>) {
        active.put(sys::nvmlEnableState_enum_NVML_FEATURE_DISABLED)
    }

    fn nvmlDeviceGetAccountingMode(_gpu, mode: Out<c_uint>) {
        mode.put(sys::nvmlEnableState_enum_NVML_FEATURE_DISABLED)
    }

    fn nvmlDeviceGetVirtualizationMode(_gpu, mode: Out<c_uint>) {
        mode.put(sys::nvmlGpuVirtualizationMode_NVML_GPU_VIRTUALIZATION_MODE_NONE)
    }

    fn nvmlDeviceGetGspFirmwareMode(_gpu, enabled: Out<c_uint>, by_default: Out<c_uint>) {
        enabled.put(1)?;
        by_default.put(1)
    }

    fn nvmlDeviceGetGspFirmwareVersion(gpu, version: Out<c_char>) {
        // The caller's buffer has a fixed size, NVML_GSP_FIRMWARE_VERSION_BUF_SIZE.
        version.text(0x40, &gpu.machine.driver_version)
    }
}
