//! What nvml-wrapper reads.

use std::time::{SystemTime, UNIX_EPOCH};

use nvml_wrapper::enum_wrappers::device::{
    Clock, PerformanceState, Sampling, TemperatureSensor, TemperatureThreshold,
};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;

use crate::copy::{LibraryCopy, scenario};

fn unix_s() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[test]
fn the_built_in_scenario_is_four_busy_h200() {
    let copy = LibraryCopy::new(None);
    let nvml = copy.wrapper();
    assert_eq!(nvml.sys_driver_version().unwrap(), "580.95.05");
    assert_eq!(nvml.sys_nvml_version().unwrap(), "13.580.95.05");
    assert_eq!(nvml.sys_cuda_driver_version().unwrap(), 13000);
    assert_eq!(nvml.device_count().unwrap(), 4);
    for index in 0..4 {
        let gpu = nvml.device_by_index(index).unwrap();
        assert_eq!(gpu.name().unwrap(), "NVIDIA H200 NVL (simulated)");
        assert_eq!(gpu.index().unwrap(), index);
        let again = nvml.device_by_uuid(gpu.uuid().unwrap()).unwrap();
        assert_eq!(
            again.pci_info().unwrap().bus_id,
            gpu.pci_info().unwrap().bus_id
        );
        let by_bus = nvml
            .device_by_pci_bus_id(gpu.pci_info().unwrap().bus_id)
            .unwrap();
        assert_eq!(by_bus.index().unwrap(), index);

        let memory = gpu.memory_info().unwrap();
        assert_eq!(memory.total, 143_771 << 20);
        assert_eq!(memory.total, memory.used + memory.free + memory.reserved);
        assert!((5..=100).contains(&gpu.utilization_rates().unwrap().gpu));
        assert!((74_000..=600_000).contains(&gpu.power_usage().unwrap()));
        assert_eq!(gpu.enforced_power_limit().unwrap(), 600_000);
        assert!((30..=80).contains(&gpu.temperature(TemperatureSensor::Gpu).unwrap()));
        assert_eq!(
            gpu.temperature_threshold(TemperatureThreshold::Shutdown)
                .unwrap(),
            95
        );
        assert_eq!(gpu.clock_info(Clock::Memory).unwrap(), 3201);
        assert_eq!(gpu.performance_state().unwrap(), PerformanceState::Zero);
        assert_eq!(gpu.current_pcie_link_gen().unwrap(), 5);
        assert_eq!(gpu.current_pcie_link_width().unwrap(), 16);
        assert!(!gpu.mig_is_mig_device_handle().unwrap());
        assert!(matches!(gpu.fan_speed(0), Err(NvmlError::NotSupported)));
    }
    assert!(matches!(
        nvml.device_by_index(4),
        Err(NvmlError::InvalidArg)
    ));
    assert!(matches!(
        nvml.device_by_uuid("GPU-none"),
        Err(NvmlError::NotFound)
    ));
}

/// The energy counter against a sum of the power function that shares no code with the library.
#[test]
fn the_energy_counter_is_the_integral_of_the_power() {
    let loaded_s = unix_s().floor() - 100.0;
    let (min, max, period_s) = (80.0, 560.0, 17.0);
    let copy = LibraryCopy::new(Some(&scenario(
        &format!("power_w: {{sine: {{min: {min}, max: {max}, period_s: {period_s}}}}}"),
        &[""],
        &format!("driver_loaded_s: {loaded_s}\n"),
    )));
    let nvml = copy.wrapper();
    let gpu = nvml.device_by_index(0).unwrap();
    let expected_mj = |until_s: f64| {
        let steps = 400_000;
        let dt = (until_s - loaded_s) / f64::from(steps);
        let power_w = |t: f64| {
            (min + max) / 2.0 + (max - min) / 2.0 * (t * std::f64::consts::TAU / period_s).sin()
        };
        (0..steps)
            .map(|i| power_w(loaded_s + (f64::from(i) + 0.5) * dt))
            .sum::<f64>()
            * dt
            * 1e3
    };
    let before = unix_s();
    let counter = gpu.total_energy_consumption().unwrap() as f64;
    let after = unix_s();
    assert!(counter >= expected_mj(before) - 50.0, "{counter}");
    assert!(counter <= expected_mj(after) + 50.0, "{counter}");
}

#[test]
fn processes_hold_memory_that_is_part_of_what_is_used() {
    let copy = LibraryCopy::new(Some(&scenario(
        "gpu_utilization: 40, memory_base_mib: 5",
        &[
            "processes: [{pid: 77, memory_mib: 200}, {pid: 78, memory_mib: 100, type: graphics, sm: 3}]",
        ],
        "",
    )));
    let nvml = copy.wrapper();
    let gpu = nvml.device_by_index(0).unwrap();
    let processes = gpu.running_compute_processes().unwrap();
    assert_eq!(processes.len(), 1);
    assert_eq!(processes[0].pid, 77);
    assert_eq!(processes[0].used_gpu_memory, UsedGpuMemory::Used(200 << 20));
    assert_eq!(processes[0].gpu_instance_id, None);
    assert_eq!(gpu.running_graphics_processes().unwrap()[0].pid, 78);
    assert_eq!(gpu.memory_info().unwrap().used, 305 << 20);

    let samples = gpu.process_utilization_stats(None).unwrap();
    let of = |pid| samples.iter().find(|sample| sample.pid == pid).unwrap();
    assert_eq!((of(77).sm_util, of(78).sm_util), (40, 3));
    let newest = samples.iter().map(|sample| sample.timestamp).max().unwrap();
    let future = newest + 3_600_000_000;
    assert!(matches!(
        gpu.process_utilization_stats(future),
        Err(NvmlError::NotFound)
    ));
}

#[test]
fn a_process_is_found_by_its_title_while_it_runs() {
    let proc = tempfile::tempdir().unwrap();
    std::fs::create_dir(proc.path().join("4711")).unwrap();
    std::fs::write(
        proc.path().join("4711/cmdline"),
        b"sglang::scheduler_TP0\0\0\0\0",
    )
    .unwrap();
    let copy = LibraryCopy::new(Some(&scenario(
        "",
        &["processes: [{match_cmdline: 'sglang::scheduler_TP0', memory_mib: 700}]"],
        &format!("proc_root: {}\n", proc.path().display()),
    )));
    let nvml = copy.wrapper();
    let gpu = nvml.device_by_index(0).unwrap();
    assert_eq!(gpu.running_compute_processes().unwrap()[0].pid, 4711);
    assert_eq!(gpu.memory_info().unwrap().used, 700 << 20);
    assert_eq!(
        nvml.sys_process_name(4711, 64).unwrap(),
        "sglang::scheduler_TP0"
    );
    assert!(matches!(
        nvml.sys_process_name(4712, 64),
        Err(NvmlError::NotFound)
    ));
}

#[test]
fn samples_are_those_since_the_last_seen() {
    let copy = LibraryCopy::new(Some(&scenario("power_w: 150", &[""], "")));
    let nvml = copy.wrapper();
    let gpu = nvml.device_by_index(0).unwrap();
    let samples = gpu.samples(Sampling::Power, None).unwrap();
    assert_eq!(samples.len(), 120);
    assert!(
        samples
            .iter()
            .all(|sample| matches!(sample.value, SampleValue::U32(150_000)))
    );
    let seen = samples[100].timestamp;
    let newer = gpu.samples(Sampling::Power, seen).unwrap();
    assert_eq!(newer[0].timestamp, samples[101].timestamp);
}

#[test]
fn the_numbering_of_fields_follows_the_driver() {
    // 0x20 and 0x40 are the software's and the hardware's thermal slowdown.
    let new = scenario("clock_event_reasons: 0x20, power_w: 99", &[""], "");
    let old = new.replace("580.95.05", "575.57.08");
    for (text, software, hardware) in [(&new, 269, 270), (&old, 251, 252)] {
        let copy = LibraryCopy::new(Some(text));
        let nvml = copy.wrapper();
        let gpu = nvml.device_by_index(0).unwrap();
        let mut fields = [software, hardware, 186, 9999].map(|id| {
            // SAFETY: the structure is plain numbers, for which zero is a value.
            let mut field: nvml_wrapper_sys::bindings::nvmlFieldValue_t =
                unsafe { std::mem::zeroed() };
            field.fieldId = id;
            field
        });
        let call = nvml.lib().nvmlDeviceGetFieldValues.as_ref().unwrap();
        // SAFETY: the array has as many elements as the call is told, the handle is the device's.
        let code = unsafe { call(gpu.handle(), fields.len() as i32, fields.as_mut_ptr()) };
        assert_eq!(code, 0);
        assert_eq!(fields.map(|field| field.nvmlReturn), [0, 0, 0, 2]);
        // SAFETY: those two fields hold an unsigned long long, the third an unsigned int.
        let (a, b, c) = unsafe {
            (
                fields[0].value.ullVal,
                fields[1].value.ullVal,
                fields[2].value.uiVal,
            )
        };
        assert!(a > 0 && b == 0, "{a} {b}");
        assert_eq!(c, 99_000);
        let memory_temperature = gpu.field_values_for(&[FieldId(82)]).unwrap();
        assert!(
            matches!(memory_temperature[0], Ok(ref value) if value.value.is_err())
                || memory_temperature[0].is_err()
        );
    }
}

#[test]
fn every_scenario_that_comes_along_is_read() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut read = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let copy = LibraryCopy::new(Some(&std::fs::read_to_string(&path).unwrap()));
        let nvml = copy.wrapper();
        for index in 0..nvml.device_count().unwrap() {
            let gpu = nvml.device_by_index(index).unwrap();
            let name = gpu.name().unwrap();
            assert!(name.ends_with("(simulated)"), "{}: {name}", path.display());
            assert!(
                gpu.uuid().unwrap().starts_with("GPU-"),
                "{}",
                path.display()
            );
        }
        read += 1;
    }
    assert!(read >= 9, "only {read} scenarios");
}
