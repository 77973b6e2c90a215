//! The charts of a router, and of each server behind it.

use netdata_plugin::chart::{Chart, Dim, Kind};

use crate::sglang::table::spec::{Spec, Take, gauge, of, rate, take};

/// Position of the first chart: after those of servers.
const PRIORITY: u32 = 70_500;

/// One of `starting`, `ready`, `unreachable` is 1: from its listening sockets and its answer.
pub static STATE: Chart = Chart {
    id: "state",
    context: "sglang_router.state",
    family: "state",
    title: "State of the router",
    units: "state",
    kind: Kind::Line,
    priority: PRIORITY,
    dims: &[
        Dim::milli("starting"),
        Dim::milli("ready"),
        Dim::milli("unreachable"),
    ],
    dynamic: None,
};

/// `smg_router_requests_total` by endpoint: requests/s.
pub static REQUESTS: Chart = Chart {
    id: "requests",
    context: "sglang_router.requests",
    family: "requests",
    title: "Requests routed",
    units: "requests/s",
    kind: Kind::Stacked,
    priority: PRIORITY + 1,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `smg_http_responses_total` by the status' first digit: responses/s.
pub static RESPONSES: Chart = Chart {
    id: "responses",
    context: "sglang_router.responses",
    family: "requests",
    title: "Answers",
    units: "responses/s",
    kind: Kind::Stacked,
    priority: PRIORITY + 2,
    dims: &[Dim::milli("2xx"), Dim::milli("4xx"), Dim::milli("5xx")],
    dynamic: None,
};

/// `smg_router_request_errors_total` by error_type: errors/s.
pub static ERRORS: Chart = Chart {
    id: "errors",
    context: "sglang_router.errors",
    family: "requests",
    title: "Requests that failed",
    units: "errors/s",
    kind: Kind::Stacked,
    priority: PRIORITY + 3,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `smg_router_tokens_total` by token_type: tokens/s. Where the router counts tokens (gRPC).
pub static TOKENS: Chart = Chart {
    id: "tokens",
    context: "sglang_router.tokens",
    family: "requests",
    title: "Tokens routed",
    units: "tokens/s",
    kind: Kind::Line,
    priority: PRIORITY + 4,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// `smg_router_request_duration_seconds`, percentiles and mean of the window: milliseconds.
pub static REQUEST_DURATION: Chart = Chart {
    id: "request_duration",
    context: "sglang_router.request_duration",
    family: "latency",
    title: "Time of a request through the router",
    units: "milliseconds",
    kind: Kind::Line,
    priority: PRIORITY + 5,
    dims: &[
        Dim::milli("p50"),
        Dim::milli("p90"),
        Dim::milli("p99"),
        Dim::milli("average"),
    ],
    dynamic: None,
};

/// `smg_router_ttft_seconds`, percentiles and mean of the window: milliseconds.
pub static TIME_TO_FIRST_TOKEN: Chart = Chart {
    id: "time_to_first_token",
    context: "sglang_router.time_to_first_token",
    family: "latency",
    title: "Time to first token through the router",
    units: "milliseconds",
    kind: Kind::Line,
    priority: PRIORITY + 6,
    dims: &[
        Dim::milli("p50"),
        Dim::milli("p90"),
        Dim::milli("p99"),
        Dim::milli("average"),
    ],
    dynamic: None,
};

/// `smg_router_tpot_seconds`, percentiles and mean of the window: milliseconds.
pub static TIME_PER_OUTPUT_TOKEN: Chart = Chart {
    id: "time_per_output_token",
    context: "sglang_router.time_per_output_token",
    family: "latency",
    title: "Time per output token through the router",
    units: "milliseconds",
    kind: Kind::Line,
    priority: PRIORITY + 7,
    dims: &[
        Dim::milli("p50"),
        Dim::milli("p90"),
        Dim::milli("p99"),
        Dim::milli("average"),
    ],
    dynamic: None,
};

/// `smg_worker_health`: servers behind the router, by whether it thinks they are well.
pub static WORKERS: Chart = Chart {
    id: "workers",
    context: "sglang_router.workers",
    family: "workers",
    title: "Servers behind the router",
    units: "workers",
    kind: Kind::Stacked,
    priority: PRIORITY + 8,
    dims: &[Dim::milli("healthy"), Dim::milli("unhealthy")],
    dynamic: None,
};

/// `smg_worker_health`, `smg_worker_cb_state` of one server: 1 for what holds. `circuit_open`: it gets no requests for
/// now; `circuit_half_open`: it gets a few to try.
pub static WORKER_STATE: Chart = Chart {
    id: "worker_state",
    context: "sglang_router.worker_state",
    family: "workers",
    title: "What the router thinks of a server",
    units: "state",
    kind: Kind::Line,
    priority: PRIORITY + 9,
    dims: &[
        Dim::milli("healthy"),
        Dim::milli("unhealthy"),
        Dim::milli("circuit_open"),
        Dim::milli("circuit_half_open"),
    ],
    dynamic: None,
};

/// `smg_worker_requests_active` of one server: requests.
pub static WORKER_REQUESTS: Chart = Chart {
    id: "worker_requests",
    context: "sglang_router.worker_requests",
    family: "workers",
    title: "Requests at a server",
    units: "requests",
    kind: Kind::Line,
    priority: PRIORITY + 10,
    dims: &[Dim::milli("active")],
    dynamic: None,
};

/// `smg_worker_errors_total`, `smg_worker_retries_total` of one server: per second.
pub static WORKER_ERRORS: Chart = Chart {
    id: "worker_errors",
    context: "sglang_router.worker_errors",
    family: "workers",
    title: "Errors and retries of a server",
    units: "events/s",
    kind: Kind::Line,
    priority: PRIORITY + 11,
    dims: &[
        Dim::milli("errors").optional(),
        Dim::milli("retries").optional(),
    ],
    dynamic: None,
};

/// What is charted for the router as a whole, by a label.
pub const TABLE: &[Spec] = &[
    Spec::by("endpoint", &REQUESTS, rate(&[of("router_requests_total")])),
    Spec::by(
        "error_type",
        &ERRORS,
        rate(&[of("router_request_errors_total")]),
    ),
    Spec::by("token_type", &TOKENS, rate(&[of("router_tokens_total")])),
];

/// What is charted for each server behind it, by the label `worker`; [`Workers`] has its order.
pub const WORKER_TABLE: &[Spec] = &[
    Spec::by(
        "worker",
        &WORKER_STATE,
        take(Take::Fact, &[of("worker_health")]),
    ),
    Spec::by(
        "worker",
        &WORKER_STATE,
        take(Take::Fact, &[of("worker_cb_state")]),
    ),
    Spec::by(
        "worker",
        &WORKER_REQUESTS,
        gauge(&[of("worker_requests_active")]),
    ),
    Spec::by("worker", &WORKER_ERRORS, rate(&[of("worker_errors_total")])),
    Spec::by(
        "worker",
        &WORKER_ERRORS,
        rate(&[of("worker_retries_total")]),
    ),
];
