//! Starting and stopping the library, and what it says about the system.

use std::ffi::{c_char, c_int, c_uint};

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{INVALID_ARGUMENT, NOT_FOUND, Out, chars};
use crate::{call, call_log, processes, session};

#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn nvmlInit() -> u32 {
    call::initialise("nvmlInit")
}

#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn nvmlInit_v2() -> u32 {
    call::initialise("nvmlInit_v2")
}

#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn nvmlInitWithFlags(_flags: c_uint) -> u32 {
    call::initialise("nvmlInitWithFlags")
}

/// The text for a code, for ever valid. The one call that answers no code.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
pub extern "C" fn nvmlErrorString(code: c_uint) -> *const c_char {
    let text = match code {
        0 => c"Success",
        1 => c"Uninitialized",
        2 => c"Invalid Argument",
        3 => c"Not Supported",
        4 => c"Insufficient Permissions",
        5 => c"Already Initialized",
        6 => c"Not Found",
        7 => c"Insufficient Size",
        8 => c"Insufficient External Power",
        9 => c"Driver Not Loaded",
        10 => c"Timeout",
        11 => c"Interrupt Request Issue",
        12 => c"NVML Shared Library Not Found",
        13 => c"Function Not Found",
        14 => c"Corrupted infoROM",
        15 => c"GPU is lost",
        16 => c"GPU requires reset",
        17 => c"GPU access blocked by the operating system",
        18 => c"Driver/library version mismatch",
        19 => c"In use by another client",
        20 => c"Insufficient Memory",
        21 => c"No data",
        25 => c"Argument version mismatch",
        26 => c"Deprecated",
        27 => c"Not ready",
        28 => c"GPU not found",
        29 => c"Invalid state",
        _ => c"Unknown Error",
    };
    text.as_ptr()
}

system_calls! {
    fn nvmlShutdown(machine) {
        call_log::flush(machine.call_log.as_deref());
        session::shut_down()
    }

    fn nvmlSystemGetDriverVersion(machine, version: Out<c_char>, length: c_uint) {
        version.text(length, &machine.driver_version)
    }

    fn nvmlSystemGetNVMLVersion(machine, version: Out<c_char>, length: c_uint) {
        version.text(length, &machine.nvml_version)
    }

    fn nvmlSystemGetCudaDriverVersion(machine, version: Out<c_int>) {
        version.put(machine.cuda_version)
    }

    fn nvmlSystemGetCudaDriverVersion_v2(machine, version: Out<c_int>) {
        version.put(machine.cuda_version)
    }

    fn nvmlSystemGetDriverBranch(
        machine,
        branch: Out<sys::nvmlSystemDriverBranchInfo_t>,
        length: c_uint,
    ) {
        if length == 0 {
            return Err(INVALID_ARGUMENT);
        }
        let major = machine.driver_version.split('.').next().unwrap_or_default();
        branch.versioned(|info| {
            info.branch = chars(&format!("r{major}_00"));
            Ok(())
        })
    }

    fn nvmlSystemGetProcessName(machine, pid: c_uint, name: Out<c_char>, length: c_uint) {
        let title = processes::title(&machine.proc_root, pid).ok_or(NOT_FOUND)?;
        // The first argument, cut to the room there is.
        let room = (length as usize).saturating_sub(1);
        let end = (0..=room.min(title.len())).rev().find(|i| title.is_char_boundary(*i));
        name.text(length, &title[..end.unwrap_or(0)])
    }

    fn nvmlUnitGetCount(_machine, count: Out<c_uint>) {
        count.put(0)
    }

    fn nvmlGetExcludedDeviceCount(_machine, count: Out<c_uint>) {
        count.put(0)
    }

    fn nvmlSystemGetHicVersion(_machine, count: Out<c_uint>, _entries: Out<sys::nvmlHwbcEntry_t>) {
        count.put(0)
    }
}
