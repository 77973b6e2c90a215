//! Hugging Face's Text Generation Inference. Its names have no unit suffix: durations are seconds. It has no
//! counters of tokens, so that tokens per second come from the sums of its histograms, when requests end.

use netdata_plugin::chart::Kind;

use super::{Profile, ProfileChart, Shape, Source, Volume};

/// Seconds to milliseconds.
const MS: f64 = 1e3;

const fn duration(
    id: &'static str,
    title: &'static str,
    family: &'static str,
    metric: &'static str,
) -> ProfileChart {
    ProfileChart {
        id,
        title,
        family,
        units: "milliseconds",
        shape: Shape::Histogram {
            metric,
            scale: MS,
            volume: None,
        },
    }
}

/// The router's documented metrics.
pub(super) const PROFILE: Profile = Profile {
    app: "tgi",
    prefix: "tgi_",
    charts: &[
        ProfileChart {
            id: "requests_in_flight",
            title: "Requests in the batch and in the queue",
            family: "requests",
            units: "requests",
            shape: Shape::Lines(
                Kind::Stacked,
                &[
                    Source::value("tgi_batch_current_size", "running"),
                    Source::value("tgi_queue_size", "queued"),
                ],
            ),
        },
        ProfileChart {
            id: "requests",
            title: "Requests received and answered",
            family: "requests",
            units: "requests/s",
            shape: Shape::Lines(
                Kind::Line,
                &[
                    Source::rate("tgi_request_count", "received"),
                    Source::rate("tgi_request_success", "answered"),
                ],
            ),
        },
        ProfileChart {
            id: "request_failures",
            title: "Requests failed, by reason",
            family: "requests",
            units: "requests/s",
            shape: Shape::Lines(
                Kind::Stacked,
                &[Source::rate("tgi_request_failure", "").by_label("err")],
            ),
        },
        duration(
            "validation_time",
            "Validation time",
            "latency",
            "tgi_request_validation_duration",
        ),
        duration(
            "queue_time",
            "Time in the queue",
            "latency",
            "tgi_request_queue_duration",
        ),
        duration(
            "inference_time",
            "Inference time",
            "latency",
            "tgi_request_inference_duration",
        ),
        duration(
            "time_per_output_token",
            "Time per output token, mean of a request",
            "latency",
            "tgi_request_mean_time_per_token_duration",
        ),
        duration(
            "e2e_latency",
            "Request latency, end to end",
            "latency",
            "tgi_request_duration",
        ),
        ProfileChart {
            id: "prompt_length",
            title: "Prompt length",
            family: "tokens",
            units: "tokens",
            shape: Shape::Histogram {
                metric: "tgi_request_input_length",
                scale: 1.0,
                volume: Some(Volume {
                    id: "prompt_tokens",
                    title: "Prompt tokens of requests",
                    units: "tokens/s",
                }),
            },
        },
        ProfileChart {
            id: "generation_length",
            title: "Generated tokens of finished requests",
            family: "tokens",
            units: "tokens",
            shape: Shape::Histogram {
                metric: "tgi_request_generated_tokens",
                scale: 1.0,
                volume: Some(Volume {
                    id: "generated_tokens",
                    title: "Generated tokens of finished requests per second",
                    units: "tokens/s",
                }),
            },
        },
        ProfileChart {
            id: "batch_size",
            title: "Size of the next batch",
            family: "batch",
            units: "requests",
            shape: Shape::Histogram {
                metric: "tgi_batch_next_size",
                scale: 1.0,
                volume: None,
            },
        },
        ProfileChart {
            id: "batch_tokens",
            title: "Most tokens that the batch may grow to",
            family: "batch",
            units: "tokens",
            shape: Shape::Lines(
                Kind::Line,
                &[
                    Source::value("tgi_batch_current_max_tokens", "current"),
                    Source::value("tgi_batch_max_total_tokens", "limit"),
                ],
            ),
        },
        ProfileChart {
            id: "batch_inferences",
            title: "Steps of the engine",
            family: "batch",
            units: "calls/s",
            shape: Shape::Lines(
                Kind::Stacked,
                &[Source::rate("tgi_batch_inference_count", "").by_label("method")],
            ),
        },
        duration(
            "batch_inference_time",
            "Time of one step",
            "batch",
            "tgi_batch_inference_duration",
        ),
        duration(
            "batch_forward_time",
            "Time of one forward pass",
            "batch",
            "tgi_batch_forward_duration",
        ),
    ],
    left_out: &["tgi_batch_inference_success"],
};
