//! The part of recording that is about PCI Express, NVLinks and MIG instances.

use std::sync::Arc;

use netdata_plugin::chart::{Chart, Instance};
use netdata_plugin::frame::Frame;

use super::charts::{
    MIG_ACTIVITY, MIG_BAR1_MEMORY, MIG_DEVICES, MIG_FRAME_BUFFER_MEMORY, MIG_MODE, NVIDIA,
    NVIDIA_SMI, NVLINK_ERRORS, NVLINK_ERRORS_BY_LINK, NVLINK_STATE, NVLINK_THROUGHPUT,
    NVLINK_THROUGHPUT_BY_LINK, PCIE_BANDWIDTH, PCIE_BANDWIDTH_UTILIZATION,
};
use super::snapshot::{Activity, Gpu, Identity, Link, LinkErrors, MigInstance, PcieLink};

/// What passes over all links together.
pub fn throughput(gpu: &Gpu, netdata: &Arc<Instance>, ours: &Arc<Instance>, frame: &mut Frame) {
    let pcie = gpu.fast.pcie;
    frame
        .chart(&PCIE_BANDWIDTH, netdata)
        .set("rx", pcie.rx)
        .set("tx", pcie.tx);
    let best = best_bytes_per_second(gpu.slow.pcie);
    let share = |bytes: Option<f64>| bytes.zip(best).map(|(bytes, best)| bytes / best * 100.0);
    frame
        .chart(&PCIE_BANDWIDTH_UTILIZATION, netdata)
        .set("rx", share(pcie.rx))
        .set("tx", share(pcie.tx));
    let sum = |of: fn(&Link) -> Option<f64>| {
        let mut up = gpu.links.each.iter().filter(|link| link.up).peekable();
        up.peek()?;
        up.map(of).sum::<Option<f64>>()
    };
    frame
        .chart(&NVLINK_THROUGHPUT, ours)
        .set("rx", gpu.fast.nvlink.rx.or_else(|| sum(|link| link.rx)))
        .set("tx", gpu.fast.nvlink.tx.or_else(|| sum(|link| link.tx)));
}

/// What each NVLink does.
pub fn by_link(gpu: &Gpu, ours: &Arc<Instance>, frame: &mut Frame) {
    let links = &gpu.links.each;
    if links.is_empty() {
        return;
    }
    let up = links.iter().filter(|link| link.up).count();
    frame
        .chart(&NVLINK_STATE, ours)
        .set("up", up as f64)
        .set("down", (links.len() - up) as f64);
    each_link(&NVLINK_THROUGHPUT_BY_LINK, ours, frame, links, |link| {
        link.tx.zip(link.rx).map(|(tx, rx)| tx + rx)
    });
    // A sum with an unknown part is unknown.
    fn total(mut of: impl Iterator<Item = Option<u64>>) -> Option<f64> {
        let total = of.try_fold(0_u64, |sum, errors| Some(sum.saturating_add(errors?)));
        total.map(|errors| errors as f64)
    }
    let errors = |of: fn(&LinkErrors) -> Option<u64>| {
        let mut up = links.iter().filter(|link| link.up).peekable();
        up.peek()?;
        total(up.map(|link| of(&link.errors)))
    };
    frame
        .chart(&NVLINK_ERRORS, ours)
        .set("replay", errors(|errors| errors.replays))
        .set("recovery", errors(|errors| errors.recoveries))
        .set("crc", errors(|errors| errors.crc));
    each_link(&NVLINK_ERRORS_BY_LINK, ours, frame, links, |link| {
        let of = link.errors;
        total([of.replays, of.recoveries, of.crc].into_iter())
    });
}

fn each_link(
    chart: &'static Chart,
    instance: &Arc<Instance>,
    frame: &mut Frame,
    links: &[Link],
    value: impl Fn(&Link) -> Option<f64>,
) {
    let mut recorded = frame.chart(chart, instance);
    for (number, link) in links.iter().enumerate().filter(|(_, link)| link.up) {
        recorded.set(
            LINK_NAMES.get(number).copied().unwrap_or("more"),
            value(link),
        );
    }
}

/// Names of links, so that recording allocates none.
const LINK_NAMES: [&str; 36] = [
    "link0", "link1", "link2", "link3", "link4", "link5", "link6", "link7", "link8", "link9",
    "link10", "link11", "link12", "link13", "link14", "link15", "link16", "link17", "link18",
    "link19", "link20", "link21", "link22", "link23", "link24", "link25", "link26", "link27",
    "link28", "link29", "link30", "link31", "link32", "link33", "link34", "link35",
];

/// What the link carries each way at best, after its encoding.
fn best_bytes_per_second(link: PcieLink) -> Option<f64> {
    let megabytes_a_lane = match link.max_generation? {
        1 => 250.0,
        2 => 500.0,
        3 => 985.0,
        4 => 1969.0,
        5 => 3938.0,
        6 => 7563.0,
        _ => return None,
    };
    let lanes = link.max_width.filter(|lanes| *lanes > 0)?;
    Some(megabytes_a_lane * 1e6 * f64::from(lanes))
}

/// The instances charted so far of one GPU, kept so that a tick allocates no ids and labels.
#[derive(Debug, Default)]
pub struct MigCharted(Vec<(MigKey, Arc<Instance>, Arc<Instance>)>);

type MigKey = (u32, String);

/// Whether the GPU is split, and its instances.
pub fn mig(gpu: &Gpu, charted: &mut MigCharted, netdata: &Arc<Instance>, frame: &mut Frame) {
    let is = |wanted: bool| {
        gpu.mig
            .enabled
            .map(|enabled| f64::from(u8::from(enabled == wanted)))
    };
    frame
        .chart(&MIG_MODE, netdata)
        .set("enabled", is(true))
        .set("disabled", is(false));
    let count = gpu.mig.enabled.map(|_| gpu.mig.instances.len() as f64);
    frame.chart(&MIG_DEVICES, netdata).set("mig", count);
    charted.0.retain(|((id, uuid), ..)| {
        let there = |part: &MigInstance| part.gpu_instance == *id && part.uuid == *uuid;
        gpu.mig.instances.iter().any(there)
    });
    for part in &gpu.mig.instances {
        let known = charted
            .0
            .iter()
            .position(|((id, _), ..)| *id == part.gpu_instance);
        let place = known.unwrap_or_else(|| {
            let key = (part.gpu_instance, part.uuid.clone());
            let netdata = mig_instance(NVIDIA_SMI, &gpu.id, part).label("source", "rs.d");
            let ours = mig_instance(NVIDIA, &gpu.id, part);
            charted.0.push((key, Arc::new(netdata), Arc::new(ours)));
            charted.0.len() - 1
        });
        let (_, netdata, ours) = &charted.0[place];
        let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
        frame
            .chart(&MIG_FRAME_BUFFER_MEMORY, netdata)
            .set("free", bytes(part.memory.free_bytes))
            .set("used", bytes(part.memory.used_bytes))
            .set("reserved", bytes(part.memory.reserved_bytes));
        frame
            .chart(&MIG_BAR1_MEMORY, netdata)
            .set("free", bytes(part.bar1_bytes.map(|(free, _)| free)))
            .set("used", bytes(part.bar1_bytes.map(|(_, used)| used)));
        activity(&MIG_ACTIVITY, part.activity, ours, frame);
    }
}

/// How busy the parts are.
pub fn activity(
    chart: &'static Chart,
    activity: Activity,
    instance: &Arc<Instance>,
    frame: &mut Frame,
) {
    frame
        .chart(chart, instance)
        .set("sm", activity.sm)
        .set("occupancy", activity.occupancy)
        .set("tensor", activity.tensor)
        .set("dram", activity.dram);
}

/// Named as Netdata's own: by the GPU and the number of the GPU instance.
fn mig_instance(chart_type: &str, gpu: &Identity, part: &MigInstance) -> Instance {
    let uuid = gpu.uuid.to_lowercase();
    let prefix = format!("mig_instance_{}_gpu_{uuid}_", part.gpu_instance);
    Instance::new(chart_type, &prefix)
        .label("gpu_uuid", &*gpu.uuid)
        .label("gpu_product_name", &*gpu.product_name)
        .label("gpu_instance_id", part.gpu_instance.to_string())
        .label("mig_uuid", &*part.uuid)
        .label("mig_name", part.name.as_str())
}
