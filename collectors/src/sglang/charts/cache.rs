//! The KV cache, its tiers and other pools.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::CACHE;
use crate::sglang::table::spec::{Scope, Since, Spec, Take, gauge, of, rate, take};

/// `kv_used_tokens`, `kv_evictable_tokens`, `kv_available_tokens` (0.5.11 and later), before only `num_used_tokens`,
/// summed over dp ranks: tokens.
pub static KV_CACHE_TOKENS: Chart = Chart {
    id: "kv_cache_tokens",
    context: "sglang.kv_cache_tokens",
    family: "kv cache",
    title: "Tokens in the KV cache",
    units: "tokens",
    kind: Kind::Stacked,
    priority: CACHE,
    dims: &[
        Dim::milli("used"),
        Dim::milli("evictable").optional(),
        Dim::milli("free").optional(),
    ],
    dynamic: None,
};

/// `num_used_tokens` over `max_total_num_tokens`, both summed over dp ranks; where either is missing or a
/// second pool is in use, the highest `token_usage`: percentage. Evictable prefixes are not counted.
pub static KV_CACHE_USAGE: Chart = Chart {
    id: "kv_cache_usage",
    context: "sglang.kv_cache_usage",
    family: "kv cache",
    title: "KV cache held by requests",
    units: "percentage",
    kind: Kind::Area,
    priority: CACHE + 1,
    dims: &[Dim::milli("usage")],
    dynamic: None,
};

/// `full_token_usage`, `swa_token_usage`, `mamba_usage` of the fullest dp rank: percentage.
pub static POOL_USAGE: Chart = Chart {
    id: "pool_usage",
    context: "sglang.pool_usage",
    family: "kv cache",
    title: "Usage of each pool",
    units: "percentage",
    kind: Kind::Line,
    priority: CACHE + 2,
    dims: &[
        Dim::milli("full"),
        Dim::milli("swa").optional(),
        Dim::milli("mamba").optional(),
    ],
    dynamic: None,
};

/// `swa_used_tokens`, `swa_evictable_tokens`, `swa_available_tokens` (0.5.12 and later): tokens.
pub static SWA_TOKENS: Chart = Chart {
    id: "swa_tokens",
    context: "sglang.swa_tokens",
    family: "kv cache",
    title: "The pool of sliding-window layers",
    units: "tokens",
    kind: Kind::Stacked,
    priority: CACHE + 3,
    dims: &[
        Dim::milli("used"),
        Dim::milli("evictable"),
        Dim::milli("free"),
    ],
    dynamic: None,
};

/// `mamba_used_tokens`, `mamba_evictable_tokens`, `mamba_available_tokens` (0.5.12 and later): states.
pub static MAMBA_STATES: Chart = Chart {
    id: "mamba_states",
    context: "sglang.mamba_states",
    family: "kv cache",
    title: "The pool of Mamba layers",
    units: "states",
    kind: Kind::Stacked,
    priority: CACHE + 4,
    dims: &[
        Dim::milli("used"),
        Dim::milli("evictable"),
        Dim::milli("free"),
    ],
    dynamic: None,
};

/// `evicted_tokens_total` (0.5.6 and later): prefixes dropped to make room, tokens/s.
pub static EVICTIONS: Chart = Chart {
    id: "evictions",
    context: "sglang.evictions",
    family: "kv cache",
    title: "Tokens evicted from the prefix cache",
    units: "tokens/s",
    kind: Kind::Line,
    priority: CACHE + 5,
    dims: &[Dim::milli("evicted")],
    dynamic: None,
};

/// `eviction_duration_seconds` (0.5.6 and later): average between two pages, milliseconds.
pub static EVICTION_TIME: Chart = Chart {
    id: "eviction_time",
    context: "sglang.eviction_time",
    family: "kv cache",
    title: "Time that an eviction takes",
    units: "milliseconds",
    kind: Kind::Line,
    priority: CACHE + 6,
    dims: &[Dim::milli("average")],
    dynamic: None,
};

/// `hicache_host_used_tokens`, `hicache_host_total_tokens` (0.5.10 and later): tokens.
pub static HICACHE_TOKENS: Chart = Chart {
    id: "hicache_tokens",
    context: "sglang.hicache_tokens",
    family: "hicache",
    title: "Tokens in the cache of the host",
    units: "tokens",
    kind: Kind::Line,
    priority: CACHE + 7,
    dims: &[Dim::milli("used"), Dim::milli("capacity")],
    dynamic: None,
};

/// `load_back_tokens_total` (host to GPU), `hicache_backup_tokens_total` (GPU to host), `prefetched_tokens_total`
/// (storage to host), `backuped_tokens_total` (host to storage), `hicache_dropped_tokens_total`: tokens/s.
pub static HICACHE_THROUGHPUT: Chart = Chart {
    id: "hicache_throughput",
    context: "sglang.hicache_throughput",
    family: "hicache",
    title: "Tokens moved between the caches",
    units: "tokens/s",
    kind: Kind::Line,
    priority: CACHE + 8,
    dims: &[
        Dim::milli("loaded_back").optional(),
        Dim::milli("backed_up").optional(),
        Dim::milli("prefetched").optional(),
        Dim::milli("stored").optional(),
        Dim::milli("dropped").optional(),
    ],
    dynamic: None,
};

/// `load_back_duration_seconds`, `hicache_backup_duration_seconds`: average between two pages, milliseconds.
pub static HICACHE_TIME: Chart = Chart {
    id: "hicache_time",
    context: "sglang.hicache_time",
    family: "hicache",
    title: "Time that a move between GPU and host takes",
    units: "milliseconds",
    kind: Kind::Line,
    priority: CACHE + 9,
    dims: &[
        Dim::milli("load_back").optional(),
        Dim::milli("backup").optional(),
    ],
    dynamic: None,
};

/// `prefetch_bandwidth`, `backup_bandwidth` (0.5.2 and later): average between two pages, GB/s.
pub static HICACHE_BANDWIDTH: Chart = Chart {
    id: "hicache_bandwidth",
    context: "sglang.hicache_bandwidth",
    family: "hicache",
    title: "Bandwidth to and from storage",
    units: "GB/s",
    kind: Kind::Line,
    priority: CACHE + 10,
    dims: &[
        Dim::milli("prefetch").optional(),
        Dim::milli("backup").optional(),
    ],
    dynamic: None,
};

/// The charts that are made by the table.
pub const TABLE: &[Spec] = &[
    Spec::new(
        &KV_CACHE_TOKENS,
        &[
            gauge(&[of("kv_used_tokens"), of("num_used_tokens")]),
            gauge(&[of("kv_evictable_tokens")]),
            gauge(&[of("kv_available_tokens")]),
        ],
    )
    .scope(Scope::Both),
    Spec::new(
        &KV_CACHE_USAGE,
        &[take(Take::Highest, &[of("token_usage")]).times(100.0)],
    )
    .scope(Scope::Ranks),
    Spec::new(
        &POOL_USAGE,
        &[
            take(Take::Highest, &[of("full_token_usage")]).times(100.0),
            take(Take::Highest, &[of("swa_token_usage")]).times(100.0),
            take(Take::Highest, &[of("mamba_usage")]).times(100.0),
        ],
    ),
    Spec::new(
        &SWA_TOKENS,
        &[
            gauge(&[of("swa_used_tokens")]),
            gauge(&[of("swa_evictable_tokens")]),
            gauge(&[of("swa_available_tokens")]),
        ],
    ),
    Spec::new(
        &MAMBA_STATES,
        &[
            gauge(&[of("mamba_used_tokens")]),
            gauge(&[of("mamba_evictable_tokens")]),
            gauge(&[of("mamba_available_tokens")]),
        ],
    ),
    Spec::new(
        &EVICTIONS,
        &[rate(&[of("evicted_tokens_total")]).since(Since::Capacity)],
    ),
    Spec::new(
        &EVICTION_TIME,
        &[take(Take::Mean, &[of("eviction_duration_seconds")]).times(1e3)],
    ),
    Spec::new(
        &HICACHE_TOKENS,
        &[
            gauge(&[of("hicache_host_used_tokens")]),
            take(Take::Fact, &[of("hicache_host_total_tokens")]),
        ],
    ),
    Spec::new(
        &HICACHE_THROUGHPUT,
        &[
            rate(&[of("load_back_tokens_total")]),
            rate(&[of("hicache_backup_tokens_total")]),
            rate(&[of("prefetched_tokens_total")]),
            rate(&[of("backuped_tokens_total")]),
            rate(&[of("hicache_dropped_tokens_total")]),
        ],
    ),
    Spec::new(
        &HICACHE_TIME,
        &[
            take(Take::Mean, &[of("load_back_duration_seconds")]).times(1e3),
            take(Take::Mean, &[of("hicache_backup_duration_seconds")]).times(1e3),
        ],
    ),
    Spec::new(
        &HICACHE_BANDWIDTH,
        &[
            take(Take::Mean, &[of("prefetch_bandwidth")]),
            take(Take::Mean, &[of("backup_bandwidth")]),
        ],
    ),
];
