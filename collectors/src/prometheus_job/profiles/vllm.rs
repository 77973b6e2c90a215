//! vLLM, engine V1 (0.8 and later) and the names that V0 had for the same. Its histograms of seconds are shown
//! in milliseconds. Labels `model_name` and `engine` (the data-parallel rank) make the instances.

use netdata_plugin::chart::Kind;

use super::{Profile, ProfileChart, Shape, Source};

/// Seconds to milliseconds.
const MS: f64 = 1e3;

const fn latency(id: &'static str, title: &'static str, metric: &'static str) -> ProfileChart {
    ProfileChart {
        id,
        title,
        family: "latency",
        units: "milliseconds",
        shape: Shape::Histogram {
            metric,
            scale: MS,
            volume: None,
        },
    }
}

const fn length(id: &'static str, title: &'static str, metric: &'static str) -> ProfileChart {
    ProfileChart {
        id,
        title,
        family: "request size",
        units: "tokens",
        shape: Shape::Histogram {
            metric,
            scale: 1.0,
            volume: None,
        },
    }
}

/// The engine's documented metrics.
pub(super) const PROFILE: Profile = Profile {
    app: "vllm",
    prefix: "vllm:",
    charts: &[
        ProfileChart {
            id: "requests_in_flight",
            title: "Requests in flight",
            family: "requests",
            units: "requests",
            shape: Shape::Lines(
                Kind::Stacked,
                &[
                    Source::value("vllm:num_requests_running", "running"),
                    Source::value("vllm:num_requests_waiting", "waiting"),
                    Source::value("vllm:num_requests_swapped", "swapped"),
                ],
            ),
        },
        ProfileChart {
            id: "requests_waiting",
            title: "Requests waiting, by what they wait for",
            family: "requests",
            units: "requests",
            shape: Shape::Lines(
                Kind::Stacked,
                &[Source::value("vllm:num_requests_waiting_by_reason", "").by_label("reason")],
            ),
        },
        ProfileChart {
            id: "requests_finished",
            title: "Requests finished, by reason",
            family: "requests",
            units: "requests/s",
            shape: Shape::Lines(
                Kind::Stacked,
                &[Source::rate("vllm:request_success_total", "").by_label("finished_reason")],
            ),
        },
        ProfileChart {
            id: "preemptions",
            title: "Requests preempted for want of KV cache",
            family: "requests",
            units: "preemptions/s",
            shape: Shape::Lines(
                Kind::Line,
                &[Source::rate("vllm:num_preemptions_total", "preempted")],
            ),
        },
        latency(
            "queue_time",
            "Time in the queue",
            "vllm:request_queue_time_seconds",
        ),
        latency(
            "prefill_time",
            "Prefill time",
            "vllm:request_prefill_time_seconds",
        ),
        latency(
            "time_to_first_token",
            "Time to first token",
            "vllm:time_to_first_token_seconds",
        ),
        latency(
            "inter_token_latency",
            "Inter-token latency",
            "vllm:inter_token_latency_seconds",
        ),
        latency(
            "time_per_output_token",
            "Time per output token, mean of a request",
            "vllm:request_time_per_output_token_seconds",
        ),
        latency(
            "decode_time",
            "Decode time",
            "vllm:request_decode_time_seconds",
        ),
        latency(
            "e2e_latency",
            "Request latency, end to end",
            "vllm:e2e_request_latency_seconds",
        ),
        ProfileChart {
            id: "token_throughput",
            title: "Tokens processed",
            family: "tokens",
            units: "tokens/s",
            shape: Shape::Lines(
                Kind::Stacked,
                &[
                    Source::rate("vllm:prompt_tokens_total", "prompt"),
                    Source::rate("vllm:generation_tokens_total", "generation"),
                ],
            ),
        },
        ProfileChart {
            id: "prompt_tokens",
            title: "Prompt tokens, by where they come from",
            family: "tokens",
            units: "tokens/s",
            shape: Shape::Lines(
                Kind::Stacked,
                &[Source::rate("vllm:prompt_tokens_by_source_total", "").by_label("source")],
            ),
        },
        ProfileChart {
            id: "tokens_per_step",
            title: "Tokens in one step of the engine",
            family: "tokens",
            units: "tokens",
            shape: Shape::Histogram {
                metric: "vllm:iteration_tokens_total",
                scale: 1.0,
                volume: None,
            },
        },
        length(
            "prompt_length",
            "Prompt length of finished requests",
            "vllm:request_prompt_tokens",
        ),
        length(
            "generation_length",
            "Generated tokens of finished requests",
            "vllm:request_generation_tokens",
        ),
        ProfileChart {
            id: "kv_cache_usage",
            title: "KV cache in use",
            family: "kv cache",
            units: "percentage",
            shape: Shape::Lines(
                Kind::Area,
                &[
                    Source::value("vllm:kv_cache_usage_perc", "usage").scaled(100.0),
                    Source::value("vllm:gpu_cache_usage_perc", "usage").scaled(100.0),
                ],
            ),
        },
        ProfileChart {
            id: "prefix_cache",
            title: "Prompt tokens looked up in the prefix cache",
            family: "kv cache",
            units: "tokens/s",
            shape: Shape::Lines(
                Kind::Line,
                &[
                    Source::rate("vllm:prefix_cache_queries_total", "queried"),
                    Source::rate("vllm:prefix_cache_hits_total", "hit"),
                    Source::rate("vllm:gpu_prefix_cache_queries_total", "queried"),
                    Source::rate("vllm:gpu_prefix_cache_hits_total", "hit"),
                ],
            ),
        },
        ProfileChart {
            id: "spec_decode",
            title: "Speculative decoding",
            family: "speculation",
            units: "tokens/s",
            shape: Shape::Lines(
                Kind::Line,
                &[
                    Source::rate("vllm:spec_decode_num_draft_tokens_total", "drafted"),
                    Source::rate("vllm:spec_decode_num_accepted_tokens_total", "accepted"),
                ],
            ),
        },
        ProfileChart {
            id: "engine_sleep_state",
            title: "Sleep state of the engine",
            family: "engine",
            units: "state",
            shape: Shape::Lines(
                Kind::Line,
                &[Source::value("vllm:engine_sleep_state", "").by_label("sleep_state")],
            ),
        },
    ],
    // The sum of two of the sources.
    left_out: &["vllm:prompt_tokens_cached_total"],
};
