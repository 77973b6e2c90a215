//! Readings of the simulated NVML. Each test loads a copy of the library of its own, with the scenario
//! beside it, so that tests share no state.

mod health;
mod links;
pub mod simulated;
mod table;

use self::simulated::{Simulated, TWO, with};
use super::*;
use crate::nvidia::snapshot::{Clocks, Gpu, Memory, PcieLink, State};

const MIB: u64 = 1 << 20;

fn uuids(gpus: &[Gpu]) -> Vec<&str> {
    gpus.iter().map(|gpu| &*gpu.id.uuid).collect()
}

fn states(gpus: &[Gpu]) -> Vec<State> {
    gpus.iter().map(|gpu| gpu.state).collect()
}

#[test]
fn every_reading_has_the_value_that_the_driver_says() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    assert_eq!(uuids(&gpus), ["GPU-a", "GPU-b"]);
    let gpu = &gpus[1];
    assert_eq!(gpu.id.index, 1);
    assert_eq!(&*gpu.id.product_name, "Board (simulated)");
    assert_eq!(gpu.state, State::Ok);
    assert_eq!(gpu.fast.busy_pct, Some(90));
    assert_eq!(gpu.fast.mem_bus_busy_pct, Some(40));
    assert_eq!(gpu.fast.encoder_pct, Some(1));
    assert_eq!(gpu.fast.decoder_pct, Some(2));
    let memory = Memory {
        free_bytes: Some(850 * MIB),
        used_bytes: Some(50 * MIB),
        reserved_bytes: Some(100 * MIB),
    };
    assert_eq!(gpu.fast.memory, memory);
    assert_eq!(gpu.fast.power_mw, Some(300_000));
    assert!(gpu.fast.energy_mj.is_some());
    assert_eq!(gpu.fast.average_power_w, None);
    assert_eq!(gpu.fast.temperature_c, Some(55));
    let clocks = Clocks {
        graphics_mhz: Some(1700),
        sm_mhz: Some(1600),
        mem_mhz: Some(3200),
        video_mhz: Some(1500),
    };
    assert_eq!(gpu.fast.clocks, clocks);
    assert_eq!(gpu.fast.p_state, Some(2));
    assert_eq!(gpu.slow.power_limit_mw, Some(500_000));
    assert_eq!(gpu.slow.fan_pct, None);
    assert_eq!(gpu.slow.bar1_free_bytes, Some(62 * MIB));
    assert_eq!(gpu.slow.bar1_used_bytes, Some(2 * MIB));
    let link = PcieLink {
        generation: Some(4),
        max_generation: Some(5),
        width: Some(8),
        max_width: Some(16),
    };
    assert_eq!(gpu.slow.pcie, link);
    assert_eq!(gpu.processes.as_ref().unwrap().rows, []);
}

#[test]
fn each_call_that_is_missing_is_a_gap_in_its_own_reading() {
    type Reading = fn(&Gpu) -> bool;
    let cases: &[(&str, Reading)] = &[
        ("nvmlDeviceGetUtilizationRates", |g| {
            g.fast.busy_pct.is_some()
        }),
        ("nvmlDeviceGetEncoderUtilization", |g| {
            g.fast.encoder_pct.is_some()
        }),
        ("nvmlDeviceGetDecoderUtilization", |g| {
            g.fast.decoder_pct.is_some()
        }),
        ("nvmlDeviceGetMemoryInfo*", |g| {
            g.fast.memory != Memory::default()
        }),
        ("nvmlDeviceGetPowerUsage", |g| g.fast.power_mw.is_some()),
        ("nvmlDeviceGetTotalEnergyConsumption", |g| {
            g.fast.energy_mj.is_some()
        }),
        ("nvmlDeviceGetTemperature*", |g| {
            g.fast.temperature_c.is_some()
        }),
        ("nvmlDeviceGetClockInfo", |g| {
            g.fast.clocks != Clocks::default()
        }),
        ("nvmlDeviceGetPerformanceState", |g| {
            g.fast.p_state.is_some()
        }),
        ("nvmlDeviceGetEnforcedPowerLimit", |g| {
            g.slow.power_limit_mw.is_some()
        }),
        ("nvmlDeviceGetBAR1MemoryInfo", |g| {
            g.slow.bar1_free_bytes.is_some()
        }),
        ("nvmlDeviceGetCurrPcieLinkWidth", |g| {
            g.slow.pcie.width.is_some()
        }),
        ("nvmlDeviceGetComputeRunningProcesses_v3", |g| {
            g.processes.is_some()
        }),
    ];
    let mut simulated = Simulated::new(TWO);
    for (call, _) in cases {
        let fault = format!("faults: [{{call: \"{call}\", gpu: 0, code: 3}}]");
        simulated.becomes(&with(TWO, &fault));
        let mut reader = simulated.open().unwrap();
        let gpus = simulated.read(&mut reader, 0).unwrap();
        assert_eq!(states(&gpus), [State::Ok, State::Ok], "{call}");
        for (other, known) in cases {
            assert_eq!(known(&gpus[0]), other != call, "{call}: {other}");
            assert!(known(&gpus[1]), "{call}: {other} of the other GPU");
        }
    }
}

#[test]
fn an_older_driver_is_asked_with_the_older_calls() {
    let faults = "faults:\n  - {call: nvmlDeviceGetMemoryInfo_v2, code: 13}\n  \
                  - {call: nvmlDeviceGetTemperatureV, code: 25}";
    let mut simulated = Simulated::new(&with(TWO, faults));
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    let memory = Memory {
        free_bytes: Some(850 * MIB),
        used_bytes: Some(150 * MIB),
        reserved_bytes: None,
    };
    assert_eq!(gpus[0].fast.memory, memory);
    assert_eq!(gpus[0].fast.temperature_c, Some(55));
}

#[test]
fn a_lost_gpu_costs_the_others_nothing_and_comes_back() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    simulated.becomes(&with(TWO, "faults: [{call: \"*\", gpu: 0, code: 15}]"));
    let gpus = simulated.read(&mut reader, 1).unwrap();
    assert_eq!(uuids(&gpus), ["GPU-a", "GPU-b"]);
    assert_eq!(states(&gpus), [State::Lost, State::Ok]);
    assert_eq!(gpus[0].fast, Default::default());
    assert_eq!(gpus[0].slow, Default::default());
    assert_eq!(gpus[0].processes, None);
    assert_eq!(gpus[1].fast.busy_pct, Some(90));
    assert_eq!(gpus[1].slow.power_limit_mw, Some(500_000));
    simulated.becomes(TWO);
    let gpus = simulated.read(&mut reader, 10).unwrap();
    assert_eq!(states(&gpus), [State::Ok, State::Ok]);
    assert_eq!(gpus[0].fast.busy_pct, Some(90));
    // What was used while it was gone cannot be dated.
    assert_eq!(gpus[0].fast.average_power_w, None);
    assert!(gpus[1].fast.average_power_w.is_some());
}

#[test]
fn a_gpu_that_wants_a_reset_says_so() {
    let fault = "faults: [{call: nvmlDeviceGetUtilizationRates, gpu: 1, code: 16}]";
    let mut simulated = Simulated::new(&with(TWO, fault));
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    assert_eq!(states(&gpus), [State::Ok, State::ResetRequired]);
    assert_eq!(gpus[1].fast.temperature_c, Some(55));
}

#[test]
fn a_gpu_that_wants_a_reset_and_gives_no_handle_either_still_says_so() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    simulated.becomes(&with(
        TWO,
        "faults: [{call: 'nvmlDevice*', gpu: 1, code: 16}]",
    ));
    for seconds in [1, 11, 21] {
        let gpus = simulated.read(&mut reader, seconds).unwrap();
        assert_eq!(states(&gpus), [State::Ok, State::ResetRequired]);
        assert_eq!(gpus[1].fast, Default::default());
    }
    simulated.becomes(TWO);
    let gpus = simulated.read(&mut reader, 31).unwrap();
    assert_eq!(states(&gpus), [State::Ok, State::Ok]);
}

#[test]
fn a_gpu_that_leaves_is_forgotten_and_the_rest_keep_their_names() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    let only_b: String = TWO
        .lines()
        .filter(|line| !line.contains("GPU-a"))
        .map(|l| format!("{l}\n"))
        .collect();
    simulated.becomes(&only_b);
    let gpus = simulated.read(&mut reader, 1).unwrap();
    assert_eq!(uuids(&gpus), ["GPU-b"]);
    assert_eq!(gpus[0].id.index, 0);
    assert!(
        gpus[0].fast.average_power_w.is_some(),
        "its energy counter went on"
    );
    simulated.becomes(TWO);
    let gpus = simulated.read(&mut reader, 1).unwrap();
    assert_eq!(uuids(&gpus), ["GPU-a", "GPU-b"]);
}

#[test]
fn slow_readings_are_repeated_in_between_and_read_again_when_due() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    simulated.becomes(&TWO.replace("default: 500", "default: 400"));
    let gpus = simulated.read(&mut reader, 5).unwrap();
    assert_eq!(gpus[0].slow.power_limit_mw, Some(500_000));
    let gpus = simulated.read(&mut reader, 5).unwrap();
    assert_eq!(gpus[0].slow.power_limit_mw, Some(400_000));
    let fault = "faults: [{call: nvmlDeviceGetEnforcedPowerLimit, code: 999}]";
    simulated.becomes(&with(TWO, fault));
    let gpus = simulated.read(&mut reader, 10).unwrap();
    assert_eq!(
        gpus[0].slow.power_limit_mw, None,
        "a failed reading is a gap"
    );
}

#[test]
fn processes_have_memory_at_once_and_no_sm_time_from_the_first_answer() {
    let row = "pci_bus_id: \"00000000:01:00.0\", processes: [{pid: 77, memory_mib: 300, sm: 40}]";
    let scenario = TWO.replace("pci_bus_id: \"00000000:01:00.0\"", row);
    let mut simulated = Simulated::new(&scenario);
    let mut reader = simulated.open().unwrap();
    let gpus = simulated.read(&mut reader, 0).unwrap();
    let process = &gpus[0].processes.as_ref().unwrap().rows[0];
    assert_eq!((process.pid, process.mem_bytes), (77, Some(300 * MIB)));
    assert_eq!(process.sm_pct, None);
    assert_eq!(gpus[0].fast.memory.used_bytes, Some(350 * MIB));
    assert_eq!(gpus[1].processes.as_ref().unwrap().rows, []);
}

#[test]
fn a_driver_replaced_underneath_is_an_error_that_says_what_to_do() {
    let mut simulated = Simulated::new(TWO);
    let mut reader = simulated.open().unwrap();
    simulated.read(&mut reader, 0).unwrap();
    simulated.becomes(&with(TWO, "faults: [{call: \"nvmlDevice*\", code: 18}]"));
    let error = simulated.read(&mut reader, 1).unwrap_err().to_string();
    assert!(error.contains("launcher restart"), "{error}");
}

#[test]
fn a_driver_that_does_not_start_is_explained() {
    let mut simulated = Simulated::new(TWO);
    for (code, advice) in [
        (9, "not loaded"),
        (4, "/dev/nvidia*"),
        (18, "versions"),
        (999, "NVRM"),
    ] {
        let fault = format!("faults: [{{call: nvmlInit_v2, code: {code}}}]");
        simulated.becomes(&with(TWO, &fault));
        let error = simulated.open().err().unwrap().to_string();
        assert!(error.contains(advice), "{code}: {error}");
    }
    let none: String = TWO
        .lines()
        .filter(|line| !line.contains("GPU-"))
        .map(|l| format!("{l}\n"))
        .collect();
    simulated.becomes(&none.replace("gpus:", "gpus: []"));
    let error = simulated.open().err().unwrap().to_string();
    assert!(error.contains("shows no GPU"), "{error}");
}
