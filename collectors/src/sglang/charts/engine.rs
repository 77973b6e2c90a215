//! What the engine does with its time and memory, and how it starts.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::ENGINE;
use crate::sglang::table::spec::{Spec, Take, of, rate, take, with};

/// `scheduler_stage_seconds_total` (0.5.20 and later) by category, `idle` among them, averaged over dp ranks:
/// percentage of wall time.
pub static ENGINE_TIME: Chart = Chart {
    id: "engine_time",
    context: "sglang.engine_time",
    family: "engine",
    title: "Time of the main thread of the scheduler",
    units: "percentage",
    kind: Kind::Stacked,
    priority: ENGINE,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `forward_execution_seconds_total` (0.5.11 and later; before `gpu_execution_seconds_total`, 0.5.7) by category,
/// averaged over dp ranks: percentage of wall time.
pub static FORWARD_TIME: Chart = Chart {
    id: "forward_time",
    context: "sglang.forward_time",
    family: "engine",
    title: "Time in forward passes",
    units: "percentage",
    kind: Kind::Stacked,
    priority: ENGINE + 1,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `process_cpu_seconds_total` by component (0.5.8 and later), `scheduler_process_cpu_seconds_total` (0.5.20 and
/// later), summed over dp ranks: percentage of one core.
pub static ENGINE_CPU: Chart = Chart {
    id: "engine_cpu",
    context: "sglang.engine_cpu",
    family: "engine",
    title: "CPU time by its own account",
    units: "percentage",
    kind: Kind::Line,
    priority: ENGINE + 2,
    dims: &[
        Dim::milli("tokenizer").optional(),
        Dim::milli("detokenizer").optional(),
        Dim::milli("scheduler").optional(),
    ],
    dynamic: None,
};

/// `cuda_graph_passes_total` by mode (0.5.7 and later): forward passes/s; `…_none` ran without a graph.
pub static CUDA_GRAPH: Chart = Chart {
    id: "cuda_graph",
    context: "sglang.cuda_graph",
    family: "engine",
    title: "Forward passes by CUDA graph",
    units: "passes/s",
    kind: Kind::Stacked,
    priority: ENGINE + 3,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `weight_memory_usage_gb`, `kv_cache_memory_usage_gb`, `graph_memory_usage_gb` (0.5.18 and later), of the first
/// tensor rank of each dp rank: GiB.
pub static ENGINE_MEMORY: Chart = Chart {
    id: "engine_memory",
    context: "sglang.engine_memory",
    family: "engine",
    title: "GPU memory by use",
    units: "GiB",
    kind: Kind::Stacked,
    priority: ENGINE + 4,
    dims: &[
        Dim::milli("weights"),
        Dim::milli("kv_cache"),
        Dim::milli("graphs").optional(),
    ],
    dynamic: None,
};

/// `startup_time_seconds` by phase (0.5.18 and later), before `engine_load_weights_time` and `engine_startup_time`
/// (0.5.2): seconds.
pub static STARTUP_TIME: Chart = Chart {
    id: "startup_time",
    context: "sglang.startup_time",
    family: "engine",
    title: "How long its start took",
    units: "seconds",
    kind: Kind::Line,
    priority: ENGINE + 5,
    dims: &[
        Dim::milli("load_weight"),
        Dim::milli("kv_cache_allocation").optional(),
        Dim::milli("scheduler_e2e"),
        Dim::milli("tokenizer_e2e").optional(),
    ],
    dynamic: None,
};

/// The charts that are made by the table.
pub const TABLE: &[Spec] = &[
    Spec::by(
        "category",
        &ENGINE_TIME,
        take(Take::TypicalRate, &[of("scheduler_stage_seconds_total")]).times(100.0),
    ),
    Spec::by(
        "category",
        &FORWARD_TIME,
        take(
            Take::TypicalRate,
            &[
                of("forward_execution_seconds_total"),
                of("gpu_execution_seconds_total"),
            ],
        )
        .times(100.0),
    ),
    Spec::new(
        &ENGINE_CPU,
        &[
            rate(&[with("process_cpu_seconds_total", "component", "tokenizer")]).times(100.0),
            rate(&[with(
                "process_cpu_seconds_total",
                "component",
                "detokenizer",
            )])
            .times(100.0),
            rate(&[of("scheduler_process_cpu_seconds_total")]).times(100.0),
        ],
    ),
    Spec::by("mode", &CUDA_GRAPH, rate(&[of("cuda_graph_passes_total")])),
    Spec::new(
        &ENGINE_MEMORY,
        &[
            take(Take::Fact, &[of("weight_memory_usage_gb")]),
            take(Take::Fact, &[of("kv_cache_memory_usage_gb")]),
            take(Take::Fact, &[of("graph_memory_usage_gb")]),
        ],
    ),
    Spec::new(
        &STARTUP_TIME,
        &[
            take(
                Take::Fact,
                &[
                    with("startup_time_seconds", "phase", "load_weight"),
                    of("engine_load_weights_time"),
                ],
            ),
            take(
                Take::Fact,
                &[with("startup_time_seconds", "phase", "kv_cache_allocation")],
            ),
            take(
                Take::Fact,
                &[
                    with("startup_time_seconds", "phase", "scheduler_e2e"),
                    of("engine_startup_time"),
                ],
            ),
            take(
                Take::Fact,
                &[with("startup_time_seconds", "phase", "tokenizer_e2e")],
            ),
        ],
    ),
];
