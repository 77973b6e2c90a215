//! Readings that are missing, or that this version does not know.

use super::*;
use crate::nvidia::snapshot::HeatLimits;

/// Of slowing down, of switching off, of the GPU's operation and of its memory's.
pub fn heat_limits([slowdown, shutdown, gpu_max, memory_max]: [i32; 4]) -> HeatLimits {
    HeatLimits {
        slowdown_c: Some(slowdown),
        shutdown_c: Some(shutdown),
        gpu_max_c: Some(gpu_max),
        memory_max_c: Some(memory_max),
    }
}

/// Every reading on its own: taking it away takes away its dimensions, and makes no other value differ.
#[test]
fn each_missing_reading_is_a_gap_and_nothing_else_changes() {
    type Forget = fn(&mut Gpu);
    type Gone<'a> = &'a [(&'a Chart, &'a str)];
    let cases: &[(Forget, Gone<'_>)] = &[
        (|g| g.fast.busy_pct = None, &[(&GPU_UTILIZATION, "gpu")]),
        (
            |g| g.fast.mem_bus_busy_pct = None,
            &[(&MEMORY_UTILIZATION, "memory")],
        ),
        (
            |g| g.fast.encoder_pct = None,
            &[(&ENCODER_UTILIZATION, "encoder")],
        ),
        (
            |g| g.fast.decoder_pct = None,
            &[(&DECODER_UTILIZATION, "decoder")],
        ),
        (
            |g| g.fast.memory.free_bytes = None,
            &[(&FRAME_BUFFER_MEMORY, "free")],
        ),
        (
            |g| g.fast.memory.used_bytes = None,
            &[(&FRAME_BUFFER_MEMORY, "used")],
        ),
        (
            |g| g.fast.memory.reserved_bytes = None,
            &[(&FRAME_BUFFER_MEMORY, "reserved")],
        ),
        (|g| g.fast.power_mw = None, &[(&POWER_DRAW, "power_draw")]),
        (|g| g.fast.average_power_w = None, &[(&POWER, "average")]),
        (
            |g| g.slow.power_limit_mw = None,
            &[(&POWER, "limit"), (&POWER_HEADROOM, "headroom")],
        ),
        (
            |g| g.fast.temperature_c = None,
            &[(&TEMPERATURE, "temperature")],
        ),
        (
            |g| g.fast.clocks.graphics_mhz = None,
            &[(&CLOCK_FREQ, "graphics")],
        ),
        (|g| g.fast.clocks.sm_mhz = None, &[(&CLOCK_FREQ, "sm")]),
        (|g| g.fast.clocks.mem_mhz = None, &[(&CLOCK_FREQ, "mem")]),
        (
            |g| g.fast.clocks.video_mhz = None,
            &[(&CLOCK_FREQ, "video")],
        ),
        (|g| g.slow.fan_pct = None, &[(&FAN_SPEED, "fan_speed")]),
        (|g| g.slow.bar1_free_bytes = None, &[(&BAR1_MEMORY, "free")]),
        (|g| g.slow.bar1_used_bytes = None, &[(&BAR1_MEMORY, "used")]),
        (
            |g| g.slow.pcie.generation = None,
            &[(&PCIE_LINK, "generation")],
        ),
        (
            |g| g.slow.pcie.max_generation = None,
            &[
                (&PCIE_LINK, "generation_max"),
                (&PCIE_BANDWIDTH_UTILIZATION, "rx"),
                (&PCIE_BANDWIDTH_UTILIZATION, "tx"),
            ],
        ),
        (|g| g.slow.pcie.width = None, &[(&PCIE_LINK, "width")]),
        (
            |g| g.slow.pcie.max_width = None,
            &[
                (&PCIE_LINK, "width_max"),
                (&PCIE_BANDWIDTH_UTILIZATION, "rx"),
                (&PCIE_BANDWIDTH_UTILIZATION, "tx"),
            ],
        ),
        (
            |g| g.latency.fast_ms = None,
            &[(&DRIVER_CALL_LATENCY, "fast")],
        ),
        (
            |g| g.latency.processes_ms = None,
            &[(&DRIVER_CALL_LATENCY, "processes")],
        ),
        (
            |g| g.latency.slow_ms = None,
            &[(&DRIVER_CALL_LATENCY, "slow")],
        ),
        (
            |g| g.fast.busy_range_pct = None,
            &[
                (&GPU_UTILIZATION_RANGE, "min"),
                (&GPU_UTILIZATION_RANGE, "max"),
            ],
        ),
        (
            |g| g.fast.power_range_w = None,
            &[(&POWER, "min"), (&POWER, "max")],
        ),
        (
            |g| g.fast.memory_temperature_c = None,
            &[
                (&MEMORY_TEMPERATURE, "memory"),
                (&TEMPERATURE_MARGIN, "memory"),
            ],
        ),
        (
            |g| g.slow.limits.memory_max_c = None,
            &[
                (&TEMPERATURE_MARGIN, "memory"),
                (&TEMPERATURE_LIMITS, "memory_max"),
            ],
        ),
        (
            |g| g.board.margin_limits.shutdown_c = None,
            &[(&TEMPERATURE_MARGIN_LIMITS, "shutdown")],
        ),
        (
            |g| g.fast.throttled.sw_thermal = None,
            &[(&THROTTLE, "sw_thermal")],
        ),
        (
            |g| g.health.ecc.volatile_corrected = None,
            &[(&ECC_ERRORS, "volatile_corrected")],
        ),
        (
            |g| g.health.ecc.aggregate_uncorrected = None,
            &[(&ECC_ERRORS, "aggregate_uncorrected")],
        ),
        (
            |g| g.health.remapped.uncorrected = None,
            &[(&REMAPPED_ROWS, "uncorrected")],
        ),
        (
            |g| g.health.remapped.pending = None,
            &[(&MEMORY_REPAIR, "remap_pending")],
        ),
        (
            |g| g.health.pcie_replays = None,
            &[(&PCIE_REPLAYS, "replays")],
        ),
        (
            |g| g.held_idle = None,
            &[
                (&HELD_IDLE, "seconds"),
                (&HELD_IDLE_MEMORY, "sglang::scheduler_TP0 (marie)"),
                (&HELD_IDLE_MEMORY, "other"),
            ],
        ),
        (|g| g.fast.activity.dram = None, &[(&ACTIVITY, "dram")]),
        (
            |g| g.fast.pcie.rx = None,
            &[(&PCIE_BANDWIDTH, "rx"), (&PCIE_BANDWIDTH_UTILIZATION, "rx")],
        ),
        (
            |g| Arc::make_mut(&mut g.links).each[0].tx = None,
            &[(&NVLINK_THROUGHPUT_BY_LINK, "link0")],
        ),
        (|g| g.slow.ofa_pct = None, &[(&ENGINES, "ofa")]),
        (
            |g| g.mig.enabled = None,
            &[
                (&MIG_MODE, "enabled"),
                (&MIG_MODE, "disabled"),
                (&MIG_DEVICES, "mig"),
            ],
        ),
    ];
    let all = known(&frame_of(vec![gpu()]));
    for (forget, dims) in cases {
        let mut gpu = gpu();
        forget(&mut gpu);
        let left = known(&frame_of(vec![gpu]));
        let gone = all
            .iter()
            .filter(|(id, dim, _)| !left.iter().any(|(i, d, _)| i == id && d == dim));
        let mut gone: Vec<_> = gone
            .map(|(id, dim, _)| (id.as_str(), dim.as_str()))
            .collect();
        let mut expected: Vec<_> = dims
            .iter()
            .map(|(chart, dim)| (chart.context, *dim))
            .collect();
        gone.sort_unstable();
        expected.sort_unstable();
        assert_eq!(gone, expected);
        // The headroom then comes from the driver's own average.
        let differs = left.iter().filter(|value| !all.contains(value));
        assert!(
            differs
                .into_iter()
                .all(|(id, ..)| *id == POWER_HEADROOM.context)
        );
    }
}

#[test]
fn without_a_margin_of_the_drivers_the_threshold_gives_it() {
    let mut gpu = gpu();
    gpu.fast.margin_c = None;
    let margin = values(&frame_of(vec![gpu.clone()]), &TEMPERATURE_MARGIN);
    assert_eq!(margin[0], ("gpu".to_owned(), Some(28.0)));
    gpu.slow.limits.slowdown_c = None;
    assert_eq!(values(&frame_of(vec![gpu]), &TEMPERATURE_MARGIN)[0].1, None);
}

#[test]
fn a_recovery_action_of_the_future_is_unknown_and_a_mode_of_it_a_gap() {
    let mut gpu = gpu();
    gpu.health.recovery_action = Some(99);
    gpu.slow.compute_mode = Some(99);
    let frame = frame_of(vec![gpu]);
    let action = values(&frame, &RECOVERY_ACTION);
    assert_eq!(action.last(), Some(&("unknown".to_owned(), Some(1.0))));
    assert_eq!(
        action
            .iter()
            .filter(|(_, value)| *value == Some(1.0))
            .count(),
        1
    );
    assert_eq!(values(&frame, &COMPUTE_MODE), []);
}

#[test]
fn xids_count_in_their_tick_and_the_latest_number_stays() {
    let (mut instances, mut frame) = (Instances::default(), Frame::default());
    let mut snapshot = Snapshot { gpus: vec![gpu()] };
    record(&snapshot, &mut instances, &mut frame);
    let events = [
        ("user", 1.0),
        ("hardware", 0.0),
        ("fatal", 1.0),
        ("other", 0.0),
    ];
    let expected: Vec<_> = events.map(|(dim, n)| (dim.to_owned(), Some(n))).into();
    assert_eq!(values(&frame, &XID_EVENTS), expected);
    snapshot.gpus[0].xids = Some(vec![]);
    frame.clear();
    record(&snapshot, &mut instances, &mut frame);
    assert!(
        values(&frame, &XID_EVENTS)
            .iter()
            .all(|(_, n)| *n == Some(0.0))
    );
    assert_eq!(values(&frame, &XID_LAST), [("xid".to_owned(), Some(79.0))]);
}

#[test]
fn without_totals_the_links_that_are_up_give_them_and_a_board_without_links_has_none() {
    let mut gpu = gpu();
    gpu.fast.nvlink = Throughput::default();
    let throughput = values(&frame_of(vec![gpu.clone()]), &NVLINK_THROUGHPUT);
    assert_eq!(
        throughput,
        [("rx".to_owned(), Some(6e9)), ("tx".to_owned(), Some(5e9))]
    );
    let state = values(&frame_of(vec![gpu.clone()]), &NVLINK_STATE);
    assert_eq!(
        state,
        [("up".to_owned(), Some(1.0)), ("down".to_owned(), Some(1.0))]
    );
    gpu.links = Arc::default();
    let frame = frame_of(vec![gpu]);
    assert_eq!(values(&frame, &NVLINK_THROUGHPUT), []);
    assert_eq!(values(&frame, &NVLINK_STATE), []);
}

#[test]
fn an_instance_is_charted_as_netdata_does_and_goes_when_it_is_destroyed() {
    let (mut instances, mut frame) = (Instances::default(), Frame::default());
    let mut split = gpu();
    split.mig = Mig {
        enabled: Some(true),
        instances: vec![MigInstance {
            gpu_instance: 9,
            uuid: "MIG-1".to_owned(),
            name: "A100 MIG 1g.10gb".to_owned(),
            memory: Memory {
                free_bytes: Some(7),
                used_bytes: Some(3),
                reserved_bytes: None,
            },
            bar1_bytes: Some((1, 2)),
            activity: Activity::default(),
        }],
    };
    let mut snapshot = Snapshot { gpus: vec![split] };
    record(&snapshot, &mut instances, &mut frame);
    let recorded = frame
        .charts()
        .find(|c| *c.chart() == MIG_FRAME_BUFFER_MEMORY.view());
    let id = &recorded.unwrap().instance().prefix;
    assert_eq!(*id, format!("mig_instance_9_gpu_{}_", UUID.to_lowercase()));
    assert_eq!(
        values(&frame, &MIG_DEVICES),
        [("mig".to_owned(), Some(1.0))]
    );
    assert_eq!(values(&frame, &MIG_ACTIVITY), []);
    snapshot.gpus[0].mig.instances.clear();
    frame.clear();
    record(&snapshot, &mut instances, &mut frame);
    assert_eq!(values(&frame, &MIG_FRAME_BUFFER_MEMORY), []);
    assert_eq!(
        values(&frame, &MIG_DEVICES),
        [("mig".to_owned(), Some(0.0))]
    );
}

#[test]
fn memory_is_idle_only_after_a_minute_without_work() {
    let mut gpu = gpu();
    let of = |gpu: &Gpu| values(&frame_of(vec![gpu.clone()]), &HELD_IDLE_MEMORY)[0].1;
    assert_eq!(of(&gpu), Some(129_000_000_000.0));
    gpu.held_idle = Some(Duration::from_secs(59));
    assert_eq!(of(&gpu), Some(0.0));
}

#[test]
fn what_was_not_read_this_time_is_not_recorded_again() {
    let charts = |kept| {
        let frame = frame_of(vec![Gpu { kept, ..gpu() }]);
        let charts = frame
            .charts()
            .map(|it| (it.chart().context.to_owned(), it.every()));
        charts.collect::<Vec<_>>()
    };
    let has = |charts: &[(String, u32)], context| charts.iter().any(|(it, _)| it == context);
    let all = charts(Kept::default());
    let kept = |processes, slow| charts(Kept { processes, slow });
    let fast = kept(true, true);
    assert!(has(&fast, "nvidia.power") && has(&fast, "nvidia.gpu_state"));
    assert!(!has(&fast, "nvidia.processes") && !has(&fast, "nvidia.ecc_errors"));
    assert!(fast.iter().all(|(_, every)| *every == 0));
    assert!(has(&kept(false, true), "nvidia.processes"));
    let with_slow = kept(true, false);
    assert!(with_slow.contains(&("nvidia.ecc_errors".to_owned(), 10)));
    assert_eq!(
        all.len() - fast.len(),
        (kept(false, true).len() - fast.len()) + (with_slow.len() - fast.len())
    );
}
