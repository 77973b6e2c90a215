//! The part of recording that is about wear, faults and waste.

use std::sync::Arc;

use netdata_plugin::chart::{Chart, Instance};
use netdata_plugin::frame::Frame;

use super::charts::{
    COMPUTE_MODE, ECC_ERRORS, HELD_IDLE, MEMORY_REPAIR, PCIE_REPLAYS, RECOVERY_ACTION,
    REMAPPED_ROWS, RETIRED_PAGES, XID_EVENTS, XID_LAST,
};
use super::snapshot::Gpu;
use super::xid::meaning;

/// Records what one GPU tells of wear and faults.
pub fn record(gpu: &Gpu, instance: &Arc<Instance>, frame: &mut Frame) {
    let count = |count: Option<u64>| count.map(|count| count as f64);
    let flag = |flag: Option<bool>| flag.map(|flag| f64::from(u8::from(flag)));
    let health = &gpu.health;
    let action = health.recovery_action.map(|action| action as usize);
    one_of(&RECOVERY_ACTION, action, instance, frame);
    frame
        .chart(&ECC_ERRORS, instance)
        .set("volatile_corrected", count(health.ecc.volatile_corrected))
        .set(
            "volatile_uncorrected",
            count(health.ecc.volatile_uncorrected),
        )
        .set("aggregate_corrected", count(health.ecc.aggregate_corrected))
        .set(
            "aggregate_uncorrected",
            count(health.ecc.aggregate_uncorrected),
        );
    frame
        .chart(&REMAPPED_ROWS, instance)
        .set("corrected", count(health.remapped.corrected))
        .set("uncorrected", count(health.remapped.uncorrected));
    frame
        .chart(&RETIRED_PAGES, instance)
        .set("single_bit", count(health.retired.single_bit))
        .set("double_bit", count(health.retired.double_bit));
    frame
        .chart(&MEMORY_REPAIR, instance)
        .set("remap_pending", flag(health.remapped.pending))
        .set("remap_failed", flag(health.remapped.failed))
        .set("retirement_pending", flag(health.retired.pending))
        .set(
            "sram_threshold_exceeded",
            flag(gpu.board.sram.threshold_exceeded),
        );
    frame
        .chart(&PCIE_REPLAYS, instance)
        .set("replays", count(health.pcie_replays));
    let mode = gpu.slow.compute_mode.map(|mode| mode as usize);
    one_of(&COMPUTE_MODE, mode, instance, frame);
}

/// Records for how long memory has been held without use; the instance has the alert's threshold.
pub fn held_idle(gpu: &Gpu, instance: &Arc<Instance>, frame: &mut Frame) {
    frame
        .chart(&HELD_IDLE, instance)
        .set("seconds", gpu.held_idle.map(|held| held.as_secs_f64()));
}

/// Records XID errors; `last` is the number of the latest that was seen.
pub fn xids(gpu: &Gpu, last: Option<u64>, instance: &Arc<Instance>, frame: &mut Frame) {
    let mut events = frame.chart(&XID_EVENTS, instance);
    for dim in XID_EVENTS.dims {
        let of_class = |xids: &Vec<u64>| {
            let of = xids
                .iter()
                .filter(|xid| meaning(**xid).class.name() == dim.id);
            of.count() as f64
        };
        events.set(dim.id, gpu.xids.as_ref().map(of_class));
    }
    frame
        .chart(&XID_LAST, instance)
        .set("xid", last.map(|xid| xid as f64));
}

/// 1 for the dimension of that place, 0 for the others. A number beyond them is the last one, which is
/// there for what this version does not know, where the chart ends in `unknown`; else all are gaps.
fn one_of(
    chart: &'static Chart,
    value: Option<usize>,
    instance: &Arc<Instance>,
    frame: &mut Frame,
) {
    let last = chart.dims.len() - 1;
    let value = match value {
        Some(value) if value <= last => Some(value),
        Some(_) if chart.dims[last].id == "unknown" => Some(last),
        _ => None,
    };
    let mut recorded = frame.chart(chart, instance);
    for (place, dim) in chart.dims.iter().enumerate() {
        let is = |value| f64::from(u8::from(value == place));
        recorded.set(dim.id, value.map(is));
    }
}
