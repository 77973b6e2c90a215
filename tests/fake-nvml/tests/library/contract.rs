//! What nvml.h promises about codes, versions, sizes and symbols.

use std::ptr::null_mut;

use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlDevice_t, nvmlMemory_t, nvmlMemory_v2_t};

use crate::copy::{LibraryCopy, scenario};

/// Calls a function of the raw library.
macro_rules! raw {
    ($lib:expr, $name:ident $(, $argument:expr)*) => {{
        let function = $lib.$name.as_ref().unwrap();
        // SAFETY: every pointer is NULL or to a local of the type and length the call expects.
        unsafe { function($($argument),*) }
    }};
}

fn first_gpu(lib: &NvmlLib) -> nvmlDevice_t {
    let mut gpu = null_mut();
    assert_eq!(raw!(lib, nvmlDeviceGetHandleByIndex_v2, 0, &raw mut gpu), 0);
    gpu
}

#[test]
fn every_function_of_nvml_h_is_exported() {
    let copy = LibraryCopy::new(None);
    let lib = copy.raw();
    let missing: Vec<&str> = include_str!("nvml_h_names.txt")
        .lines()
        // SAFETY: the symbol is looked up and never called.
        .filter(|name| unsafe { lib.__library.get::<fn()>(name.as_bytes()) }.is_err())
        .collect();
    assert_eq!(missing, [] as [&str; 0]);
}

#[test]
fn initialisations_are_counted() {
    let copy = LibraryCopy::new(None);
    let lib = copy.raw();
    let mut count = 0;
    assert_eq!(raw!(lib, nvmlDeviceGetCount_v2, &raw mut count), 1);
    assert_eq!(raw!(lib, nvmlShutdown), 1);
    assert_eq!(raw!(lib, nvmlInit_v2), 0);
    assert_eq!(raw!(lib, nvmlInitWithFlags, 0), 0);
    assert_eq!(raw!(lib, nvmlShutdown), 0);
    assert_eq!(raw!(lib, nvmlDeviceGetCount_v2, &raw mut count), 0);
    let gpu = first_gpu(&lib);
    assert_eq!(raw!(lib, nvmlShutdown), 0);
    assert_eq!(raw!(lib, nvmlDeviceGetPowerUsage, gpu, &raw mut count), 1);
}

#[test]
fn a_structure_of_another_version_is_a_mismatch() {
    let copy = LibraryCopy::new(None);
    let lib = copy.raw();
    raw!(lib, nvmlInit_v2);
    let gpu = first_gpu(&lib);
    let mut v2 = nvmlMemory_v2_t {
        version: 40 | 1 << 24,
        total: 0,
        reserved: 0,
        free: 0,
        used: 0,
    };
    assert_eq!(raw!(lib, nvmlDeviceGetMemoryInfo_v2, gpu, &raw mut v2), 25);
    v2.version = 40 | 2 << 24;
    assert_eq!(raw!(lib, nvmlDeviceGetMemoryInfo_v2, gpu, &raw mut v2), 0);
    let mut v1 = nvmlMemory_t {
        total: 0,
        free: 0,
        used: 0,
    };
    assert_eq!(raw!(lib, nvmlDeviceGetMemoryInfo, gpu, &raw mut v1), 0);
    assert_eq!(v1.total, v2.total);
    assert_eq!(v1.used + v1.free, v1.total);
    assert!(v2.reserved > 0 && v2.used + v2.reserved + v2.free == v2.total);
}

#[test]
fn wrong_arguments_are_invalid_and_short_buffers_insufficient() {
    let copy = LibraryCopy::new(None);
    let lib = copy.raw();
    raw!(lib, nvmlInit_v2);
    let gpu = first_gpu(&lib);
    let mut number = 0;
    assert_eq!(raw!(lib, nvmlDeviceGetPowerUsage, gpu, null_mut()), 2);
    for wrong in [
        0_usize,
        8,
        gpu as usize + 1,
        gpu as usize + 0x1000,
        usize::MAX,
    ] {
        let wrong = wrong as nvmlDevice_t;
        assert_eq!(
            raw!(lib, nvmlDeviceGetPowerUsage, wrong, &raw mut number),
            2
        );
    }
    let mut text = [0; 96];
    assert_eq!(raw!(lib, nvmlDeviceGetName, gpu, text.as_mut_ptr(), 5), 7);
    assert_eq!(raw!(lib, nvmlDeviceGetName, gpu, text.as_mut_ptr(), 96), 0);
    assert_eq!(
        raw!(lib, nvmlDeviceGetClockInfo, gpu, 9, &raw mut number),
        2
    );
    assert_eq!(
        raw!(
            lib,
            nvmlDeviceGetNvLinkCapability,
            gpu,
            0,
            0,
            &raw mut number
        ),
        3
    );
}

#[test]
fn a_list_without_room_tells_how_much_it_needs() {
    let processes = "processes: [{pid: 5, memory_mib: 1}, {pid: 6, memory_mib: 2}]";
    let copy = LibraryCopy::new(Some(&scenario("", &[processes], "")));
    let lib = copy.raw();
    raw!(lib, nvmlInit_v2);
    let gpu = first_gpu(&lib);
    let mut count = 0;
    let answer = raw!(
        lib,
        nvmlDeviceGetComputeRunningProcesses_v3,
        gpu,
        &raw mut count,
        null_mut()
    );
    assert_eq!((answer, count), (7, 2));
    let answer = raw!(
        lib,
        nvmlDeviceGetGraphicsRunningProcesses_v3,
        gpu,
        &raw mut count,
        null_mut()
    );
    assert_eq!((answer, count), (0, 0));

    // The oldest layout has rows of 16 bytes; a third one must stay as it was.
    type ListV1 = unsafe extern "C" fn(nvmlDevice_t, *mut u32, *mut [u64; 2]) -> u32;
    // SAFETY: the type is that of nvml.h before rows had instance ids.
    let v1 = unsafe {
        lib.__library
            .get::<ListV1>(b"nvmlDeviceGetComputeRunningProcesses")
    };
    let mut rows = [[u64::MAX; 2]; 3];
    count = 3;
    // SAFETY: the array has the three rows that the call is told of.
    let answer = unsafe { v1.unwrap()(gpu, &raw mut count, rows.as_mut_ptr()) };
    assert_eq!((answer, count, rows[2]), (0, 2, [u64::MAX; 2]));
    assert_eq!(rows.map(|row| row[1])[..2], [1 << 20, 2 << 20]);
    assert_eq!(rows.map(|row| row[0] as u32)[..2], [5, 6]);
}

#[test]
fn waiting_for_events_lasts_until_one_happens_or_the_time_is_over() {
    let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let xids = format!("xids: [{{xid: 79, at_s: {}}}]", now_s + 2.0);
    let copy = LibraryCopy::new(Some(&scenario("", &["", &xids], "")));
    let nvml = copy.wrapper();
    let mut set = nvml.create_event_set().unwrap();
    for index in 0..2 {
        let gpu = nvml.device_by_index(index).unwrap();
        set = gpu
            .register_events(EventTypes::CRITICAL_XID_ERROR, set)
            .unwrap();
    }
    let start = std::time::Instant::now();
    assert!(matches!(set.wait(100), Err(NvmlError::Timeout)));
    assert!(start.elapsed().as_millis() >= 100);
    let event = set.wait(5000).unwrap();
    assert_eq!(event.device.index().unwrap(), 1);
    let data = format!("{:?}", event.event_data);
    assert!(data.contains("79"), "{data}");
    assert!(matches!(set.wait(1), Err(NvmlError::Timeout)));
}
