//! The PCI address and the PCIe link.

use std::ffi::{c_char, c_uint};
use std::thread;
use std::time::Duration;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Answer, Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out, chars};
use crate::gpu::{GpuNow, PCIE_WINDOW_S, supported};
use crate::scenario::Pcie;

/// The structure of nvmlDeviceGetPciInfo before it had a subsystem id.
#[repr(C)]
pub struct PciInfoV1 {
    bus_id: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
}

/// The structure of nvmlDeviceGetPciInfo_v2, which had no long bus id.
#[repr(C)]
pub struct PciInfoV2 {
    v1: PciInfoV1,
    pci_subsystem_id: c_uint,
    reserved: [c_uint; 4],
}

fn v1(gpu: &GpuNow<'_>) -> PciInfoV1 {
    let pci = gpu.gpu.pci;
    PciInfoV1 {
        bus_id: chars(&pci.text(true)),
        domain: pci.domain,
        bus: pci.bus,
        device: pci.device,
        pci_device_id: gpu.gpu.model.pci_device_id,
    }
}

fn link<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a Pcie, Code> {
    supported(gpu.gpu.model.pcie.as_ref())
}

/// The speed of one lane by generation, Mbit/s.
fn lane_mbps(generation: u64) -> Result<c_uint, Code> {
    match generation {
        1 => Ok(2_500),
        2 => Ok(5_000),
        3 => Ok(8_000),
        4 => Ok(16_000),
        5 => Ok(32_000),
        6 => Ok(64_000),
        _ => Err(NOT_SUPPORTED),
    }
}

fn max_generation(gpu: &GpuNow<'_>, generation: Out<c_uint>) -> Answer {
    generation.put(link(gpu)?.max_generation)
}

/// The errors that the fields 173 to 182 count.
pub fn errors(gpu: &GpuNow<'_>, field: c_uint) -> Result<u64, Code> {
    let errors = supported(link(gpu)?.errors.as_ref())?;
    let count = match field {
        173 => &errors.correctable,
        174 => &errors.naks_received,
        175 => &errors.receiver,
        176 => &errors.bad_tlp,
        177 => &errors.naks_sent,
        178 => &errors.bad_dllp,
        179 => &errors.non_fatal,
        180 => &errors.fatal,
        181 => &errors.unsupported_request,
        182 => &errors.lcrc,
        _ => return Err(NOT_SUPPORTED),
    };
    Ok(count.as_ref().map_or(0, |count| gpu.whole(count)))
}

device_calls! {
    fn nvmlDeviceGetPciInfo(gpu, info: Out<PciInfoV1>) {
        info.put(v1(gpu))
    }

    fn nvmlDeviceGetPciInfo_v2(gpu, info: Out<PciInfoV2>) {
        let pci_subsystem_id = gpu.gpu.model.pci_subsystem_id;
        info.put(PciInfoV2 { v1: v1(gpu), pci_subsystem_id, reserved: [0; 4] })
    }

    fn nvmlDeviceGetPciInfo_v3(gpu, info: Out<sys::nvmlPciInfo_t>) {
        let pci = gpu.gpu.pci;
        info.put(sys::nvmlPciInfo_t {
            busIdLegacy: chars(&pci.text(true)),
            domain: pci.domain,
            bus: pci.bus,
            device: pci.device,
            pciDeviceId: gpu.gpu.model.pci_device_id,
            pciSubSystemId: gpu.gpu.model.pci_subsystem_id,
            busId: chars(&pci.text(false)),
        })
    }

    fn nvmlDeviceGetPciInfoExt(gpu, info: Out<sys::nvmlPciInfoExt_t>) {
        info.versioned(|info| {
            let pci = gpu.gpu.pci;
            (info.domain, info.bus, info.device) = (pci.domain, pci.bus, pci.device);
            info.pciDeviceId = gpu.gpu.model.pci_device_id;
            info.pciSubSystemId = gpu.gpu.model.pci_subsystem_id;
            // A 3D controller of the class of display controllers.
            (info.baseClass, info.subClass) = (0x03, 0x02);
            info.busId = chars(&pci.text(false));
            Ok(())
        })
    }

    fn nvmlDeviceGetCurrPcieLinkGeneration(gpu, generation: Out<c_uint>) {
        generation.put(gpu.count(Some(&link(gpu)?.generation))?)
    }

    fn nvmlDeviceGetCurrPcieLinkWidth(gpu, lanes: Out<c_uint>) {
        lanes.put(gpu.count(Some(&link(gpu)?.width))?)
    }

    fn nvmlDeviceGetMaxPcieLinkGeneration(gpu, generation: Out<c_uint>) {
        max_generation(gpu, generation)
    }

    fn nvmlDeviceGetGpuMaxPcieLinkGeneration(gpu, generation: Out<c_uint>) {
        max_generation(gpu, generation)
    }

    fn nvmlDeviceGetMaxPcieLinkWidth(gpu, lanes: Out<c_uint>) {
        lanes.put(link(gpu)?.max_width)
    }

    fn nvmlDeviceGetPcieSpeed(gpu, mbps: Out<c_uint>) {
        mbps.put(lane_mbps(gpu.whole(&link(gpu)?.generation))?)
    }

    /// A choice of `NVML_PCIE_LINK_MAX_SPEED_*`, which are the generations.
    fn nvmlDeviceGetPcieLinkMaxSpeed(gpu, choice: Out<c_uint>) {
        max_generation(gpu, choice)
    }

    fn nvmlDeviceGetPcieReplayCounter(gpu, count: Out<c_uint>) {
        count.put(gpu.count(link(gpu)?.replays.as_ref())?)
    }

    /// Takes as long as the real one, which counts bytes over that time.
    fn nvmlDeviceGetPcieThroughput(gpu, counter: c_uint, kb_s: Out<c_uint>) {
        let readings = &gpu.gpu.model.readings;
        let reading = match counter {
            0 => &readings.pcie_tx_mb_s,
            1 => &readings.pcie_rx_mb_s,
            _ => return Err(INVALID_ARGUMENT),
        };
        let value = gpu.pcie_kb_s(reading.as_ref())?;
        thread::sleep(Duration::from_secs_f64(PCIE_WINDOW_S));
        kb_s.put(value)
    }

    fn nvmlDeviceGetBusType(_gpu, kind: Out<c_uint>) {
        kind.put(sys::NVML_BUS_TYPE_PCIE)
    }
}
