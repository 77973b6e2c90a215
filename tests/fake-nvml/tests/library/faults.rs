//! What a scenario makes go wrong, and scenarios that change while the library is in use.

use std::time::{Duration, Instant};

use nvml_wrapper::error::NvmlError;

use crate::copy::{LibraryCopy, scenario};

#[test]
fn a_fault_hits_its_call_on_its_gpu_only() {
    let faults = "faults:
  - {call: nvmlDeviceGetPowerUsage, gpu: 1, code: 15}
  - {call: nvmlDeviceGetUtilizationRates, delay_ms: 150}
";
    let readings = "power_w: 100, gpu_utilization: 1, memory_utilization: 1";
    let copy = LibraryCopy::new(Some(&scenario(readings, &["", ""], faults)));
    let nvml = copy.wrapper();
    let (healthy, lost) = (
        nvml.device_by_index(0).unwrap(),
        nvml.device_by_index(1).unwrap(),
    );
    assert_eq!(healthy.power_usage().unwrap(), 100_000);
    assert!(matches!(lost.power_usage(), Err(NvmlError::GpuLost)));
    assert!(lost.total_energy_consumption().is_ok());
    let start = Instant::now();
    assert_eq!(healthy.utilization_rates().unwrap().gpu, 1);
    assert!(start.elapsed() >= Duration::from_millis(150));
}

#[test]
fn a_call_or_field_named_absent_is_not_supported() {
    let text = scenario(
        "power_w: 100",
        &["absent: [nvmlDeviceGetPowerUsage]", ""],
        "",
    );
    let copy = LibraryCopy::new(Some(&text));
    let nvml = copy.wrapper();
    let power = |index| nvml.device_by_index(index).unwrap().power_usage();
    assert!(matches!(power(0), Err(NvmlError::NotSupported)));
    assert_eq!(power(1).unwrap(), 100_000);
}

#[test]
fn a_call_hangs_until_the_scenario_lets_it_go() {
    let fine = scenario("power_w: 100", &[""], "");
    let copy = LibraryCopy::new(Some(&fine));
    let nvml = copy.wrapper();
    let hanging = format!("{fine}faults: [{{call: nvmlDeviceGetPowerUsage, hang: true}}]\n");
    let marked = hanging.replace("580.95.05", "580.95.06");
    copy.rewrite(&marked, || {
        nvml.sys_driver_version().unwrap() == "580.95.06"
    });
    std::thread::scope(|scope| {
        let call = scope.spawn(|| nvml.device_by_index(0).unwrap().power_usage());
        std::thread::sleep(Duration::from_millis(300));
        assert!(!call.is_finished());
        copy.rewrite(&fine, || call.is_finished());
        assert_eq!(call.join().unwrap().unwrap(), 100_000);
    });
}

#[test]
fn handles_outlive_a_new_order_and_tell_a_gpu_that_is_gone() {
    let copy = LibraryCopy::new(Some(&scenario("power_w: 100", &["", ""], "")));
    let nvml = copy.wrapper();
    let (a, b) = (
        nvml.device_by_index(0).unwrap(),
        nvml.device_by_index(1).unwrap(),
    );
    let swapped = scenario("power_w: 100", &["", ""], "")
        .replace("GPU-0", "GPU-x")
        .replace("GPU-1", "GPU-0")
        .replace("GPU-x", "GPU-1");
    copy.rewrite(&swapped, || a.index().unwrap() == 1);
    assert_eq!(
        (a.uuid().unwrap().as_str(), b.index().unwrap()),
        ("GPU-0", 0)
    );
    copy.rewrite(&scenario("power_w: 100", &[""], ""), || {
        nvml.device_count().unwrap() == 1
    });
    assert!(matches!(b.power_usage(), Err(NvmlError::GpuLost)));
    assert_eq!(a.power_usage().unwrap(), 100_000);
}

#[test]
fn a_scenario_that_is_wrong_leaves_the_old_one_in_force() {
    let copy = LibraryCopy::new(Some(&scenario("power_w: 100", &[""], "")));
    let nvml = copy.wrapper();
    let changed = Instant::now();
    copy.rewrite("gpus: what", || {
        changed.elapsed() > Duration::from_millis(1300)
    });
    assert_eq!(
        nvml.device_by_index(0).unwrap().power_usage().unwrap(),
        100_000
    );
    let fixed = scenario("power_w: 200", &[""], "");
    copy.rewrite(&fixed, || {
        nvml.device_by_index(0).unwrap().power_usage().unwrap() == 200_000
    });
}

#[test]
fn without_a_valid_scenario_there_is_no_library() {
    let copy = LibraryCopy::new(Some("driver_version: 1"));
    let built = nvml_wrapper::Nvml::builder()
        .lib_path(copy.path().as_os_str())
        .init();
    assert!(matches!(built, Err(NvmlError::Unknown)));
}

#[test]
fn calls_are_counted_by_name() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let more = format!("call_log: {}\n", log.path().display());
    let copy = LibraryCopy::new(Some(&scenario("power_w: 100", &[""], &more)));
    let nvml = copy.wrapper();
    let gpu = nvml.device_by_index(0).unwrap();
    for _ in 0..7 {
        gpu.power_usage().unwrap();
    }
    nvml.shutdown().unwrap();
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert!(
        text.lines().any(|line| line == "nvmlDeviceGetPowerUsage 7"),
        "{text}"
    );
}
