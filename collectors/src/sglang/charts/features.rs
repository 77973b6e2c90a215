//! What only some servers use: speculative decoding, disaggregation, LoRA, grammars, DP attention.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::FEATURES;
use crate::sglang::table::spec::{Spec, Take, gauge, of, rate, take, with};

/// `spec_accept_length`, `spec_block_accept_length`, `spec_cap_length`, `spec_num_steps`, `spec_num_draft_tokens`,
/// averaged over dp ranks: tokens. 0 without speculative decoding.
pub static SPEC_DECODE: Chart = Chart {
    id: "spec_decode",
    context: "sglang.spec_decode",
    family: "speculative decoding",
    title: "Tokens of a speculative step",
    units: "tokens",
    kind: Kind::Line,
    priority: FEATURES,
    dims: &[
        Dim::milli("accept_length"),
        Dim::milli("block_accept_length").optional(),
        Dim::milli("cap_length").optional(),
        Dim::milli("steps").optional(),
        Dim::milli("draft_tokens").optional(),
    ],
    dynamic: None,
};

/// `spec_accept_rate` (0.5.4 and later), averaged over dp ranks: percentage of the proposed drafts.
pub static SPEC_ACCEPT_RATE: Chart = Chart {
    id: "spec_accept_rate",
    context: "sglang.spec_accept_rate",
    family: "speculative decoding",
    title: "Drafts accepted",
    units: "percentage",
    kind: Kind::Line,
    priority: FEATURES + 1,
    dims: &[Dim::milli("accepted")],
    dynamic: None,
};

/// `num_prefill_{bootstrap,prealloc,inflight}_queue_reqs` (before 0.5.2 `infight`),
/// `num_decode_{prealloc,transfer,host_receive}_queue_reqs`, `num_decode_deferred_kv_release_reqs`: requests.
pub static DISAGGREGATION_QUEUES: Chart = Chart {
    id: "disaggregation_queues",
    context: "sglang.disaggregation_queues",
    family: "disaggregation",
    title: "Requests between prefill and decode",
    units: "requests",
    kind: Kind::Line,
    priority: FEATURES + 2,
    dims: &[
        Dim::milli("prefill_bootstrap").optional(),
        Dim::milli("prefill_prealloc").optional(),
        Dim::milli("prefill_inflight"),
        Dim::milli("decode_prealloc"),
        Dim::milli("decode_transfer"),
        Dim::milli("decode_host_receive").optional(),
        Dim::milli("decode_deferred_release").optional(),
    ],
    dynamic: None,
};

/// `kv_transfer_{latency,bootstrap,alloc}_ms`: from 0.5.10 the average between two pages, before a gauge;
/// milliseconds.
pub static KV_TRANSFER_TIME: Chart = Chart {
    id: "kv_transfer_time",
    context: "sglang.kv_transfer_time",
    family: "disaggregation",
    title: "Time that a KV transfer takes",
    units: "milliseconds",
    kind: Kind::Line,
    priority: FEATURES + 3,
    dims: &[
        Dim::milli("transfer").optional(),
        Dim::milli("bootstrap").optional(),
        Dim::milli("alloc").optional(),
    ],
    dynamic: None,
};

/// `kv_transfer_speed_gb_s`, as above: GB/s.
pub static KV_TRANSFER_SPEED: Chart = Chart {
    id: "kv_transfer_speed",
    context: "sglang.kv_transfer_speed",
    family: "disaggregation",
    title: "Speed of KV transfers",
    units: "GB/s",
    kind: Kind::Line,
    priority: FEATURES + 4,
    dims: &[Dim::milli("speed")],
    dynamic: None,
};

/// `kv_transfer_total_mb`, as above: MB a request.
pub static KV_TRANSFER_SIZE: Chart = Chart {
    id: "kv_transfer_size",
    context: "sglang.kv_transfer_size",
    family: "disaggregation",
    title: "Size of a KV transfer",
    units: "MB",
    kind: Kind::Line,
    priority: FEATURES + 5,
    dims: &[Dim::milli("size")],
    dynamic: None,
};

/// `num_bootstrap_failed_reqs_total`, `num_transfer_failed_reqs_total` (before 0.5.2 without `_total`),
/// `num_prefill_retries_total`: requests/s.
pub static DISAGGREGATION_FAILURES: Chart = Chart {
    id: "disaggregation_failures",
    context: "sglang.disaggregation_failures",
    family: "disaggregation",
    title: "Transfers that failed",
    units: "requests/s",
    kind: Kind::Line,
    priority: FEATURES + 6,
    dims: &[
        Dim::milli("bootstrap_failed").optional(),
        Dim::milli("transfer_failed").optional(),
        Dim::milli("prefill_retries").optional(),
    ],
    dynamic: None,
};

/// `lora_pool_slots_used`, `lora_pool_slots_total` (0.5.7 and later): adapters.
pub static LORA_SLOTS: Chart = Chart {
    id: "lora",
    context: "sglang.lora",
    family: "lora",
    title: "Slots for LoRA adapters",
    units: "adapters",
    kind: Kind::Line,
    priority: FEATURES + 7,
    dims: &[Dim::milli("used"), Dim::milli("slots")],
    dynamic: None,
};

/// `num_grammar_total`, `num_grammar_cache_hit_total`, `num_grammar_aborted_total`, `num_grammar_timeout_total`:
/// requests/s.
pub static GRAMMAR: Chart = Chart {
    id: "grammar",
    context: "sglang.grammar",
    family: "grammar",
    title: "Requests with a grammar",
    units: "requests/s",
    kind: Kind::Line,
    priority: FEATURES + 8,
    dims: &[
        Dim::milli("requests"),
        Dim::milli("cache_hits").optional(),
        Dim::milli("aborted").optional(),
        Dim::milli("timeouts").optional(),
    ],
    dynamic: None,
};

/// `grammar_compilation_time_seconds` (0.5.2 and later): average between two pages, milliseconds.
pub static GRAMMAR_TIME: Chart = Chart {
    id: "grammar_compilation",
    context: "sglang.grammar_compilation",
    family: "grammar",
    title: "Time to compile a grammar",
    units: "milliseconds",
    kind: Kind::Line,
    priority: FEATURES + 9,
    dims: &[Dim::milli("average")],
    dynamic: None,
};

/// `dp_attention_tokens_total` by kind (0.5.22 and later): tokens scheduled, and those that the busiest rank had
/// more than the others, tokens/s.
pub static DP_BALANCE: Chart = Chart {
    id: "dp_balance",
    context: "sglang.dp_balance",
    family: "dp attention",
    title: "Tokens of DP attention",
    units: "tokens/s",
    kind: Kind::Line,
    priority: FEATURES + 10,
    dims: &[Dim::milli("scheduled"), Dim::milli("imbalance")],
    dynamic: None,
};

/// `dp_attention_steps_total` by rank_state (0.5.22 and later): steps/s; idle ones only keep the ranks together.
pub static DP_STEPS: Chart = Chart {
    id: "dp_steps",
    context: "sglang.dp_steps",
    family: "dp attention",
    title: "Steps of DP attention",
    units: "steps/s",
    kind: Kind::Stacked,
    priority: FEATURES + 11,
    dims: &[Dim::milli("active"), Dim::milli("idle")],
    dynamic: None,
};

/// `dp_attention_token_imbalance_ratio` (0.5.22 and later): average between two pages; 1 is balanced.
pub static DP_IMBALANCE: Chart = Chart {
    id: "dp_imbalance",
    context: "sglang.dp_imbalance",
    family: "dp attention",
    title: "Tokens of the busiest rank over the average",
    units: "ratio",
    kind: Kind::Line,
    priority: FEATURES + 12,
    dims: &[Dim::milli("average")],
    dynamic: None,
};

/// `dp_attention_sync_wait_seconds` (0.5.22 and later): average between two pages, milliseconds.
pub static DP_SYNC_WAIT: Chart = Chart {
    id: "dp_sync_wait",
    context: "sglang.dp_sync_wait",
    family: "dp attention",
    title: "Time that ranks wait for each other",
    units: "milliseconds",
    kind: Kind::Line,
    priority: FEATURES + 13,
    dims: &[Dim::milli("average")],
    dynamic: None,
};

/// The charts that are made by the table.
pub const TABLE: &[Spec] = &[
    Spec::new(
        &SPEC_DECODE,
        &[
            take(Take::Typical, &[of("spec_accept_length")]),
            take(Take::Typical, &[of("spec_block_accept_length")]),
            take(Take::Typical, &[of("spec_cap_length")]),
            take(Take::Typical, &[of("spec_num_steps")]),
            take(Take::Typical, &[of("spec_num_draft_tokens")]),
        ],
    ),
    Spec::new(
        &SPEC_ACCEPT_RATE,
        &[take(Take::Typical, &[of("spec_accept_rate")]).times(100.0)],
    ),
    Spec::new(
        &DISAGGREGATION_QUEUES,
        &[
            gauge(&[of("num_prefill_bootstrap_queue_reqs")]),
            gauge(&[of("num_prefill_prealloc_queue_reqs")]),
            gauge(&[
                of("num_prefill_inflight_queue_reqs"),
                of("num_prefill_infight_queue_reqs"),
            ]),
            gauge(&[of("num_decode_prealloc_queue_reqs")]),
            gauge(&[of("num_decode_transfer_queue_reqs")]),
            gauge(&[of("num_decode_host_receive_queue_reqs")]),
            gauge(&[of("num_decode_deferred_kv_release_reqs")]),
        ],
    ),
    Spec::new(
        &KV_TRANSFER_TIME,
        &[
            take(Take::MeanOrGauge, &[of("kv_transfer_latency_ms")]),
            take(Take::MeanOrGauge, &[of("kv_transfer_bootstrap_ms")]),
            take(Take::MeanOrGauge, &[of("kv_transfer_alloc_ms")]),
        ],
    ),
    Spec::new(
        &KV_TRANSFER_SPEED,
        &[take(Take::MeanOrGauge, &[of("kv_transfer_speed_gb_s")])],
    ),
    Spec::new(
        &KV_TRANSFER_SIZE,
        &[take(Take::MeanOrGauge, &[of("kv_transfer_total_mb")])],
    ),
    Spec::new(
        &DISAGGREGATION_FAILURES,
        &[
            rate(&[
                of("num_bootstrap_failed_reqs_total"),
                of("num_bootstrap_failed_reqs"),
            ]),
            rate(&[
                of("num_transfer_failed_reqs_total"),
                of("num_transfer_failed_reqs"),
            ]),
            rate(&[of("num_prefill_retries_total")]),
        ],
    ),
    Spec::new(
        &LORA_SLOTS,
        &[
            gauge(&[of("lora_pool_slots_used")]),
            take(Take::Fact, &[of("lora_pool_slots_total")]),
        ],
    ),
    Spec::new(
        &GRAMMAR,
        &[
            rate(&[of("num_grammar_total")]),
            rate(&[of("num_grammar_cache_hit_total")]),
            rate(&[of("num_grammar_aborted_total")]),
            rate(&[of("num_grammar_timeout_total")]),
        ],
    ),
    Spec::new(
        &GRAMMAR_TIME,
        &[take(Take::Mean, &[of("grammar_compilation_time_seconds")]).times(1e3)],
    ),
    Spec::new(
        &DP_BALANCE,
        &[
            rate(&[with("dp_attention_tokens_total", "kind", "scheduled")]),
            rate(&[with("dp_attention_tokens_total", "kind", "imbalance")]),
        ],
    ),
    Spec::new(
        &DP_STEPS,
        &[
            rate(&[with("dp_attention_steps_total", "rank_state", "active")]),
            rate(&[with("dp_attention_steps_total", "rank_state", "idle")]),
        ],
    ),
    Spec::new(
        &DP_IMBALANCE,
        &[take(
            Take::Mean,
            &[of("dp_attention_token_imbalance_ratio")],
        )],
    ),
    Spec::new(
        &DP_SYNC_WAIT,
        &[take(Take::Mean, &[of("dp_attention_sync_wait_seconds")]).times(1e3)],
    ),
];
