//! The histograms of which percentiles are taken.

/// One of them; also its place in arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Time in the queue (0.5.2 and later).
    QueueTime,
    /// From a request's arrival to its first token.
    TimeToFirstToken,
    /// Between two tokens.
    InterTokenLatency,
    /// A request's time after its first token, by its tokens (0.5.22 and later; up to 0.4.4 under another name).
    TimePerOutputToken,
    /// From a request's arrival to its last token.
    E2eLatency,
    /// Tokens of a prompt.
    PromptLength,
    /// Tokens generated for a request.
    GenerationLength,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::QueueTime,
        Self::TimeToFirstToken,
        Self::InterTokenLatency,
        Self::TimePerOutputToken,
        Self::E2eLatency,
        Self::PromptLength,
        Self::GenerationLength,
    ];

    /// The one whose samples begin with `name`, the metric without its prefix and its ending.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "queue_time_seconds" | "queue_time_s" => Self::QueueTime,
            "time_to_first_token_seconds" => Self::TimeToFirstToken,
            "inter_token_latency_seconds" => Self::InterTokenLatency,
            "request_time_per_output_token_seconds" | "time_per_output_token_seconds" => {
                Self::TimePerOutputToken
            }
            "e2e_request_latency_seconds" => Self::E2eLatency,
            "prompt_tokens_histogram" => Self::PromptLength,
            "generation_tokens_histogram" => Self::GenerationLength,
            _ => return None,
        })
    }

    /// Whether requests that do not stream make it wrong: their first token is "seen" with their first
    /// flush only, up to fifty tokens later.
    #[must_use]
    pub fn of_streaming(self) -> bool {
        matches!(self, Self::TimeToFirstToken | Self::InterTokenLatency)
    }
}
