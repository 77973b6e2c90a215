//! What one page of `/metrics` says, already summed over ranks and labels. Unknown is `None`.

use crate::histogram::{Buckets, Counter};

/// One reading of a server. Buffers are kept from page to page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Series of SGLang's that the page held: none means that it is no such page.
    pub series: u32,
    /// Lines that were no samples.
    pub skipped_lines: u32,
    /// `engine_type`: unified, prefill or decode.
    pub engine_type: Option<String>,
    /// `num_running_reqs`, over all dp ranks.
    pub running: Option<f64>,
    /// `num_queue_reqs`.
    pub queued: Option<f64>,
    /// `num_grammar_queue_reqs`.
    pub grammar_queue: Option<f64>,
    /// `num_paused_reqs` (0.5.2 and later).
    pub paused: Option<f64>,
    /// `num_used_tokens`, over all dp ranks: KV cache held by requests, evictable prefixes not counted.
    pub used_tokens: Option<f64>,
    /// `max_total_num_tokens`, over all dp ranks (0.5.6 and later).
    pub capacity_tokens: Option<f64>,
    /// `token_usage` of the fullest dp rank, 0 to 1.
    pub highest_usage: Option<f64>,
    /// Whether a second pool (sliding window, Mamba) is in use, so that tokens over capacity is not
    /// what fills up first.
    pub second_pool: bool,
    /// `realtime_tokens_total` (0.5.7 and later).
    pub realtime: Realtime,
    /// `prompt_tokens_total`, counted when a request ends.
    pub prompt_tokens: Option<Counter>,
    /// `generation_tokens_total`, counted when a request ends.
    pub generation_tokens: Option<Counter>,
    /// `cached_tokens_total`, counted when a request ends.
    pub cached_tokens: Option<Counter>,
    /// `num_requests_total`: finished requests.
    pub requests: Option<Counter>,
    /// Seconds spent in the scheduler's stages, forward passes and idling, summed: only its movement
    /// means something.
    pub engine_seconds: Option<Counter>,
    /// `http_requests_total` is there (0.5.7 and later).
    pub counts_http: bool,
    /// `http_requests_active` of inference endpoints (0.5.8 and later).
    pub http_inference: Option<f64>,
    /// The same of other POST endpoints: weight updates, pauses.
    pub http_control: Option<f64>,
    /// `time_to_first_token_seconds`.
    pub time_to_first_token: Histogram,
    /// `inter_token_latency_seconds`.
    pub inter_token_latency: Histogram,
    /// `e2e_request_latency_seconds`.
    pub e2e_latency: Histogram,
}

impl Snapshot {
    /// Forgets the readings, keeps the memory and the engine's type.
    pub fn clear(&mut self) {
        let mut old = std::mem::take(self);
        self.engine_type = old.engine_type.take();
        for (new, mut old) in [
            (&mut self.time_to_first_token, old.time_to_first_token),
            (&mut self.inter_token_latency, old.inter_token_latency),
            (&mut self.e2e_latency, old.e2e_latency),
        ] {
            old.clear();
            *new = old;
        }
    }
}

/// Tokens as they are processed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Realtime {
    /// Prompt tokens computed.
    pub prefill_compute: Option<Counter>,
    /// Prompt tokens taken from the prefix cache.
    pub prefill_cache: Option<Counter>,
    /// Tokens generated.
    pub decode: Option<Counter>,
}

/// A latency histogram, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Over all requests.
    pub all: Buckets,
    /// Over streaming requests only; empty where the server does not tell them apart.
    pub streaming: Buckets,
    /// Whether it tells them apart (`is_streaming`, 0.5.18 and later).
    pub split: bool,
}

impl Histogram {
    /// Of streaming requests where they are told apart, else of all: a request that does not stream has
    /// its first token "seen" only with its first flush.
    #[must_use]
    pub fn streaming_if_known(&self) -> &Buckets {
        if self.split {
            &self.streaming
        } else {
            &self.all
        }
    }

    fn clear(&mut self) {
        self.all.clear();
        self.streaming.clear();
        self.split = false;
    }
}
