//! llama.cpp's server, started with `--metrics`. It has no labels and no histograms.

use netdata_plugin::chart::Kind;

use super::{Profile, ProfileChart, Shape, Source};

/// The server's documented metrics, of this and of earlier versions.
pub(super) const PROFILE: Profile = Profile {
    app: "llamacpp",
    prefix: "llamacpp:",
    charts: &[
        ProfileChart {
            id: "requests_in_flight",
            title: "Requests in flight",
            family: "requests",
            units: "requests",
            shape: Shape::Lines(
                Kind::Stacked,
                &[
                    Source::value("llamacpp:requests_processing", "processing"),
                    Source::value("llamacpp:requests_deferred", "deferred"),
                ],
            ),
        },
        ProfileChart {
            id: "token_throughput",
            title: "Tokens processed",
            family: "tokens",
            units: "tokens/s",
            shape: Shape::Lines(
                Kind::Stacked,
                &[
                    Source::rate("llamacpp:prompt_tokens_total", "prompt"),
                    Source::rate("llamacpp:prompt_tokens_cached_total", "prompt_cached"),
                    Source::rate("llamacpp:tokens_predicted_total", "generation"),
                ],
            ),
        },
        ProfileChart {
            id: "token_speed",
            title: "Speed while it computes, as the server averages it",
            family: "tokens",
            units: "tokens/s",
            shape: Shape::Lines(
                Kind::Line,
                &[
                    Source::value("llamacpp:prompt_tokens_seconds", "prompt"),
                    Source::value("llamacpp:predicted_tokens_seconds", "generation"),
                ],
            ),
        },
        ProfileChart {
            id: "computing_time",
            title: "Time spent computing",
            family: "engine",
            units: "percentage",
            shape: Shape::Lines(
                Kind::Stacked,
                &[
                    Source::rate("llamacpp:prompt_seconds_total", "prompt").scaled(100.0),
                    Source::rate("llamacpp:tokens_predicted_seconds_total", "generation")
                        .scaled(100.0),
                ],
            ),
        },
        ProfileChart {
            id: "decode_calls",
            title: "Steps of the engine",
            family: "engine",
            units: "calls/s",
            shape: Shape::Lines(
                Kind::Line,
                &[Source::rate("llamacpp:n_decode_total", "decode")],
            ),
        },
        // Typed as a counter by some versions; it is an average since the start.
        ProfileChart {
            id: "busy_slots",
            title: "Slots busy in one step, average since the start",
            family: "engine",
            units: "slots",
            shape: Shape::Lines(
                Kind::Line,
                &[Source::value("llamacpp:n_busy_slots_per_decode", "busy")],
            ),
        },
        // Typed as a counter; it is a high-water mark.
        ProfileChart {
            id: "longest_sequence",
            title: "Longest sequence seen",
            family: "kv cache",
            units: "tokens",
            shape: Shape::Lines(
                Kind::Line,
                &[Source::value("llamacpp:n_tokens_max", "tokens")],
            ),
        },
        ProfileChart {
            id: "kv_cache_usage",
            title: "KV cache in use",
            family: "kv cache",
            units: "percentage",
            shape: Shape::Lines(
                Kind::Area,
                &[Source::value("llamacpp:kv_cache_usage_ratio", "usage").scaled(100.0)],
            ),
        },
        ProfileChart {
            id: "kv_cache_tokens",
            title: "Tokens in the KV cache",
            family: "kv cache",
            units: "tokens",
            shape: Shape::Lines(
                Kind::Area,
                &[Source::value("llamacpp:kv_cache_tokens", "tokens")],
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
                    Source::rate("llamacpp:spec_decode_num_draft_tokens_total", "drafted"),
                    Source::rate("llamacpp:spec_decode_num_accepted_tokens_total", "accepted"),
                ],
            ),
        },
    ],
    left_out: &[],
};
