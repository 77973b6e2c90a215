//! The part of recording that is about the board and what is around it.

use std::sync::Arc;

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::charts::{
    C2C_LINKS, CONFIDENTIAL_COMPUTE, FABRIC_HEALTH, FABRIC_STATE, MODES, PCIE_ERRORS,
    POWER_SENSORS, SPARE_ROWS, SRAM_ERRORS,
};
use super::snapshot::{Board, PowerSensors};

/// Records the board of one GPU.
pub fn board(board: &Board, instance: &Arc<Instance>, frame: &mut Frame) {
    let count = |count: Option<u64>| count.map(|count| count as f64);
    let small = |count: Option<u32>| count.map(f64::from);
    let flag = |flag: Option<bool>| flag.map(|flag| f64::from(u8::from(flag)));
    let errors = &board.pcie_errors;
    frame
        .chart(&PCIE_ERRORS, instance)
        .set("correctable", count(errors.correctable))
        .set("non_fatal", count(errors.non_fatal))
        .set("fatal", count(errors.fatal))
        .set("unsupported_request", count(errors.unsupported_request))
        .set("receiver", count(errors.receiver))
        .set("bad_tlp", count(errors.bad_tlp))
        .set("bad_dllp", count(errors.bad_dllp))
        .set("lcrc", count(errors.lcrc))
        .set("naks_received", count(errors.naks_received))
        .set("naks_sent", count(errors.naks_sent));
    let mut state = frame.chart(&FABRIC_STATE, instance);
    let last = FABRIC_STATE.dims.len() - 1;
    for (place, dim) in FABRIC_STATE.dims.iter().enumerate() {
        // State 0, no fabric, has no chart.
        let is = |state: u32| f64::from(u8::from((state as usize - 1).min(last) == place));
        state.set(
            dim.id,
            board.fabric_state.filter(|state| *state > 0).map(is),
        );
    }
    let health = &board.fabric_health;
    frame
        .chart(&FABRIC_HEALTH, instance)
        .set("degraded_bandwidth", flag(health.degraded_bandwidth))
        .set("route_recovery", flag(health.route_recovery))
        .set("route_unhealthy", flag(health.route_unhealthy))
        .set(
            "access_timeout_recovery",
            flag(health.access_timeout_recovery),
        )
        .set("misconfigured", flag(health.misconfigured));
    frame
        .chart(&C2C_LINKS, instance)
        .set("up", small(board.c2c.up))
        .set("down", small(board.c2c.down));
    frame
        .chart(&CONFIDENTIAL_COMPUTE, instance)
        .set("off", flag(board.confidential.map(|on| !on)))
        .set("on", flag(board.confidential));
    frame
        .chart(&MODES, instance)
        .set("persistence", flag(board.modes.persistence))
        .set("ecc", flag(board.modes.ecc))
        .set("display_active", flag(board.modes.display_active))
        .set("accounting", flag(board.modes.accounting));
    frame
        .chart(&SRAM_ERRORS, instance)
        .set("corrected", count(board.sram.corrected))
        .set("parity", count(board.sram.parity))
        .set("sec_ded", count(board.sram.sec_ded));
    let banks = &board.spare_rows;
    frame
        .chart(&SPARE_ROWS, instance)
        .set("max", small(banks.max))
        .set("high", small(banks.high))
        .set("partial", small(banks.partial))
        .set("low", small(banks.low))
        .set("none", small(banks.none));
}

/// Records what each of its sensors of power says.
pub fn power_sensors(power: &PowerSensors, instance: &Arc<Instance>, frame: &mut Frame) {
    let watts = |mw: Option<u64>| mw.map(|mw| mw as f64 / 1e3);
    frame
        .chart(&POWER_SENSORS, instance)
        .set("instant", watts(power.instant_mw))
        .set("one_second", watts(power.one_second_mw))
        .set("memory", watts(power.memory_mw))
        .set("module", watts(power.module_mw));
}
