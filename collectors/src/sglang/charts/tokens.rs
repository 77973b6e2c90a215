//! Tokens.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::TOKENS;
use crate::sglang::table::spec::{Scope, Since, Spec, of, rate, with};

/// Rates of `realtime_tokens_total` by mode (label `counters=realtime`), before 0.5.7 of
/// `prompt_tokens_total` less `cached_tokens_total`, `cached_tokens_total` and `generation_tokens_total`
/// (label `counters=finished`): tokens/s.
pub static TOKEN_THROUGHPUT: Chart = Chart {
    id: "token_throughput",
    context: "sglang.token_throughput",
    family: "tokens",
    title: "Tokens processed",
    units: "tokens/s",
    kind: Kind::Stacked,
    priority: TOKENS,
    dims: &[
        Dim::milli("prefill_compute"),
        Dim::milli("prefill_cache"),
        Dim::milli("decode"),
    ],
    dynamic: None,
};

/// `prompt_tokens_total`, `generation_tokens_total`, `cached_tokens_total`, which count a request's tokens when it
/// ends: tokens/s.
pub static TOKENS_FINISHED: Chart = Chart {
    id: "tokens_finished",
    context: "sglang.tokens_finished",
    family: "tokens",
    title: "Tokens of finished requests",
    units: "tokens/s",
    kind: Kind::Line,
    priority: TOKENS + 1,
    dims: &[
        Dim::milli("prompt"),
        Dim::milli("generation"),
        Dim::milli("cached"),
    ],
    dynamic: None,
};

/// Share of the prompt tokens between two pages that were found in a cache, by where: percentage. From
/// `prefill_effective_tokens_total` (0.5.18 and later), else `realtime_tokens_total` (0.5.7), else
/// `cached_tokens_total` over `prompt_tokens_total`.
pub static PREFIX_CACHE_HIT_RATE: Chart = Chart {
    id: "prefix_cache_hit_rate",
    context: "sglang.prefix_cache_hit_rate",
    family: "tokens",
    title: "Prompt tokens found in the prefix cache",
    units: "percentage",
    kind: Kind::Stacked,
    priority: TOKENS + 2,
    dims: &[
        Dim::milli("device"),
        Dim::milli("host").optional(),
        Dim::milli("storage").optional(),
    ],
    dynamic: None,
};

/// Time since a counter of tokens moved: seconds. Since the first page, if none has moved yet.
pub static SECONDS_SINCE_LAST_TOKEN: Chart = Chart {
    id: "seconds_since_last_token",
    context: "sglang.seconds_since_last_token",
    family: "tokens",
    title: "Time since the last token",
    units: "seconds",
    kind: Kind::Line,
    priority: TOKENS + 3,
    dims: &[Dim::milli("idle")],
    dynamic: None,
};

/// The charts that are made by the table.
pub const TABLE: &[Spec] = &[
    Spec::new(
        &TOKEN_THROUGHPUT,
        &[
            rate(&[with("realtime_tokens_total", "mode", "prefill_compute")]),
            rate(&[with("realtime_tokens_total", "mode", "prefill_cache")]),
            rate(&[with("realtime_tokens_total", "mode", "decode")]),
        ],
    )
    .scope(Scope::Ranks),
    Spec::new(
        &TOKENS_FINISHED,
        &[
            rate(&[of("prompt_tokens_total")]).since(Since::Ever),
            rate(&[of("generation_tokens_total")]).since(Since::Ever),
            rate(&[of("cached_tokens_total")]).since(Since::Ever),
        ],
    ),
];
