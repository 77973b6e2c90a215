//! Requests on their way.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::REQUESTS;
use crate::sglang::table::spec::{Scope, Since, Spec, Take, gauge, of, rate, take};

/// `num_running_reqs`, `num_queue_reqs`, `num_grammar_queue_reqs`, `num_paused_reqs`: requests, summed over
/// dp ranks; a gap where they are stale.
pub static REQUESTS_IN_FLIGHT: Chart = Chart {
    id: "requests_in_flight",
    context: "sglang.requests_in_flight",
    family: "requests",
    title: "Requests in flight",
    units: "requests",
    kind: Kind::Stacked,
    priority: REQUESTS,
    dims: &[
        Dim::new("running"),
        Dim::new("queued"),
        Dim::new("grammar_queue"),
        Dim::new("paused").optional(),
    ],
    dynamic: None,
};

/// `num_requests_total` counts a request when it ends, whether it was aborted or not;
/// `num_aborted_requests_total` (before 0.5.3 without `_total`) those that were: requests/s.
pub static REQUESTS_DONE: Chart = Chart {
    id: "requests",
    context: "sglang.requests",
    family: "requests",
    title: "Requests finished",
    units: "requests/s",
    kind: Kind::Line,
    priority: REQUESTS + 1,
    dims: &[Dim::milli("finished"), Dim::milli("aborted").optional()],
    dynamic: None,
};

/// `http_responses_total` of inference endpoints (0.5.7 and later) by the status' first digit: responses/s. Our own
/// scrapes and health checks are none.
pub static HTTP_RESPONSES: Chart = Chart {
    id: "http_responses",
    context: "sglang.http_responses",
    family: "requests",
    title: "Answers of inference endpoints",
    units: "responses/s",
    kind: Kind::Stacked,
    priority: REQUESTS + 2,
    dims: &[Dim::milli("2xx"), Dim::milli("4xx"), Dim::milli("5xx")],
    dynamic: None,
};

/// `http_requests_active` of inference endpoints (0.5.8 and later): requests whose connection is open.
pub static HTTP_REQUESTS_ACTIVE: Chart = Chart {
    id: "http_requests_active",
    context: "sglang.http_requests_active",
    family: "requests",
    title: "Open requests of inference endpoints",
    units: "requests",
    kind: Kind::Line,
    priority: REQUESTS + 3,
    dims: &[Dim::milli("active")],
    dynamic: None,
};

/// `num_retracted_requests_total` (0.5.7 and later), `total_retracted_reqs` (0.4.9 to 0.5.2): requests put back into the queue because the KV cache was
/// full, requests/s.
pub static RETRACTIONS: Chart = Chart {
    id: "retractions",
    context: "sglang.retractions",
    family: "requests",
    title: "Requests put back into the queue",
    units: "requests/s",
    kind: Kind::Line,
    priority: REQUESTS + 4,
    dims: &[Dim::milli("retracted")],
    dynamic: None,
};

/// `num_retracted_{input,output}_tokens_total` (0.5.7 and later): work thrown away by retractions, tokens/s.
pub static RETRACTED_TOKENS: Chart = Chart {
    id: "retracted_tokens",
    context: "sglang.retracted_tokens",
    family: "requests",
    title: "Tokens of requests put back into the queue",
    units: "tokens/s",
    kind: Kind::Stacked,
    priority: REQUESTS + 5,
    dims: &[Dim::milli("input"), Dim::milli("output")],
    dynamic: None,
};

/// `routing_keys_active`, `num_unique_running_routing_keys` (0.5.8 and later).
pub static ROUTING_KEYS: Chart = Chart {
    id: "routing_keys",
    context: "sglang.routing_keys",
    family: "requests",
    title: "Routing keys",
    units: "keys",
    kind: Kind::Line,
    priority: REQUESTS + 6,
    dims: &[Dim::milli("active"), Dim::milli("running").optional()],
    dynamic: None,
};

/// Running requests over `--max-running-requests`, KV cache in use over its capacity: percentage of each limit.
pub static HEADROOM: Chart = Chart {
    id: "headroom",
    context: "sglang.headroom",
    family: "requests",
    title: "Share of the limits in use",
    units: "percentage",
    kind: Kind::Line,
    priority: REQUESTS + 7,
    dims: &[
        Dim::milli("requests").optional(),
        Dim::milli("kv").optional(),
    ],
    dynamic: None,
};

/// The charts that are made by the table.
pub const TABLE: &[Spec] = &[
    Spec::new(
        &REQUESTS_IN_FLIGHT,
        &[
            gauge(&[of("num_running_reqs")]),
            gauge(&[of("num_queue_reqs")]),
            gauge(&[of("num_grammar_queue_reqs")]),
            gauge(&[of("num_paused_reqs")]),
        ],
    )
    .scope(Scope::Both),
    Spec::new(
        &REQUESTS_DONE,
        &[
            rate(&[of("num_requests_total")]).since(Since::Ever),
            rate(&[of("num_aborted_requests_total"), of("num_aborted_requests")])
                .since(Since::Ranks),
        ],
    ),
    Spec::new(
        &RETRACTIONS,
        &[rate(&[
            of("num_retracted_requests_total"),
            of("total_retracted_reqs"),
        ])
        .since(Since::Http)],
    )
    .scope(Scope::Both),
    Spec::new(
        &RETRACTED_TOKENS,
        &[
            rate(&[of("num_retracted_input_tokens_total")]).since(Since::Http),
            rate(&[of("num_retracted_output_tokens_total")]).since(Since::Http),
        ],
    ),
    Spec::new(
        &ROUTING_KEYS,
        &[
            take(Take::Fact, &[of("routing_keys_active")]),
            gauge(&[of("num_unique_running_routing_keys")]),
        ],
    ),
];
