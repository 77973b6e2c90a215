//! The one way into every call: it counts it, applies the scenario's faults, checks that the
//! library is initialised and the device exists, and lets no panic out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::call_log;
use crate::ffi::{Answer, Code, FUNCTION_NOT_FOUND, NOT_SUPPORTED, UNINITIALIZED, UNKNOWN};
use crate::gpu::GpuNow;
use crate::machine::Machine;
use crate::scenario::{Fault, matches_name};
use crate::session::{self, Device};

/// How often a call that hangs looks whether it still should.
const HANG_LOOK: Duration = Duration::from_millis(100);

/// What a MIG instance's handle answers.
const OF_INSTANCES: &[&str] = &[
    "nvmlDeviceGetName",
    "nvmlDeviceGetUUID",
    "nvmlDeviceGetIndex",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetBAR1MemoryInfo",
    "nvmlDeviceGetGpuInstanceId",
    "nvmlDeviceGetComputeInstanceId",
    "nvmlDeviceGetDeviceHandleFromMigDeviceHandle",
    "nvmlDeviceIsMigDeviceHandle",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetComputeRunningProcesses_v3",
];

/// What a GPU does not answer while MIG is enabled.
const NOT_WHEN_SPLIT: &[&str] = &[
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetEncoderUtilization",
    "nvmlDeviceGetDecoderUtilization",
    "nvmlDeviceGetJpgUtilization",
    "nvmlDeviceGetOfaUtilization",
    "nvmlDeviceGetProcessUtilization",
    "nvmlDeviceGetProcessesUtilizationInfo",
    "nvmlDeviceGetSamples",
];

/// The call that initialises the library, under any of its names.
pub fn initialise(name: &'static str) -> u32 {
    guarded(|| {
        session::look_again();
        begin(name, &session::machine()?, None)?;
        session::initialise()
    })
}

/// A call about no GPU in particular.
pub fn system(name: &'static str, body: impl FnOnce(&Machine) -> Answer) -> u32 {
    guarded(|| {
        let machine = session::machine()?;
        begin(name, &machine, None)?;
        initialised()?;
        body(&machine)
    })
}

/// A call about one GPU.
pub fn device(name: &'static str, device: Device, body: impl FnOnce(&GpuNow<'_>) -> Answer) -> u32 {
    guarded(|| {
        let machine = session::machine()?;
        let index = session::index(&machine, device);
        begin(name, &machine, index.ok().map(|(gpu, _)| gpu))?;
        initialised()?;
        let (index, instance) = index?;
        let gpu = &machine.gpus[index];
        let instances = gpu.mig.as_ref();
        let instance = instance.and_then(|place| instances?.get(place));
        let missing = machine.record.is_none()
            && match instance {
                Some(_) => !OF_INSTANCES.contains(&name),
                None => gpu.mig.is_some() && NOT_WHEN_SPLIT.contains(&name),
            };
        if missing || gpu.model.absent.contains(name) {
            return Err(NOT_SUPPORTED);
        }
        body(&GpuNow {
            machine: &machine,
            gpu,
            instance,
            now_s: machine.now_s(),
        })
    })
}

/// A call this library has no answer for.
pub fn not_supported(name: &'static str) -> u32 {
    system(name, |_| Err(NOT_SUPPORTED))
}

fn initialised() -> Answer {
    if session::is_initialised() {
        Ok(())
    } else {
        Err(UNINITIALIZED)
    }
}

fn guarded(body: impl FnOnce() -> Answer) -> u32 {
    // What a panic could leave half-written belongs to the caller, who learns of the error.
    match call_log::timed(|| catch_unwind(AssertUnwindSafe(body))) {
        Ok(Ok(())) => 0,
        Ok(Err(Code(code))) => code,
        Err(_) => UNKNOWN.0,
    }
}

/// Counts the call and applies the first fault that concerns it.
fn begin(name: &'static str, machine: &Arc<Machine>, gpu: Option<usize>) -> Answer {
    call_log::count(name, machine.call_log.as_deref());
    let hidden = &machine.hidden_symbols;
    if hidden.iter().any(|pattern| matches_name(pattern, name)) {
        return Err(FUNCTION_NOT_FOUND);
    }
    strike(machine, |fault| fault.concerns(name, gpu))
}

/// Applies the first fault of one GPU that concerns the call which gives its handle.
pub fn strike_one(name: &str, machine: &Machine, gpu: usize) -> Answer {
    strike(machine, |fault| {
        fault.gpu.is_some() && fault.concerns(name, Some(gpu))
    })
}

/// Applies the first fault that `concerns` the call.
fn strike(machine: &Machine, concerns: impl Fn(&Fault) -> bool) -> Answer {
    let fault = |machine: &Machine| -> Option<Fault> {
        let mut faults = machine.faults.iter();
        faults.find(|fault| concerns(fault)).cloned()
    };
    let Some(first) = fault(machine) else {
        return Ok(());
    };
    thread::sleep(Duration::from_millis(first.delay_ms));
    while first.hang && fault(&*session::machine()?).is_some_and(|fault| fault.hang) {
        thread::sleep(HANG_LOOK);
    }
    first.code.map_or(Ok(()), |code| Err(Code(code)))
}
