//! What one page of `/metrics` says, already summed over ranks and labels. Unknown is `None`.

use super::measure::Measure;
use super::table::spec::Since;
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
    /// `avg_request_queue_latency` (up to 0.5.2), seconds: of the last prefill batch, on the slowest dp rank.
    pub average_queue_s: Option<f64>,
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
    /// `http_responses_total` of inference endpoints by the status' first digit: 2, 4, 5.
    pub http_responses: [Option<Counter>; 3],
    /// `prefill_effective_tokens_total` (0.5.18 and later): prompt tokens by where they came from.
    pub effective: Effective,
    /// Whether the scheduler's samples carry ranks (0.4.9 and later).
    pub ranked: bool,
    /// The dp ranks with running requests, if the page tells ranks apart.
    pub dp_ranks: Vec<u32>,
    /// Whether it is of the oldest version whose counters are known, or a later one: an absent counter is 0.
    pub supported: bool,
    /// The newest version that added a metric which is there.
    pub version: Option<&'static str>,
    /// The histograms, in the order of [`Measure::ALL`].
    pub histograms: [Histogram; Measure::ALL.len()],
}

impl Snapshot {
    /// Forgets the readings, keeps the memory and the engine's type.
    pub fn clear(&mut self) {
        let mut old = std::mem::take(self);
        old.histograms.iter_mut().for_each(Histogram::clear);
        old.dp_ranks.clear();
        *self = Self {
            engine_type: old.engine_type,
            histograms: old.histograms,
            dp_ranks: old.dp_ranks,
            ..Self::default()
        };
    }

    /// One of the histograms.
    #[must_use]
    pub fn histogram(&self, measure: Measure) -> &Histogram {
        &self.histograms[measure as usize]
    }

    /// The observations of a measure that are to be shown: of streaming requests alone where others make
    /// it wrong and are told apart.
    #[must_use]
    pub fn buckets(&self, measure: Measure) -> &Buckets {
        let histogram = self.histogram(measure);
        if measure.of_streaming() && histogram.split {
            &histogram.streaming
        } else {
            &histogram.all
        }
    }

    /// Whether its server is of that version, as far as the page tells.
    #[must_use]
    pub fn is_since(&self, since: Since) -> bool {
        match since {
            Since::Ever => self.supported,
            Since::Ranks => self.ranked,
            Since::Capacity => self.capacity_tokens.is_some(),
            Since::Http => self.counts_http,
            Since::Unknown => false,
        }
    }
}

/// Prompt tokens by where they came from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Effective {
    /// Computed.
    pub input: Option<Counter>,
    /// Found in the GPU's cache.
    pub device: Option<Counter>,
    /// Found in the host's memory.
    pub host: Option<Counter>,
    /// Found in storage.
    pub storage: Option<Counter>,
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

/// A histogram.
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
    fn clear(&mut self) {
        self.all.clear();
        self.streaming.clear();
        self.split = false;
    }
}
