//! The charts of a server, along the path of a request. Each names the metrics it is made of.

use netdata_plugin::chart::{Chart, Dim, Kind};

/// Position of the first chart; the others follow in the order of this file.
const PRIORITY: u32 = 70_300;

/// One of `starting`, `ready`, `no_metrics`, `stalled`, `unreachable` is 1, the others 0. From the process
/// table, the listening sockets, the answer to `/metrics` and the movement of its counters.
pub const SERVER_STATE: Chart = Chart {
    id: "server_state",
    context: "sglang.server_state",
    family: "state",
    title: "State of the server",
    units: "state",
    kind: Kind::Line,
    priority: PRIORITY,
    dims: &[
        Dim::new("starting"),
        Dim::new("ready"),
        Dim::new("no_metrics"),
        Dim::new("stalled"),
        Dim::new("unreachable"),
    ],
    dynamic: None,
};

/// Ends of the server's process within the last `ends_window`, by what it did when it was last looked at.
/// From the process table and the pages before. Goes on for that long after the last process has ended.
pub const SERVER_ENDS: Chart = Chart {
    id: "server_ends",
    context: "sglang.server_ends",
    family: "state",
    title: "Ends of the server's process within the last hour",
    units: "ends",
    kind: Kind::Stacked,
    priority: PRIORITY + 16,
    dims: &[
        Dim::new("starting"),
        Dim::new("idle"),
        Dim::new("with_requests"),
        Dim::new("stalled"),
        Dim::new("unknown"),
    ],
    dynamic: None,
};

/// `num_running_reqs`, `num_queue_reqs`, `num_grammar_queue_reqs`, `num_paused_reqs`: requests, summed over
/// dp ranks; a gap where they are stale.
pub const REQUESTS_IN_FLIGHT: Chart = Chart {
    id: "requests_in_flight",
    context: "sglang.requests_in_flight",
    family: "requests",
    title: "Requests in flight",
    units: "requests",
    kind: Kind::Stacked,
    priority: PRIORITY + 1,
    dims: &[
        Dim::new("running"),
        Dim::new("queued"),
        Dim::new("grammar_queue"),
        Dim::new("paused").optional(),
    ],
    dynamic: None,
};

/// Rates of `realtime_tokens_total` by mode (label `counters=realtime`), before 0.5.7 of
/// `prompt_tokens_total` less `cached_tokens_total`, `cached_tokens_total` and `generation_tokens_total`
/// (label `counters=finished`): tokens/s.
pub const TOKEN_THROUGHPUT: Chart = Chart {
    id: "token_throughput",
    context: "sglang.token_throughput",
    family: "tokens",
    title: "Tokens processed",
    units: "tokens/s",
    kind: Kind::Stacked,
    priority: PRIORITY + 2,
    dims: &[
        Dim::milli("prefill_compute"),
        Dim::milli("prefill_cache"),
        Dim::milli("decode"),
    ],
    dynamic: None,
};

/// The three charts of a latency histogram.
#[derive(Debug)]
pub struct Latency {
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

/// `time_to_first_token_seconds`, of streaming requests where the server tells them apart.
pub const TIME_TO_FIRST_TOKEN: Latency = Latency {
    percentiles: Chart {
        id: "time_to_first_token",
        context: "sglang.time_to_first_token",
        title: "Time to first token",
        priority: PRIORITY + 3,
        ..PERCENTILES
    },
    distribution: Chart {
        id: "time_to_first_token_distribution",
        context: "sglang.time_to_first_token_distribution",
        title: "Time to first token, distribution in seconds",
        priority: PRIORITY + 4,
        ..DISTRIBUTION
    },
    observations: Chart {
        id: "time_to_first_token_observations",
        context: "sglang.time_to_first_token_observations",
        title: "Requests behind the time to first token",
        priority: PRIORITY + 5,
        ..OBSERVATIONS
    },
};

/// `inter_token_latency_seconds`, of streaming requests where the server tells them apart.
pub const INTER_TOKEN_LATENCY: Latency = Latency {
    percentiles: Chart {
        id: "inter_token_latency",
        context: "sglang.inter_token_latency",
        title: "Inter-token latency",
        priority: PRIORITY + 6,
        ..PERCENTILES
    },
    distribution: Chart {
        id: "inter_token_latency_distribution",
        context: "sglang.inter_token_latency_distribution",
        title: "Inter-token latency, distribution in seconds",
        priority: PRIORITY + 7,
        ..DISTRIBUTION
    },
    observations: Chart {
        id: "inter_token_latency_observations",
        context: "sglang.inter_token_latency_observations",
        title: "Tokens behind the inter-token latency",
        priority: PRIORITY + 8,
        ..OBSERVATIONS
    },
};

/// `e2e_request_latency_seconds`, of all requests.
pub const E2E_LATENCY: Latency = Latency {
    percentiles: Chart {
        id: "e2e_latency",
        context: "sglang.e2e_latency",
        title: "Request latency, end to end",
        priority: PRIORITY + 9,
        ..PERCENTILES
    },
    distribution: Chart {
        id: "e2e_latency_distribution",
        context: "sglang.e2e_latency_distribution",
        title: "Request latency, end to end, distribution in seconds",
        priority: PRIORITY + 10,
        ..DISTRIBUTION
    },
    observations: Chart {
        id: "e2e_latency_observations",
        context: "sglang.e2e_latency_observations",
        title: "Requests behind the end-to-end latency",
        priority: PRIORITY + 11,
        ..OBSERVATIONS
    },
};

/// Share of the window's observations at or under the user's thresholds, each moved to the nearest bucket
/// bound (labels `…_edge_ms`): percentage. Only with `slo` in the configuration.
pub const SLO_ATTAINMENT: Chart = Chart {
    id: "slo_attainment",
    context: "sglang.slo_attainment",
    family: "latency",
    title: "Requests within the thresholds",
    units: "percentage",
    kind: Kind::Line,
    priority: PRIORITY + 12,
    dims: &[
        Dim::milli("ttft").optional(),
        Dim::milli("itl").optional(),
        Dim::milli("e2e").optional(),
    ],
    dynamic: None,
};

/// `num_used_tokens` over `max_total_num_tokens`, both summed over dp ranks; where either is missing or a
/// second pool is in use, the highest `token_usage`: percentage. Evictable prefixes are not counted.
pub const KV_CACHE_USAGE: Chart = Chart {
    id: "kv_cache_usage",
    context: "sglang.kv_cache_usage",
    family: "kv cache",
    title: "KV cache held by requests",
    units: "percentage",
    kind: Kind::Area,
    priority: PRIORITY + 13,
    dims: &[Dim::milli("usage")],
    dynamic: None,
};

/// How long the last answered GET of `/metrics` took, connection included: milliseconds.
pub const SCRAPE: Chart = Chart {
    id: "scrape",
    context: "sglang.scrape",
    family: "scrape",
    title: "Time the server took to answer the scrape",
    units: "milliseconds",
    kind: Kind::Line,
    priority: PRIORITY + 14,
    dims: &[Dim::milli("duration")],
    dynamic: None,
};

/// The interval in use, stretched so that scrapes take at most 0.5 % of wall time: seconds.
pub const SCRAPE_INTERVAL: Chart = Chart {
    id: "scrape_interval",
    context: "sglang.scrape_interval",
    family: "scrape",
    title: "Interval between scrapes",
    units: "seconds",
    kind: Kind::Line,
    priority: PRIORITY + 15,
    dims: &[Dim::new("interval")],
    dynamic: None,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_chart_has_an_id_a_context_and_a_place_of_its_own() {
        let mut charts = vec![
            SERVER_STATE,
            SERVER_ENDS,
            REQUESTS_IN_FLIGHT,
            TOKEN_THROUGHPUT,
            SLO_ATTAINMENT,
            KV_CACHE_USAGE,
            SCRAPE,
            SCRAPE_INTERVAL,
        ];
        for latency in [TIME_TO_FIRST_TOKEN, INTER_TOKEN_LATENCY, E2E_LATENCY] {
            charts.extend([
                latency.percentiles,
                latency.distribution,
                latency.observations,
            ]);
        }
        let unique = |part: fn(&Chart) -> String| charts.iter().map(part).collect::<BTreeSet<_>>();
        assert_eq!(unique(|chart| chart.id.to_owned()).len(), charts.len());
        assert_eq!(
            unique(|chart| chart.priority.to_string()).len(),
            charts.len()
        );
        assert_eq!(unique(|chart| chart.title.to_owned()).len(), charts.len());
        for chart in &charts {
            assert_eq!(chart.context, format!("sglang.{}", chart.id));
        }
    }

    #[test]
    fn the_states_are_the_dimensions() {
        let dims = SERVER_STATE.dims.iter().map(|dim| dim.id);
        let states = super::super::state::State::ALL.map(super::super::state::State::name);
        assert!(dims.eq(states));
    }
    #[test]
    fn what_it_was_doing_is_the_dimension() {
        let dims = SERVER_ENDS.dims.iter().map(|dim| dim.id);
        let doing = super::super::ends::Doing::ALL.map(super::super::ends::Doing::name);
        assert!(dims.eq(doing));
    }
}
