//! Snapshots made by hand, and what must and must not be charted of them.

use super::*;
use crate::gpu_usage::Kind;
use crate::nvidia::charts::*;
use crate::nvidia::snapshot::{
    Activity, Board, C2c, Clocks, Ecc, FabricHealth, Health, Holding, Kept, Latency, Link,
    LinkErrors, Links, Memory, Mig, MigInstance, Modes, PcieErrors, PcieLink, PowerSensors,
    Process, RemappedRows, RetiredPages, SpareRows, SramErrors, Throttled, Throughput,
};
use std::time::Duration;

#[path = "record_tests_missing.rs"]
mod missing;

const UUID: &str = "GPU-0A1b2c3d-0000-1111-2222-333344445555";

/// A board that tells everything.
fn board() -> Board {
    Board {
        pcie_errors: PcieErrors {
            correctable: Some(1),
            non_fatal: Some(2),
            fatal: Some(3),
            unsupported_request: Some(4),
            receiver: Some(5),
            bad_tlp: Some(6),
            bad_dllp: Some(7),
            lcrc: Some(8),
            naks_received: Some(9),
            naks_sent: Some(10),
        },
        fabric_state: Some(3),
        fabric_health: FabricHealth::from_mask(0x1a9),
        c2c: C2c {
            up: Some(1),
            down: Some(1),
        },
        confidential: Some(false),
        modes: Modes {
            persistence: Some(true),
            ecc: Some(true),
            display_active: Some(false),
            accounting: Some(false),
        },
        sram: SramErrors {
            corrected: Some(11),
            parity: Some(12),
            sec_ded: Some(13),
            threshold_exceeded: Some(false),
        },
        spare_rows: SpareRows {
            max: Some(6_100),
            high: Some(40),
            partial: Some(3),
            low: Some(1),
            none: Some(0),
        },
        margin_limits: missing::heat_limits([-2, -8, 0, 95]),
    }
}

/// One GPU that tells everything.
fn gpu() -> Gpu {
    Gpu {
        kept: Kept::default(),
        id: Identity {
            uuid: UUID.into(),
            index: 2,
            product_name: "NVIDIA H200 NVL".into(),
        },
        state: State::Ok,
        fast: Fast {
            busy_pct: Some(97),
            busy_range_pct: Some((80.0, 100.0)),
            mem_bus_busy_pct: Some(41),
            encoder_pct: Some(0),
            decoder_pct: Some(3),
            activity: Activity {
                sm: Some(88.5),
                occupancy: Some(33.25),
                tensor: Some(40.0),
                dram: Some(61.0),
            },
            pcie: Throughput {
                tx: Some(1_000_000.0),
                rx: Some(6_300_800_000.0),
            },
            nvlink: Throughput {
                tx: Some(5e9),
                rx: Some(6e9),
            },
            memory: Memory {
                free_bytes: Some(20_000_000_000),
                used_bytes: Some(130_000_000_000),
                reserved_bytes: Some(700_000_000),
            },
            power_mw: Some(423_456),
            energy_mj: Some(987_654_321),
            average_power_w: Some(419.25),
            power_range_w: Some((300.5, 560.0)),
            power_sensors: PowerSensors {
                instant_mw: Some(431_000),
                one_second_mw: Some(423_456),
                memory_mw: Some(90_250),
                module_mw: Some(700_000),
            },
            temperature_c: Some(64),
            memory_temperature_c: Some(72),
            margin_c: Some(23),
            clock_reasons: Some(0x24),
            throttled: Throttled {
                sw_power_cap: Some(12.5),
                sw_thermal: Some(0.5),
                hw_thermal: Some(0.0),
                hw_power_brake: Some(0.0),
                sync_boost: Some(0.0),
                thermal: None,
            },
            clocks: Clocks {
                graphics_mhz: Some(1_755),
                sm_mhz: Some(1_740),
                mem_mhz: Some(3_201),
                video_mhz: Some(1_215),
            },
            p_state: Some(0),
        },
        processes: Some(Arc::new(Processes {
            rows: vec![process(100), process(200)],
            unresolved: Some(1),
            top: vec![holding("sglang::scheduler_TP0 (marie)", 129_000_000_000)],
            other: Some(holding("other", 1_000_000)),
        })),
        slow: Slow {
            power_limit_mw: Some(600_000),
            limits: missing::heat_limits([92, 96, 85, 95]),
            compute_mode: Some(0),
            jpeg_pct: Some(1),
            ofa_pct: Some(2),
            fan_pct: Some(30),
            bar1_free_bytes: Some(256_000_000_000),
            bar1_used_bytes: Some(1_000_000),
            pcie: PcieLink {
                generation: Some(1),
                max_generation: Some(5),
                width: Some(8),
                max_width: Some(16),
            },
        },
        links: Arc::new(Links {
            each: vec![
                Link {
                    up: true,
                    tx: Some(5e9),
                    rx: Some(6e9),
                    errors: LinkErrors {
                        replays: Some(1),
                        recoveries: Some(2),
                        crc: Some(3),
                    },
                },
                Link::default(),
            ],
        }),
        mig: Mig {
            enabled: Some(false),
            instances: vec![],
        },
        board: board(),
        health: Health {
            ecc: Ecc {
                volatile_corrected: Some(2),
                volatile_uncorrected: Some(0),
                aggregate_corrected: Some(7),
                aggregate_uncorrected: Some(1),
            },
            remapped: RemappedRows {
                corrected: Some(1),
                uncorrected: Some(2),
                pending: Some(true),
                failed: Some(false),
            },
            retired: RetiredPages::default(),
            recovery_action: Some(4),
            pcie_replays: Some(3),
        },
        xids: Some(vec![31, 79]),
        held_idle: Some(Duration::from_secs(90)),
        latency: Latency {
            fast_ms: Some(0.125),
            processes_ms: Some(4.5),
            slow_ms: Some(1.0),
        },
    }
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        start_ticks: Some(1),
        name: Some("sglang::scheduler_TP0".into()),
        user: Some("marie".into()),
        mem_bytes: Some(1),
        sm_pct: None,
        kind: Kind::Compute,
    }
}

fn holding(name: &str, mem_bytes: u64) -> Holding {
    Holding {
        name: name.to_owned(),
        mem_bytes: Some(mem_bytes),
        sm_pct: Some(40.5),
    }
}

fn frame_of(gpus: Vec<Gpu>) -> Frame {
    let mut frame = Frame::default();
    record(&Snapshot { gpus }, &mut Instances::default(), &mut frame);
    frame
}

/// Values of a chart of the first GPU; empty where the chart is absent or has gaps only.
fn values(frame: &Frame, chart: &Chart) -> Vec<(String, Option<f64>)> {
    let values: Vec<_> = frame
        .charts()
        .find(|recorded| recorded.chart() == chart)
        .map(|recorded| {
            let values = recorded.values();
            values
                .map(|(name, value)| (name.to_owned(), value))
                .collect()
        })
        .unwrap_or_default();
    if values
        .iter()
        .all(|(_, value): &(_, Option<f64>)| value.is_none())
    {
        return vec![];
    }
    values
}

#[test]
fn a_gpu_that_tells_everything_is_charted_as_it_says() {
    insta::assert_snapshot!(frame_of(vec![gpu()]));
}

#[test]
fn ids_are_in_lower_case_and_labels_as_the_driver_says() {
    let frame = frame_of(vec![gpu()]);
    let recorded = frame
        .charts()
        .find(|c| *c.chart() == GPU_UTILIZATION)
        .unwrap();
    let instance = recorded.instance();
    assert_eq!(instance.chart_type, "nvidia_smi");
    assert_eq!(instance.prefix, format!("gpu_{}_", UUID.to_lowercase()));
    let labels: Vec<_> = instance
        .labels
        .iter()
        .map(|label| (&*label.key, label.value.as_str()))
        .collect();
    assert_eq!(
        labels,
        [
            ("index", "2"),
            ("uuid", UUID),
            ("product_name", "NVIDIA H200 NVL"),
            ("source", "rs.d")
        ]
    );
}

#[test]
fn a_gpu_that_tells_nothing_has_a_state_and_no_other_chart() {
    let silent = Gpu {
        id: gpu().id,
        ..Gpu::default()
    };
    let frame = frame_of(vec![silent]);
    for recorded in frame.charts() {
        let known = recorded
            .values()
            .filter(|(_, value)| value.is_some())
            .count();
        let expected = if *recorded.chart() == GPU_STATE { 4 } else { 0 };
        assert_eq!(known, expected, "{}", recorded.chart().id);
    }
    assert!(values(&frame, &GPU_STATE).contains(&("stale".to_owned(), Some(1.0))));
}

/// Every dimension with a value.
fn known(frame: &Frame) -> Vec<(String, String, f64)> {
    let charts = frame.charts().flat_map(|recorded| {
        let context = recorded.chart().context;
        let values: Vec<_> = recorded.values().map(|(n, v)| (n.to_owned(), v)).collect();
        values
            .into_iter()
            .filter_map(move |(name, value)| Some((context.to_owned(), name, value?)))
    });
    charts.collect()
}

#[test]
fn a_gpu_without_a_fan_emits_no_fan_chart() {
    let mut gpu = gpu();
    gpu.slow.fan_pct = None;
    assert_eq!(values(&frame_of(vec![gpu]), &FAN_SPEED), []);
}

#[test]
fn an_unknown_p_state_is_a_gap_in_all_sixteen() {
    let mut gpu = gpu();
    gpu.fast.p_state = Some(8);
    let states = values(&frame_of(vec![gpu.clone()]), &PERFORMANCE_STATE);
    let ones: Vec<_> = states
        .iter()
        .filter(|(_, value)| *value == Some(1.0))
        .collect();
    assert_eq!(states.len(), 16);
    assert_eq!(ones, [&("P8".to_owned(), Some(1.0))]);
    gpu.fast.p_state = None;
    assert_eq!(values(&frame_of(vec![gpu]), &PERFORMANCE_STATE), []);
}

#[test]
fn an_unreadable_list_of_processes_is_no_zero_and_an_empty_one_is() {
    let mut gpu = gpu();
    gpu.processes = None;
    let frame = frame_of(vec![gpu.clone()]);
    assert_eq!(values(&frame, &PROCESSES), []);
    assert_eq!(values(&frame, &PROCESS_MEMORY), []);
    gpu.processes = Some(Arc::default());
    let frame = frame_of(vec![gpu]);
    assert_eq!(
        values(&frame, &PROCESSES)[0],
        ("count".to_owned(), Some(0.0))
    );
    assert_eq!(values(&frame, &PROCESS_MEMORY), []);
}

#[test]
fn a_lost_gpu_says_so_and_the_others_keep_their_data() {
    let lost = Gpu {
        id: Identity {
            uuid: "GPU-lost".into(),
            index: 0,
            ..gpu().id
        },
        state: State::Lost,
        ..Gpu::default()
    };
    let frame = frame_of(vec![lost, gpu()]);
    assert!(values(&frame, &GPU_STATE).contains(&("lost".to_owned(), Some(1.0))));
    let (alone, both) = (known(&frame_of(vec![gpu()])), known(&frame));
    assert!(alone.iter().all(|value| both.contains(value)));
    assert_eq!(both.len(), alone.len() + 4);
}

#[test]
fn instances_are_kept_between_ticks_and_rebuilt_for_another_gpu_in_the_same_place() {
    let (mut instances, mut frame) = (Instances::default(), Frame::default());
    let first = |frame: &Frame| Arc::clone(frame.charts().next().unwrap().instance());
    let mut snapshot = Snapshot { gpus: vec![gpu()] };
    record(&snapshot, &mut instances, &mut frame);
    let before = first(&frame);
    frame.clear();
    record(&snapshot, &mut instances, &mut frame);
    assert!(Arc::ptr_eq(&before, &first(&frame)));
    snapshot.gpus[0].id.uuid = "GPU-9".into();
    frame.clear();
    record(&snapshot, &mut instances, &mut frame);
    assert_eq!(first(&frame).prefix, "gpu_gpu-9_");
}

#[test]
fn a_fabric_is_in_one_state_and_a_later_one_is_unknown() {
    for (state, expected) in [
        (Some(1), Some("not_started")),
        (Some(3), Some("completed")),
        (Some(9), Some("unknown")),
        (Some(0), None),
        (None, None),
    ] {
        let mut gpu = gpu();
        gpu.board.fabric_state = state;
        let frame = frame_of(vec![gpu]);
        let states = values(&frame, &FABRIC_STATE);
        let set = states.iter().find(|(_, value)| *value == Some(1.0));
        assert_eq!(set.map(|(name, _)| name.as_str()), expected, "{state:?}");
    }
}
