//! From the text of `/metrics` to a [`Snapshot`]. Allocates nothing once its buffers have grown.

use super::ranks::{Rank, Ranked};
use super::snapshot::{Histogram, Snapshot};
use crate::histogram::{Buckets, Counter};
use crate::prometheus::{Line, Lines, Sample};

/// Reads pages; keeps its buffers between them.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    ranked: [Ranked; Gauge::COUNT],
}

/// Metrics of the scheduler, which carry ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gauge {
    Running,
    Queued,
    GrammarQueue,
    Paused,
    UsedTokens,
    CapacityTokens,
    Usage,
    SecondPool,
    EngineSeconds,
    PrefillCompute,
    PrefillCache,
    Decode,
}

impl Gauge {
    const COUNT: usize = Self::Decode as usize + 1;
}

/// Which part of a histogram a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Bucket,
    Sum,
    Count,
}

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
    Ranked(Gauge),
    RealtimeTokens,
    PromptTokens,
    GenerationTokens,
    CachedTokens,
    Requests,
    HttpRequests,
    HttpActive,
    TimeToFirstToken(Part),
    InterTokenLatency(Part),
    E2eLatency(Part),
}

fn metric(name: &str) -> Option<Metric> {
    use Metric::{E2eLatency, InterTokenLatency, Ranked, TimeToFirstToken};
    Some(match name {
        "num_running_reqs" => Ranked(Gauge::Running),
        "num_queue_reqs" => Ranked(Gauge::Queued),
        "num_grammar_queue_reqs" => Ranked(Gauge::GrammarQueue),
        "num_paused_reqs" => Ranked(Gauge::Paused),
        "num_used_tokens" => Ranked(Gauge::UsedTokens),
        "max_total_num_tokens" => Ranked(Gauge::CapacityTokens),
        "token_usage" => Ranked(Gauge::Usage),
        "swa_token_usage" | "mamba_usage" => Ranked(Gauge::SecondPool),
        "scheduler_idle_seconds_total"
        | "scheduler_stage_seconds_total"
        | "forward_execution_seconds_total" => Ranked(Gauge::EngineSeconds),
        "realtime_tokens_total" => Metric::RealtimeTokens,
        "prompt_tokens_total" => Metric::PromptTokens,
        "generation_tokens_total" => Metric::GenerationTokens,
        "cached_tokens_total" => Metric::CachedTokens,
        "num_requests_total" => Metric::Requests,
        "http_requests_total" => Metric::HttpRequests,
        "http_requests_active" => Metric::HttpActive,
        "time_to_first_token_seconds_bucket" => TimeToFirstToken(Part::Bucket),
        "time_to_first_token_seconds_sum" => TimeToFirstToken(Part::Sum),
        "time_to_first_token_seconds_count" => TimeToFirstToken(Part::Count),
        "inter_token_latency_seconds_bucket" => InterTokenLatency(Part::Bucket),
        "inter_token_latency_seconds_sum" => InterTokenLatency(Part::Sum),
        "inter_token_latency_seconds_count" => InterTokenLatency(Part::Count),
        "e2e_request_latency_seconds_bucket" => E2eLatency(Part::Bucket),
        "e2e_request_latency_seconds_sum" => E2eLatency(Part::Sum),
        "e2e_request_latency_seconds_count" => E2eLatency(Part::Count),
        _ => return None,
    })
}

/// Endpoints whose requests wait for the engine. Our own scrape is a request too.
const INFERENCE: &[&str] = &[
    "/generate",
    "/encode",
    "/classify",
    "/vertex_generate",
    "/invocations",
    "/api/chat",
    "/api/generate",
    "/v1/audio/transcriptions",
    "/v1/chat/completions",
    "/v1/classify",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/rerank",
    "/v1/responses",
    "/v1/score",
];

impl Reader {
    /// Reads `page` into `snapshot`, replacing what it held.
    pub fn read(&mut self, page: &[u8], snapshot: &mut Snapshot) {
        snapshot.clear();
        self.ranked.iter_mut().for_each(Ranked::clear);
        let mut lines = Lines::new(page);
        // The series of a family stand together: its name is looked up once.
        let (mut last, mut meaning) = ("", None);
        for line in lines.by_ref() {
            let Line::Sample(sample) = line else { continue };
            if sample.name != last {
                last = sample.name;
                meaning = last.strip_prefix("sglang:").map(metric);
            }
            let Some(metric) = meaning else { continue };
            snapshot.series += 1;
            if let Some(metric) = metric
                && !sample.value.is_nan()
            {
                self.take(metric, &sample, snapshot);
            }
        }
        snapshot.skipped_lines = lines.skipped();
        self.finish(snapshot);
    }

    fn take(&mut self, metric: Metric, sample: &Sample<'_>, snapshot: &mut Snapshot) {
        match metric {
            Metric::Ranked(gauge) => self.take_ranked(Some(gauge), sample, snapshot),
            Metric::RealtimeTokens => self.take_ranked(None, sample, snapshot),
            Metric::PromptTokens => add(&mut snapshot.prompt_tokens, sample),
            Metric::GenerationTokens => add(&mut snapshot.generation_tokens, sample),
            Metric::CachedTokens => add(&mut snapshot.cached_tokens, sample),
            Metric::Requests => add(&mut snapshot.requests, sample),
            Metric::HttpRequests => snapshot.counts_http = true,
            Metric::HttpActive => take_active(sample, snapshot),
            Metric::TimeToFirstToken(part) => {
                take_histogram(part, sample, &mut snapshot.time_to_first_token);
            }
            Metric::InterTokenLatency(part) => {
                take_histogram(part, sample, &mut snapshot.inter_token_latency);
            }
            Metric::E2eLatency(part) => take_histogram(part, sample, &mut snapshot.e2e_latency),
        }
    }

    /// A sample of the scheduler's; which one of the realtime counters it is, its `mode` says.
    fn take_ranked(
        &mut self,
        mut gauge: Option<Gauge>,
        sample: &Sample<'_>,
        snapshot: &mut Snapshot,
    ) {
        let (mut rank, mut one_priority) = (Rank::default(), false);
        for (name, value) in sample.labels() {
            let number = || value.parse().unwrap_or(0);
            match name {
                "dp_rank" => rank.dp = number(),
                "pp_rank" => rank.pp = number(),
                "tp_rank" => rank.tp = number(),
                "priority" => one_priority = !value.is_empty(),
                "engine_type" if snapshot.engine_type.as_deref() != Some(&*value) => {
                    snapshot.engine_type = Some(value.into_owned());
                }
                "mode" if gauge.is_none() => {
                    gauge = match &*value {
                        "prefill_compute" => Some(Gauge::PrefillCompute),
                        "prefill_cache" => Some(Gauge::PrefillCache),
                        "decode" => Some(Gauge::Decode),
                        _ => None,
                    };
                }
                _ => {}
            }
        }
        if let Some(gauge) = gauge {
            let series = identity(sample.raw_labels());
            self.ranked[gauge as usize].add(rank, one_priority, sample.value, series);
        }
    }

    fn finish(&self, snapshot: &mut Snapshot) {
        let of = |gauge: Gauge| &self.ranked[gauge as usize];
        snapshot.running = of(Gauge::Running).sum();
        snapshot.queued = of(Gauge::Queued).sum();
        snapshot.grammar_queue = of(Gauge::GrammarQueue).sum();
        snapshot.paused = of(Gauge::Paused).sum();
        snapshot.used_tokens = of(Gauge::UsedTokens).sum();
        snapshot.capacity_tokens = of(Gauge::CapacityTokens).sum();
        snapshot.highest_usage = of(Gauge::Usage).max();
        snapshot.second_pool = of(Gauge::SecondPool).max().is_some_and(|usage| usage > 0.0);
        snapshot.engine_seconds = of(Gauge::EngineSeconds).counter();
        snapshot.realtime.prefill_compute = of(Gauge::PrefillCompute).counter();
        snapshot.realtime.prefill_cache = of(Gauge::PrefillCache).counter();
        snapshot.realtime.decode = of(Gauge::Decode).counter();
        for histogram in [
            &mut snapshot.time_to_first_token,
            &mut snapshot.inter_token_latency,
            &mut snapshot.e2e_latency,
        ] {
            close(&mut histogram.all);
            close(&mut histogram.streaming);
        }
    }
}

/// Adds to a counter of the main process, whose series (streaming or not, priorities, the user's own
/// labels) are disjoint.
fn add(counter: &mut Option<Counter>, sample: &Sample<'_>) {
    let counter = counter.get_or_insert_default();
    counter.total += sample.value;
    counter.series = counter.series.wrapping_add(identity(sample.raw_labels()));
}

fn take_active(sample: &Sample<'_>, snapshot: &mut Snapshot) {
    let (mut inference, mut post) = (false, false);
    for (name, value) in sample.labels() {
        match name {
            "endpoint" => inference = INFERENCE.contains(&&*value),
            "method" => post = value == "POST",
            _ => {}
        }
    }
    let sum = if inference {
        &mut snapshot.http_inference
    } else if post {
        &mut snapshot.http_control
    } else {
        return;
    };
    *sum = Some(sum.unwrap_or(0.0) + sample.value);
}

fn take_histogram(part: Part, sample: &Sample<'_>, histogram: &mut Histogram) {
    let (mut bound, mut streaming) = (None, None);
    for (name, value) in sample.labels() {
        match name {
            "le" => bound = value.parse().ok().filter(|bound: &f64| !bound.is_nan()),
            "is_streaming" => streaming = Some(value == "true"),
            _ => {}
        }
    }
    histogram.split |= streaming.is_some();
    take_part(part, sample, bound, &mut histogram.all);
    if streaming == Some(true) {
        take_part(part, sample, bound, &mut histogram.streaming);
    }
}

fn take_part(part: Part, sample: &Sample<'_>, bound: Option<f64>, buckets: &mut Buckets) {
    match (part, bound) {
        (Part::Bucket, Some(bound)) => buckets.add(bound, sample.value),
        (Part::Bucket, None) => {}
        (Part::Sum, _) => buckets.sum = Some(buckets.sum.unwrap_or(0.0) + sample.value),
        (Part::Count, _) => add(&mut buckets.count, sample),
    }
}

/// Gives buckets without their infinite one the count in its place.
fn close(buckets: &mut Buckets) {
    if let (Some(last), Some(count)) = (buckets.bounds.last(), buckets.count)
        && last.is_finite()
    {
        buckets.add(f64::INFINITY, count.total);
    }
}

/// FNV-1a over the labels: tells one series from another, and sums of it one set of series from another.
fn identity(labels: &str) -> u64 {
    labels.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests;
