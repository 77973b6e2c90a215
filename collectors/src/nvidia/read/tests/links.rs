//! What passes over the simulated GPUs' links, how busy their parts are, MIG, and older drivers.

use std::thread;
use std::time::Duration;

use super::simulated::{Simulated, TWO};
use crate::gpu_usage::Kind;
use crate::nvidia::snapshot::{Activity, Gpu, Memory, State};

const MIB: u64 = 1 << 20;

const LINKED: &str =
    "nvlink: {links: 4, up: 3, tx_mb_s: 100, rx_mb_s: 50, replays: 2, crc_errors: 5}";

/// `TWO` with more of the model and more readings.
fn scenario(model: &str, readings: &str) -> String {
    TWO.replace("    bar1:", &format!("    {model}\n    bar1:"))
        .replace(
            "      power_w: 300",
            &format!("      {readings}\n      power_w: 300"),
        )
}

/// The second of two readings `seconds` of the ticks and a real second apart.
fn second_reading(simulated: &mut Simulated, seconds: u64) -> Vec<Gpu> {
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    thread::sleep(Duration::from_secs(1));
    simulated.read(&mut reader, seconds).unwrap()
}

fn near(value: Option<f64>, expected: f64) {
    let value = value.unwrap();
    // A busy machine delays a call by some milliseconds.
    assert!(
        (value / expected - 1.0).abs() < 0.05,
        "{value}, not {expected}"
    );
}

#[test]
fn throughput_comes_from_counters_and_never_from_the_call_that_blocks() {
    let log = tempfile::NamedTempFile::new().unwrap();
    let text = scenario(LINKED, "pcie_tx_mb_s: 30\n      pcie_rx_mb_s: 70");
    let text = format!("call_log: {}\n{text}", log.path().display());
    let mut simulated = Simulated::new(&text);
    let gpus = second_reading(&mut simulated, 5);
    near(gpus[0].fast.pcie.tx, 30e6);
    near(gpus[0].fast.pcie.rx, 70e6);
    near(gpus[0].fast.nvlink.tx, 300e6);
    near(gpus[0].fast.nvlink.rx, 150e6);
    near(gpus[0].links.each[2].tx, 100e6);
    near(gpus[0].links.each[2].rx, 50e6);
    thread::sleep(Duration::from_millis(600));
    drop(simulated.open().unwrap());
    let calls = std::fs::read_to_string(log.path()).unwrap();
    assert!(calls.contains("nvmlDeviceGetFieldValues"), "{calls}");
    assert!(!calls.contains("nvmlDeviceGetPcieThroughput"), "{calls}");
}

#[test]
fn links_have_a_state_and_errors_and_one_that_is_down_has_no_throughput() {
    let mut simulated = Simulated::new(&scenario(LINKED, ""));
    let gpus = second_reading(&mut simulated, 5);
    let links = &gpus[0].links.each;
    let up: Vec<_> = links.iter().map(|link| link.up).collect();
    assert_eq!(up, [true, true, true, false]);
    assert_eq!(links[0].errors.replays, Some(2));
    assert_eq!(links[0].errors.recoveries, Some(0));
    assert_eq!(links[0].errors.crc, Some(5));
    assert_eq!((links[3].tx, links[3].errors.crc), (None, None));
}

#[test]
fn links_of_the_fifth_generation_and_those_without_fields_are_read_otherwise() {
    let newer = LINKED.replace("links: 4", "links: 4, version: 5");
    let absent = "\n    absent: [\"field:161\", \"field:162\", \"field:163\"]";
    let mut simulated = Simulated::new(&scenario(&format!("{newer}{absent}"), ""));
    let gpus = second_reading(&mut simulated, 5);
    near(gpus[0].links.each[0].tx, 100e6);
    assert_eq!(gpus[0].fast.nvlink.tx, None);
    assert_eq!(gpus[0].links.each[0].errors.crc, Some(5));
}

#[test]
fn a_board_without_links_has_none() {
    let mut simulated = Simulated::new(TWO);
    let gpus = second_reading(&mut simulated, 5);
    assert_eq!(gpus[0].links.each, []);
    assert_eq!(gpus[0].fast.nvlink.tx, None);
}

const ACTIVITY: &str = "activity: {sm: 80, occupancy: 30, tensor: 25, dram: 60}";

#[test]
fn activity_is_between_two_samples_where_the_board_has_it() {
    let mut simulated = Simulated::new(&scenario("mig_capable: true", ACTIVITY));
    let mut reader = simulated.open().unwrap();
    let first = simulated.read(&mut reader, 0).unwrap();
    assert_eq!(first[0].fast.activity, Activity::default());
    thread::sleep(Duration::from_millis(200));
    let gpus = simulated.read(&mut reader, 1).unwrap();
    let activity = gpus[0].fast.activity;
    near(activity.sm, 80.0);
    near(activity.occupancy, 30.0);
    near(activity.tensor, 25.0);
    near(activity.dram, 60.0);
    assert_eq!(gpus[0].mig.enabled, Some(false));
    let mut without = Simulated::new(TWO);
    assert_eq!(
        second_reading(&mut without, 1)[0].fast.activity,
        Activity::default()
    );
}

#[test]
fn without_counters_of_bytes_performance_monitoring_gives_the_throughput() {
    let absent = "absent: [\"field:138\", \"field:139\", \"field:197\", \"field:198\"]";
    let readings = format!("{ACTIVITY}\n      pcie_tx_mb_s: 30\n      pcie_rx_mb_s: 70");
    let mut simulated = Simulated::new(&scenario(&format!("{LINKED}\n    {absent}"), &readings));
    let gpus = second_reading(&mut simulated, 1);
    near(gpus[0].fast.pcie.rx, 70e6);
    near(gpus[0].fast.nvlink.tx, 300e6);
}

/// `TWO` with the first GPU split in two.
fn split() -> String {
    let instances = "01:00.0\", mig: [{gpu_instance: 2, uuid: MIG-2, profile: 3g, memory_mib: 400, used_mib: 40}, \
                     {gpu_instance: 9, uuid: MIG-9, profile: 1g, memory_mib: 100, used_mib: 7, \
                     activity: {sm: 11, occupancy: 2, tensor: 3, dram: 4}}]";
    scenario("mig_capable: true", ACTIVITY).replace("01:00.0\"", instances)
}

#[test]
fn mig_that_is_enabled_while_running_shows_its_instances_and_no_utilisation() {
    let mut simulated = Simulated::new(&scenario("mig_capable: true", ACTIVITY));
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    assert_eq!(
        (gpus[0].mig.enabled, gpus[0].fast.busy_pct),
        (Some(false), Some(90))
    );
    simulated.becomes(&split());
    simulated.read(&mut reader, 5).unwrap();
    thread::sleep(Duration::from_millis(200));
    let gpus = simulated.read(&mut reader, 5).unwrap();
    assert_eq!(gpus[0].state, State::Ok);
    assert_eq!(gpus[0].mig.enabled, Some(true));
    assert_eq!(gpus[0].fast.busy_pct, None);
    assert_eq!(gpus[1].fast.busy_pct, Some(90));
    let parts = &gpus[0].mig.instances;
    let ids: Vec<_> = parts
        .iter()
        .map(|part| (part.gpu_instance, part.uuid.as_str()))
        .collect();
    assert_eq!(ids, [(2, "MIG-2"), (9, "MIG-9")]);
    let memory = Memory {
        free_bytes: Some(93 * MIB),
        used_bytes: Some(7 * MIB),
        reserved_bytes: Some(0),
    };
    assert_eq!(parts[1].memory, memory);
    near(parts[1].activity.sm, 11.0);
    near(parts[0].activity.sm, 80.0);
    // And disabled again: what was not supported meanwhile is asked for once more.
    simulated.becomes(&scenario("mig_capable: true", ACTIVITY));
    simulated.read(&mut reader, 5).unwrap();
    let gpus = simulated.read(&mut reader, 1).unwrap();
    assert_eq!(
        (gpus[0].mig.enabled, gpus[0].fast.busy_pct),
        (Some(false), Some(90))
    );
    assert_eq!(gpus[0].mig.instances, []);
}

#[test]
fn clients_of_the_multi_process_service_are_known_as_such() {
    let row =
        "01:00.0\", processes: [{pid: 77, memory_mib: 300, type: mps}, {pid: 78, memory_mib: 10}]";
    let mut simulated = Simulated::new(&TWO.replace("01:00.0\"", row));
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    let rows = &gpus[0].processes.as_ref().unwrap().rows;
    let kinds: Vec<_> = rows.iter().map(|row| (row.pid, row.kind)).collect();
    assert_eq!(kinds, [(78, Kind::Compute), (77, Kind::Mps)]);
}

#[test]
fn a_driver_that_exports_only_the_older_calls_is_read_all_the_same() {
    let row = "01:00.0\", processes: [{pid: 78, memory_mib: 10}]";
    let text = scenario("", "clock_event_reasons: 4").replace("01:00.0\"", row);
    let hidden = [
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetGraphicsRunningProcesses_v3",
        "nvmlDeviceGetMPSComputeRunningProcesses_v3",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetTemperatureV",
        "nvmlDeviceGetMarginTemperature",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlGpmQueryDeviceSupport",
        "nvmlDeviceGetJpgUtilization",
    ];
    let mut simulated = Simulated::without_symbols(&text, &hidden);
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    let gpu = &gpus[0];
    assert_eq!(gpu.state, State::Ok);
    assert_eq!(gpu.fast.temperature_c, Some(55));
    assert_eq!(gpu.fast.memory.used_bytes, Some(160 * MIB));
    assert_eq!(gpu.fast.memory.reserved_bytes, None);
    assert_eq!(gpu.fast.clock_reasons, Some(4));
    assert_eq!(gpu.processes.as_ref().unwrap().rows[0].pid, 78);
    assert_eq!((gpu.fast.margin_c, gpu.slow.jpeg_pct), (None, None));
}

#[test]
fn a_board_that_tells_shares_by_the_newer_call_only_is_asked_with_it() {
    let row = "01:00.0\", processes: [{pid: 78, memory_mib: 10, sm: 42}], absent: [nvmlDeviceGetProcessUtilization]";
    let mut simulated = Simulated::new(&TWO.replace("01:00.0\"", row));
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    // The first answer is dropped; the next sample comes a sixth of a second later.
    thread::sleep(Duration::from_millis(400));
    let gpus = simulated.read(&mut reader, 5).unwrap();
    assert_eq!(
        gpus[0].processes.as_ref().unwrap().rows[0].sm_pct,
        Some(42.0)
    );
}
