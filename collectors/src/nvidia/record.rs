//! Turns a snapshot into charts. Pure: the same snapshot makes the same frame.

use std::sync::Arc;
use std::time::Duration;

use netdata_plugin::chart::{Chart, Instance};
use netdata_plugin::frame::Frame;

use super::charts::{
    ACTIVITY, BAR1_MEMORY, BEHIND_PEERS, CLOCK_EVENT_REASONS, CLOCK_FREQ, DECODER_UTILIZATION,
    DRIVER_CALL_LATENCY, ENCODER_UTILIZATION, ENGINES, FAN_SPEED, FRAME_BUFFER_MEMORY, GPU_STATE,
    GPU_UTILIZATION, GPU_UTILIZATION_RANGE, HELD_IDLE_MEMORY, MEMORY_TEMPERATURE,
    MEMORY_UTILIZATION, NVIDIA, NVIDIA_SMI, PCIE_LINK, PERFORMANCE_STATE, POWER, POWER_DRAW,
    POWER_HEADROOM, PROCESS_MEMORY, PROCESS_UTILIZATION, PROCESSES, TEMPERATURE,
    TEMPERATURE_LIMITS, TEMPERATURE_MARGIN, TEMPERATURE_MARGIN_LIMITS, THROTTLE, WARMER_THAN_PEERS,
};
use super::peers::Beside;
use super::read::SLOW_EVERY;
use super::record_board;
use super::record_health;
use super::record_links::{self, MigCharted};
use super::snapshot::{Fast, Gpu, Holding, Identity, Processes, Slow, Snapshot, State};

/// The GPUs charted so far, kept so that a tick allocates no ids and labels.
#[derive(Debug, Default)]
pub struct Instances {
    charted: Vec<Charted>,
    held_idle_after_s: u32,
    processes_every_s: u32,
}

#[derive(Debug)]
struct Charted {
    id: Identity,
    /// Of the charts under Netdata's names.
    netdata: Arc<Instance>,
    /// Of the charts that only we have.
    ours: Arc<Instance>,
    /// Of the chart with a threshold of the user's.
    held_idle: Arc<Instance>,
    /// The number of the latest XID error, which outlives its tick.
    last_xid: Option<u64>,
    /// Its MIG instances.
    mig: MigCharted,
    /// Of the charts beside its peers, by the server that they run.
    beside: Option<(String, Arc<Instance>)>,
}

impl Charted {
    fn new(id: &Identity, held_idle_after_s: u32) -> Self {
        let instance = |chart_type| instance(id, chart_type);
        Self {
            id: id.clone(),
            netdata: Arc::new(instance(NVIDIA_SMI).label("source", "rs.d")),
            ours: Arc::new(instance(NVIDIA)),
            held_idle: Arc::new(
                instance(NVIDIA).variable("held_idle_after", held_idle_after_s.into()),
            ),
            last_xid: None,
            mig: MigCharted::default(),
            beside: None,
        }
    }
}

fn instance(id: &Identity, chart_type: &str) -> Instance {
    Instance::new(chart_type, &format!("gpu_{}_", id.uuid.to_lowercase()))
        .label("index", id.index.to_string())
        .label("uuid", &*id.uuid)
        .label("product_name", &*id.product_name)
}

impl Instances {
    /// None yet; processes are read every so many seconds, and an alert is to be raised when memory was held without
    /// use for so many.
    pub fn new(processes_every_s: u32, held_idle_after_s: u32) -> Self {
        Self {
            charted: vec![],
            held_idle_after_s,
            processes_every_s,
        }
    }

    fn of(&mut self, place: usize, id: &Identity) -> &mut Charted {
        let new = || Charted::new(id, self.held_idle_after_s);
        match self.charted.get(place) {
            Some(charted) if charted.id == *id => {}
            Some(_) => self.charted[place] = new(),
            None => self.charted.push(new()),
        }
        &mut self.charted[place]
    }
}

/// Records every GPU. What is unknown is a gap; a chart with gaps only is not sent. Charts of what is read less often
/// than every tick are recorded when it was.
pub fn record(snapshot: &Snapshot, instances: &mut Instances, frame: &mut Frame) {
    for (place, gpu) in snapshot.gpus.iter().enumerate() {
        every_tick(gpu, instances.of(place, &gpu.id), frame);
    }
    frame.every(instances.processes_every_s);
    let gpus = || snapshot.gpus.iter().enumerate();
    for (place, gpu) in gpus().filter(|(_, gpu)| !gpu.kept.processes) {
        with_processes(gpu, instances.of(place, &gpu.id), frame);
    }
    frame.every(SLOW_EVERY.as_secs() as u32);
    for (place, gpu) in gpus().filter(|(_, gpu)| !gpu.kept.slow) {
        with_slow(gpu, instances.of(place, &gpu.id), frame);
    }
    frame.every(0);
}

fn every_tick(gpu: &Gpu, charted: &mut Charted, frame: &mut Frame) {
    let newest = gpu.xids.iter().flatten().last();
    charted.last_xid = newest.copied().or(charted.last_xid);
    let (netdata, ours) = (&charted.netdata, &charted.ours);
    record_links::throughput(gpu, netdata, ours, frame);
    record_links::activity(&ACTIVITY, gpu.fast.activity, ours, frame);
    state(gpu.state, ours, frame);
    record_health::xids(gpu, charted.last_xid, ours, frame);
    record_health::held_idle(gpu, &charted.held_idle, frame);
    record_board::power_sensors(&gpu.fast.power_sensors, ours, frame);
    heat_and_clocks(gpu, ours, frame);
    fast(&gpu.fast, netdata, frame);
    power(gpu, ours, frame);
    frame
        .chart(&DRIVER_CALL_LATENCY, ours)
        .set("fast", gpu.latency.fast_ms)
        .set("processes", gpu.latency.processes_ms)
        .set("slow", gpu.latency.slow_ms);
}

fn with_processes(gpu: &Gpu, charted: &mut Charted, frame: &mut Frame) {
    record_links::mig(gpu, &mut charted.mig, &charted.netdata, frame);
    record_links::by_link(gpu, &charted.ours, frame);
    if let Some(read) = &gpu.processes {
        processes(read, gpu.held_idle, &charted.ours, frame);
    }
}

fn with_slow(gpu: &Gpu, charted: &Charted, frame: &mut Frame) {
    let (netdata, ours) = (&charted.netdata, &charted.ours);
    record_health::record(gpu, ours, frame);
    record_board::board(&gpu.board, ours, frame);
    limits(gpu, ours, frame);
    slow(&gpu.slow, netdata, ours, frame);
}

/// Records GPUs beside their peers, by their places in the snapshot that was recorded last.
pub fn beside_peers(beside: &[(usize, Beside)], instances: &mut Instances, frame: &mut Frame) {
    for (place, it) in beside {
        let Some(charted) = instances.charted.get_mut(*place) else {
            continue;
        };
        if charted
            .beside
            .as_ref()
            .is_none_or(|(server, _)| *server != it.server)
        {
            let new = instance(&charted.id, NVIDIA).label("server", it.server.as_str());
            charted.beside = Some((it.server.clone(), Arc::new(new)));
        }
        let Some((_, instance)) = &charted.beside else {
            continue;
        };
        frame
            .chart(&BEHIND_PEERS, instance)
            .set("clock", it.clock_pct)
            .set("throttled", it.throttled_pct)
            .set("lanes", it.lanes_pct);
        frame
            .chart(&WARMER_THAN_PEERS, instance)
            .set("gpu", it.warmer_c);
    }
}

fn state(state: State, instance: &Arc<Instance>, frame: &mut Frame) {
    let is = |other| f64::from(u8::from(state == other));
    frame
        .chart(&GPU_STATE, instance)
        .set("ok", is(State::Ok))
        .set("lost", is(State::Lost))
        .set("reset_required", is(State::ResetRequired))
        .set("stale", is(State::Stale));
}

fn fast(fast: &Fast, instance: &Arc<Instance>, frame: &mut Frame) {
    let mut one = |chart: &'static Chart, value: Option<f64>| {
        frame.chart(chart, instance).set(chart.dims[0].id, value);
    };
    one(&GPU_UTILIZATION, fast.busy_pct.map(f64::from));
    one(&MEMORY_UTILIZATION, fast.mem_bus_busy_pct.map(f64::from));
    one(&DECODER_UTILIZATION, fast.decoder_pct.map(f64::from));
    one(&ENCODER_UTILIZATION, fast.encoder_pct.map(f64::from));
    one(&TEMPERATURE, fast.temperature_c.map(f64::from));
    one(&POWER_DRAW, watts(fast.power_mw));
    frame
        .chart(&FRAME_BUFFER_MEMORY, instance)
        .set("free", bytes(fast.memory.free_bytes))
        .set("used", bytes(fast.memory.used_bytes))
        .set("reserved", bytes(fast.memory.reserved_bytes));
    frame
        .chart(&CLOCK_FREQ, instance)
        .set("graphics", fast.clocks.graphics_mhz.map(f64::from))
        .set("video", fast.clocks.video_mhz.map(f64::from))
        .set("sm", fast.clocks.sm_mhz.map(f64::from))
        .set("mem", fast.clocks.mem_mhz.map(f64::from));
    let mut states = frame.chart(&PERFORMANCE_STATE, instance);
    for (number, dim) in PERFORMANCE_STATE.dims.iter().enumerate() {
        let is = |state| f64::from(u8::from(usize::from(state) == number));
        states.set(dim.id, fast.p_state.map(is));
    }
}

fn slow(slow: &Slow, netdata: &Arc<Instance>, ours: &Arc<Instance>, frame: &mut Frame) {
    frame
        .chart(&FAN_SPEED, netdata)
        .set("fan_speed", slow.fan_pct.map(f64::from));
    frame
        .chart(&BAR1_MEMORY, netdata)
        .set("free", bytes(slow.bar1_free_bytes))
        .set("used", bytes(slow.bar1_used_bytes));
    frame
        .chart(&ENGINES, ours)
        .set("jpeg", slow.jpeg_pct.map(f64::from))
        .set("ofa", slow.ofa_pct.map(f64::from));
    let link = slow.pcie;
    frame
        .chart(&PCIE_LINK, ours)
        .set("generation", link.generation.map(f64::from))
        .set("generation_max", link.max_generation.map(f64::from))
        .set("width", link.width.map(f64::from))
        .set("width_max", link.max_width.map(f64::from));
}

fn power(gpu: &Gpu, instance: &Arc<Instance>, frame: &mut Frame) {
    frame
        .chart(&POWER, instance)
        .set("average", gpu.fast.average_power_w)
        .set("min", gpu.fast.power_range_w.map(|(low, _)| low))
        .set("max", gpu.fast.power_range_w.map(|(_, high)| high))
        .set("limit", watts(gpu.slow.power_limit_mw));
    let drawn = gpu.fast.average_power_w.or(watts(gpu.fast.power_mw));
    let limit = watts(gpu.slow.power_limit_mw).filter(|limit| *limit > 0.0);
    let left = limit
        .zip(drawn)
        .map(|(limit, drawn)| (limit - drawn) / limit * 100.0);
    frame.chart(&POWER_HEADROOM, instance).set("headroom", left);
}

/// The temperatures at which the board acts.
fn limits(gpu: &Gpu, instance: &Arc<Instance>, frame: &mut Frame) {
    for (chart, limits) in [
        (&TEMPERATURE_LIMITS, &gpu.slow.limits),
        (&TEMPERATURE_MARGIN_LIMITS, &gpu.board.margin_limits),
    ] {
        frame
            .chart(chart, instance)
            .set("slowdown", limits.slowdown_c.map(f64::from))
            .set("shutdown", limits.shutdown_c.map(f64::from))
            .set("gpu_max", limits.gpu_max_c.map(f64::from))
            .set("memory_max", limits.memory_max_c.map(f64::from));
    }
}

fn heat_and_clocks(gpu: &Gpu, instance: &Arc<Instance>, frame: &mut Frame) {
    let (fast, slow) = (&gpu.fast, &gpu.slow);
    frame
        .chart(&GPU_UTILIZATION_RANGE, instance)
        .set("min", fast.busy_range_pct.map(|(low, _)| low))
        .set("max", fast.busy_range_pct.map(|(_, high)| high));
    let below = |limit: Option<i32>, now: Option<i32>| limit.zip(now).map(|(l, now)| l - now);
    let margin = fast
        .margin_c
        .or_else(|| below(slow.limits.slowdown_c, fast.temperature_c));
    frame
        .chart(&MEMORY_TEMPERATURE, instance)
        .set("memory", fast.memory_temperature_c.map(f64::from));
    frame
        .chart(&TEMPERATURE_MARGIN, instance)
        .set("gpu", margin.map(f64::from))
        .set(
            "memory",
            below(slow.limits.memory_max_c, fast.memory_temperature_c).map(f64::from),
        );
    frame
        .chart(&THROTTLE, instance)
        .set("sw_power_cap", fast.throttled.sw_power_cap)
        .set("sw_thermal", fast.throttled.sw_thermal)
        .set("hw_thermal", fast.throttled.hw_thermal)
        .set("hw_power_brake", fast.throttled.hw_power_brake)
        .set("sync_boost", fast.throttled.sync_boost)
        .set("thermal", fast.throttled.thermal);
    let mut reasons = frame.chart(&CLOCK_EVENT_REASONS, instance);
    for (bit, dim) in CLOCK_EVENT_REASONS.dims.iter().enumerate() {
        let set = |mask| f64::from(u8::from(mask & 1_u64 << bit != 0));
        reasons.set(dim.id, fast.clock_reasons.map(set));
    }
}

/// From this time without work on, held memory counts as idle: between two requests it does not.
const IDLE_FROM: Duration = Duration::from_secs(60);

fn processes(
    read: &Processes,
    held_idle: Option<Duration>,
    instance: &Arc<Instance>,
    frame: &mut Frame,
) {
    frame
        .chart(&PROCESSES, instance)
        .set("count", read.rows.len() as f64)
        .set("unresolved", read.unresolved.map(|rows| rows as f64));
    let mut by_holder = |chart, value: &dyn Fn(&Holding) -> Option<f64>| {
        let mut recorded = frame.chart(chart, instance);
        for holding in read.top.iter().chain(&read.other) {
            recorded.set(&holding.name, value(holding));
        }
    };
    by_holder(&PROCESS_MEMORY, &|holding| bytes(holding.mem_bytes));
    by_holder(&PROCESS_UTILIZATION, &|holding| holding.sm_pct);
    by_holder(&HELD_IDLE_MEMORY, &|holding| {
        let idle = held_idle? >= IDLE_FROM;
        bytes(if idle { holding.mem_bytes } else { Some(0) })
    });
}

/// Exact up to 8 PiB.
fn bytes(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64)
}

fn watts(mw: Option<u32>) -> Option<f64> {
    mw.map(|mw| f64::from(mw) / 1e3)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
