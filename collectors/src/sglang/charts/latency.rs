//! How long requests take and how long they are.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::LATENCY;
use crate::sglang::measure::Measure;
use crate::sglang::table::spec::{Spec, Take, of, take};

/// The three charts of a latency histogram.
#[derive(Debug)]
pub struct Latency {
    /// Which one.
    pub measure: Measure,
    /// Percentiles and mean of the window, in milliseconds.
    pub percentiles: Chart,
    /// New observations per second by bucket.
    pub distribution: Chart,
    /// How many observations the window holds.
    pub observations: Chart,
}

const PERCENTILES: Chart = Chart {
    id: "",
    context: "",
    family: "latency",
    title: "",
    units: "milliseconds",
    kind: Kind::Line,
    priority: 0,
    dims: &[
        Dim::milli("p50"),
        Dim::milli("p90"),
        Dim::milli("p99"),
        Dim::milli("average"),
    ],
    dynamic: None,
};

const DISTRIBUTION: Chart = Chart {
    units: "observations/s",
    kind: Kind::Heatmap,
    dims: &[],
    dynamic: Some(Dim::milli("le")),
    ..PERCENTILES
};

const OBSERVATIONS: Chart = Chart {
    units: "observations",
    kind: Kind::Line,
    dims: &[Dim::new("in_window")],
    ..PERCENTILES
};

/// Along a request's way.
pub static LATENCIES: &[Latency] = &[
    Latency {
        measure: Measure::QueueTime,
        percentiles: Chart {
            id: "queue_time",
            context: "sglang.queue_time",
            title: "Time in the queue",
            priority: LATENCY,
            ..PERCENTILES
        },
        distribution: Chart {
            id: "queue_time_distribution",
            context: "sglang.queue_time_distribution",
            title: "Time in the queue, distribution in seconds",
            priority: LATENCY + 1,
            ..DISTRIBUTION
        },
        observations: Chart {
            id: "queue_time_observations",
            context: "sglang.queue_time_observations",
            title: "Requests behind the time in the queue",
            priority: LATENCY + 2,
            ..OBSERVATIONS
        },
    },
    Latency {
        measure: Measure::TimeToFirstToken,
        percentiles: Chart {
            id: "time_to_first_token",
            context: "sglang.time_to_first_token",
            title: "Time to first token",
            priority: LATENCY + 3,
            ..PERCENTILES
        },
        distribution: Chart {
            id: "time_to_first_token_distribution",
            context: "sglang.time_to_first_token_distribution",
            title: "Time to first token, distribution in seconds",
            priority: LATENCY + 4,
            ..DISTRIBUTION
        },
        observations: Chart {
            id: "time_to_first_token_observations",
            context: "sglang.time_to_first_token_observations",
            title: "Requests behind the time to first token",
            priority: LATENCY + 5,
            ..OBSERVATIONS
        },
    },
    Latency {
        measure: Measure::InterTokenLatency,
        percentiles: Chart {
            id: "inter_token_latency",
            context: "sglang.inter_token_latency",
            title: "Inter-token latency",
            priority: LATENCY + 6,
            ..PERCENTILES
        },
        distribution: Chart {
            id: "inter_token_latency_distribution",
            context: "sglang.inter_token_latency_distribution",
            title: "Inter-token latency, distribution in seconds",
            priority: LATENCY + 7,
            ..DISTRIBUTION
        },
        observations: Chart {
            id: "inter_token_latency_observations",
            context: "sglang.inter_token_latency_observations",
            title: "Tokens behind the inter-token latency",
            priority: LATENCY + 8,
            ..OBSERVATIONS
        },
    },
    Latency {
        measure: Measure::TimePerOutputToken,
        percentiles: Chart {
            id: "time_per_output_token",
            context: "sglang.time_per_output_token",
            title: "Time per output token of a request",
            priority: LATENCY + 9,
            ..PERCENTILES
        },
        distribution: Chart {
            id: "time_per_output_token_distribution",
            context: "sglang.time_per_output_token_distribution",
            title: "Time per output token of a request, distribution in seconds",
            priority: LATENCY + 10,
            ..DISTRIBUTION
        },
        observations: Chart {
            id: "time_per_output_token_observations",
            context: "sglang.time_per_output_token_observations",
            title: "Requests behind the time per output token",
            priority: LATENCY + 11,
            ..OBSERVATIONS
        },
    },
    Latency {
        measure: Measure::E2eLatency,
        percentiles: Chart {
            id: "e2e_latency",
            context: "sglang.e2e_latency",
            title: "Request latency, end to end",
            priority: LATENCY + 12,
            ..PERCENTILES
        },
        distribution: Chart {
            id: "e2e_latency_distribution",
            context: "sglang.e2e_latency_distribution",
            title: "Request latency, end to end, distribution in seconds",
            priority: LATENCY + 13,
            ..DISTRIBUTION
        },
        observations: Chart {
            id: "e2e_latency_observations",
            context: "sglang.e2e_latency_observations",
            title: "Requests behind the end-to-end latency",
            priority: LATENCY + 14,
            ..OBSERVATIONS
        },
    },
];

/// Share of the window's observations at or under the user's thresholds, each moved to the nearest bucket
/// bound (labels `…_edge_ms`): percentage. Only with `slo` in the configuration.
pub static SLO_ATTAINMENT: Chart = Chart {
    id: "slo_attainment",
    context: "sglang.slo_attainment",
    family: "latency",
    title: "Requests within the thresholds",
    units: "percentage",
    kind: Kind::Line,
    priority: LATENCY + 15,
    dims: &[
        Dim::milli("ttft").optional(),
        Dim::milli("itl").optional(),
        Dim::milli("e2e").optional(),
    ],
    dynamic: None,
};

/// From the same, over the two windows of `slo`, the lower of both: 1 where exactly as many requests miss the
/// threshold as the objective allows.
pub static SLO_BURN_RATE: Chart = Chart {
    id: "slo_burn_rate",
    context: "sglang.slo_burn_rate",
    family: "latency",
    title: "Pace at which the budget of late requests is spent",
    units: "times",
    kind: Kind::Line,
    priority: LATENCY + 19,
    dims: &[
        Dim::milli("ttft").optional(),
        Dim::milli("itl").optional(),
        Dim::milli("e2e").optional(),
    ],
    dynamic: None,
};

/// `per_stage_req_latency_seconds` (0.5.3 and later): average of what passed a stage between two pages,
/// milliseconds.
pub static STAGE_LATENCY: Chart = Chart {
    id: "stage_latency",
    context: "sglang.stage_latency",
    family: "latency",
    title: "Time in each stage of the scheduler",
    units: "milliseconds",
    kind: Kind::Line,
    priority: LATENCY + 16,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `prompt_tokens_histogram`, `generation_tokens_histogram`: percentiles within the window, tokens a request.
pub static REQUEST_LENGTH: Chart = Chart {
    id: "request_length",
    context: "sglang.request_length",
    family: "requests",
    title: "Length of requests",
    units: "tokens",
    kind: Kind::Line,
    priority: super::REQUESTS + 8,
    dims: &[
        Dim::milli("prompt_p50"),
        Dim::milli("prompt_p99"),
        Dim::milli("generation_p50"),
        Dim::milli("generation_p99"),
    ],
    dynamic: None,
};

/// The charts that are made by the table.
pub const TABLE: &[Spec] = &[Spec::by(
    "stage",
    &STAGE_LATENCY,
    take(Take::Mean, &[of("per_stage_req_latency_seconds")]).times(1e3),
)];
