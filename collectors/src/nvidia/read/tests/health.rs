//! Wear, faults, heat and throttling of the simulated GPUs.

use std::thread;
use std::time::{Duration, Instant};

use super::simulated::{Simulated, TWO, with};
use crate::nvidia::snapshot::{
    Board, Ecc, FabricHealth, Gpu, HeatLimits, Modes, PcieErrors, RemappedRows, RetiredPages,
};

/// `TWO` with more readings of the model, and more of the model itself.
fn scenario(readings: &str, model: &str) -> String {
    TWO.replace(
        "      gpu_utilization: 90\n",
        &format!("      {readings}\n      gpu_utilization: 90\n"),
    )
    .replace("    bar1:", &format!("    {model}\n    bar1:"))
}

fn read_once(scenario: &str) -> Gpu {
    let mut simulated = Simulated::new(scenario);
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap().swap_remove(0)
}

#[test]
fn errors_in_memory_and_what_was_done_about_them_are_as_the_driver_says() {
    let ecc = "ecc: {corrected: 3, uncorrected: 1, aggregate_corrected: 9, aggregate_uncorrected: 2, \
               remapped_corrected: 4, remapped_uncorrected: 5, remap_pending: 1, remap_failed: 0}";
    let gpu = read_once(&scenario("recovery_action: 4", ecc));
    let expected = Ecc {
        volatile_corrected: Some(3),
        volatile_uncorrected: Some(1),
        aggregate_corrected: Some(9),
        aggregate_uncorrected: Some(2),
    };
    assert_eq!(gpu.health.ecc, expected);
    let expected = RemappedRows {
        corrected: Some(4),
        uncorrected: Some(5),
        pending: Some(true),
        failed: Some(false),
    };
    assert_eq!(gpu.health.remapped, expected);
    assert_eq!(gpu.health.retired, RetiredPages::default());
    assert_eq!(gpu.health.recovery_action, Some(4));
}

#[test]
fn the_board_and_what_is_around_it_are_as_the_driver_says() {
    let model = "ecc: {corrected: 0, uncorrected: 0, remapped_corrected: 0, remapped_uncorrected: 0, \
                 sram_corrected: 7, sram_uncorrected: 2, sram_threshold: 1}\n    \
                 fabric: {state: 2, health: 0x59}\n    c2c: {links: 5, up: 3}";
    let text = scenario("memory_power_w: 40\n      module_power_w: 450", model).replace(
        "max_width: 16}",
        "max_width: 16, errors: {correctable: 9, lcrc: 4}}",
    );
    let gpu = read_once(&with(&text, "confidential_compute: true"));
    let board = &gpu.board;
    let errors = PcieErrors {
        correctable: Some(9),
        non_fatal: Some(0),
        fatal: Some(0),
        unsupported_request: Some(0),
        receiver: Some(0),
        bad_tlp: Some(0),
        bad_dllp: Some(0),
        lcrc: Some(4),
        naks_received: Some(0),
        naks_sent: Some(0),
    };
    assert_eq!(board.pcie_errors, errors);
    assert_eq!(board.fabric_state, Some(2));
    assert_eq!(board.fabric_health, FabricHealth::from_mask(0x59));
    assert_eq!((board.c2c.up, board.c2c.down), (Some(3), Some(2)));
    assert_eq!(board.confidential, Some(true));
    assert_eq!(
        (board.sram.corrected, board.sram.parity, board.sram.sec_ded),
        (Some(7), Some(0), Some(2))
    );
    assert_eq!(board.sram.threshold_exceeded, Some(true));
    assert_eq!(board.spare_rows.max, Some(6144));
    let modes = Modes {
        persistence: Some(true),
        ecc: Some(true),
        display_active: Some(false),
        accounting: Some(false),
    };
    assert_eq!(board.modes, modes);
    let power = &gpu.fast.power_sensors;
    assert_eq!(
        (
            power.instant_mw,
            power.one_second_mw,
            power.memory_mw,
            power.module_mw
        ),
        (Some(300_000), Some(300_000), Some(40_000), Some(450_000))
    );
}

#[test]
fn a_driver_with_the_older_call_tells_the_fabrics_state_and_not_its_health() {
    let text = scenario("recovery_action: 0", "fabric: {state: 3, health: 0x1aa}");
    let gpu = read_once(&with(
        &text,
        "hidden_symbols: [nvmlDeviceGetGpuFabricInfoV]",
    ));
    assert_eq!(gpu.board.fabric_state, Some(3));
    assert_eq!(gpu.board.fabric_health, FabricHealth::default());
}

#[test]
fn an_older_board_retires_pages_instead_of_rows() {
    let ecc = "ecc: {corrected: 0, uncorrected: 0, retired_single_bit: 2, retired_double_bit: 1, \
               retirement_pending: 1}";
    let gpu = read_once(&scenario("compute_mode: 3", ecc));
    let expected = RetiredPages {
        single_bit: Some(2),
        double_bit: Some(1),
        pending: Some(true),
    };
    assert_eq!(gpu.health.retired, expected);
    assert_eq!(gpu.health.remapped, RemappedRows::default());
    assert_eq!(gpu.health.recovery_action, None);
    assert_eq!(gpu.slow.compute_mode, Some(3));
}

#[test]
fn where_the_fields_are_missing_the_calls_that_say_the_same_are_asked() {
    let ecc = "ecc: {corrected: 3, uncorrected: 1, remapped_corrected: 4, remapped_uncorrected: 5, \
               remap_failed: 1}\n    absent: [\"field:3\", \"field:4\", \"field:5\", \"field:6\", \
               \"field:94\", \"field:142\", \"field:143\", \"field:144\", \"field:145\"]";
    let text = scenario("recovery_action: 0", ecc)
        .replace("max_width: 16}", "max_width: 16, replays: 12}");
    let gpu = read_once(&text);
    assert_eq!(gpu.health.ecc.volatile_corrected, Some(3));
    assert_eq!(gpu.health.ecc.aggregate_uncorrected, Some(1));
    assert_eq!(gpu.health.remapped.uncorrected, Some(5));
    assert_eq!(gpu.health.remapped.failed, Some(true));
    assert_eq!(gpu.health.pcie_replays, Some(12));
}

#[test]
fn a_board_that_tells_nothing_of_its_health_has_only_gaps() {
    let gpu = read_once(TWO);
    assert_eq!(gpu.health.ecc, Ecc::default());
    let known = Board {
        modes: gpu.board.modes,
        ..Board::default()
    };
    assert_eq!(gpu.board, known);
    assert_eq!(gpu.board.modes.ecc, None);
    assert_eq!(gpu.health.recovery_action, None);
    assert_eq!(gpu.fast.memory_temperature_c, None);
    assert_eq!(gpu.fast.clock_reasons, None);
    assert_eq!(gpu.fast.margin_c, None);
}

#[test]
fn the_margin_is_the_drivers_and_the_memory_has_its_own() {
    let thresholds =
        "temperature_thresholds_c: {shutdown: 95, slowdown: 90, memory_max: 93, gpu_max: 85}";
    let text = scenario("memory_temperature_c: 80", thresholds);
    let gpu = read_once(&text);
    assert_eq!(gpu.fast.margin_c, Some(35));
    assert_eq!(gpu.fast.memory_temperature_c, Some(80));
    let limits = |slowdown, shutdown, gpu_max, memory_max| HeatLimits {
        slowdown_c: Some(slowdown),
        shutdown_c: Some(shutdown),
        gpu_max_c: Some(gpu_max),
        memory_max_c: Some(memory_max),
    };
    assert_eq!(gpu.slow.limits, limits(90, 95, 85, 93));
    // As the driver counts: from the highest of operation, past which it is below zero.
    assert_eq!(
        (
            gpu.board.margin_limits.slowdown_c,
            gpu.board.margin_limits.shutdown_c,
            gpu.board.margin_limits.gpu_max_c
        ),
        (Some(-5), Some(-10), Some(0))
    );
    let fault = "faults: [{call: nvmlDeviceGetMarginTemperature, code: 13}]";
    let older = read_once(&with(&text, fault));
    assert_eq!(
        (older.fast.margin_c, older.slow.limits.slowdown_c),
        (None, Some(90))
    );
}

#[test]
fn time_throttled_comes_from_its_counters_on_old_and_new_drivers() {
    for driver in ["580.95.05", "570.124.06"] {
        // The power cap all the time, heat never.
        let text = scenario("clock_event_reasons: 4", "").replace("580.95.05", driver);
        let mut simulated = Simulated::new(&text);
        let mut reader = simulated.open().unwrap();
        let first = simulated.read(&mut reader, 0).unwrap();
        assert_eq!(first[0].fast.throttled.sw_power_cap, None);
        assert_eq!(first[0].fast.clock_reasons, Some(4));
        thread::sleep(Duration::from_millis(50));
        let gpus = simulated.read(&mut reader, 1).unwrap();
        let throttled = gpus[0].fast.throttled;
        let capped = throttled.sw_power_cap.unwrap();
        assert!((90.0..=100.0).contains(&capped), "{driver}: {capped}");
        assert_eq!(throttled.hw_thermal, Some(0.0), "{driver}");
        assert_eq!(throttled.hw_power_brake, Some(0.0), "{driver}");
        assert_eq!(throttled.thermal, None, "{driver}");
    }
}

#[test]
fn a_driver_without_event_reasons_is_asked_for_throttle_reasons() {
    let fault = "faults: [{call: nvmlDeviceGetCurrentClocksEventReasons, code: 13}]";
    let gpu = read_once(&with(&scenario("clock_event_reasons: 64", ""), fault));
    assert_eq!(gpu.fast.clock_reasons, Some(64));
}

#[test]
fn the_range_of_power_is_of_the_samples_since_the_previous_reading() {
    let text = scenario("load: 0", "").replace(
        "power_w: 300",
        "power_w: {steps: {values: [100, 500], every_s: 0.02}}",
    );
    let mut simulated = Simulated::new(&text);
    let mut reader = simulated.open().unwrap();
    let first = simulated.read(&mut reader, 0).unwrap();
    assert_eq!(first[0].fast.power_range_w, None);
    thread::sleep(Duration::from_millis(200));
    let gpus = simulated.read(&mut reader, 1).unwrap();
    assert_eq!(gpus[0].fast.power_range_w, Some((100.0, 500.0)));
    assert_eq!(gpus[0].fast.busy_range_pct, Some((90.0, 90.0)));
}

#[test]
fn an_xid_is_told_once_and_of_its_gpu_only() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while simulated.read(&mut reader, 1).unwrap()[1].xids != Some(vec![]) {
        assert!(Instant::now() < deadline, "events are not watched");
        thread::sleep(Duration::from_millis(20));
    }
    simulated.becomes(
        &TWO.replace("uuid: GPU-b,", "uuid: GPU-b, xids: [{xid: 79, at_s: NOW}],")
            .replace("NOW", &format!("{}", super::since_1970_us() as f64 / 1e6)),
    );
    let happened = Instant::now();
    loop {
        let gpus = simulated.read(&mut reader, 1).unwrap();
        assert_eq!(gpus[0].xids, Some(vec![]));
        if gpus[1].xids == Some(vec![79]) {
            break;
        }
        assert!(Instant::now() < deadline, "no XID: {:?}", gpus[1].xids);
        thread::sleep(Duration::from_millis(20));
    }
    let took = happened.elapsed();
    assert!(took < Duration::from_secs(5), "told after {took:?}");
    assert_eq!(
        simulated.read(&mut reader, 1).unwrap()[1].xids,
        Some(vec![])
    );
}

#[test]
fn a_driver_that_tells_no_events_leaves_xids_unknown() {
    let fault = "faults: [{call: nvmlDeviceGetSupportedEventTypes, gpu: 0, code: 3}]";
    let mut simulated = Simulated::new(&with(TWO, fault));
    let mut reader = simulated.open().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while simulated.read(&mut reader, 1).unwrap()[1].xids.is_none() {
        assert!(Instant::now() < deadline, "events are not watched");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(simulated.read(&mut reader, 1).unwrap()[0].xids, None);
}

#[test]
fn memory_held_while_nothing_runs_is_timed() {
    let text = TWO
        .replace("gpu_utilization: 90", "gpu_utilization: 0")
        .replace(
            "01:00.0\"",
            "01:00.0\", processes: [{pid: 77, memory_mib: 300}]",
        );
    let mut simulated = Simulated::new(&text);
    let mut reader = simulated.open().unwrap();
    let held = |gpus: &[Gpu], n: usize| gpus[n].held_idle.map(|held| held.as_secs());
    let gpus = simulated.read(&mut reader, 0).unwrap();
    assert_eq!((held(&gpus, 0), held(&gpus, 1)), (Some(0), Some(0)));
    let gpus = simulated.read(&mut reader, 7).unwrap();
    assert_eq!((held(&gpus, 0), held(&gpus, 1)), (Some(7), Some(0)));
    simulated.becomes(&text.replace("gpu_utilization: 0", "gpu_utilization: 3"));
    let gpus = simulated.read(&mut reader, 1).unwrap();
    assert_eq!(held(&gpus, 0), Some(0));
}
