//! What a metric's name means.

use super::super::buckets::Part;
use super::super::measure::Measure;
use super::super::table::plan::{Family, PLAN};
use super::super::unlisted::is_known;

/// Metrics of the scheduler, which carry ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    Running,
    Queued,
    Paused,
    UsedTokens,
    CapacityTokens,
    Usage,
    SecondPool,
    AverageQueue,
    EngineSeconds,
    PrefillCompute,
    PrefillCache,
    Decode,
    EffectiveInput,
    EffectiveDevice,
    EffectiveHost,
    EffectiveStorage,
}

impl Gauge {
    /// How many there are.
    pub const COUNT: usize = Self::EffectiveStorage as usize + 1;
}

/// What a name means, apart from what the table makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Ranked(Gauge),
    RealtimeTokens,
    EffectiveTokens,
    PromptTokens,
    GenerationTokens,
    CachedTokens,
    Requests,
    HttpRequests,
    HttpResponses,
    HttpActive,
    Histogram(Measure, Part),
}

fn metric(name: &str) -> Option<Metric> {
    use Metric::Ranked;
    Some(match name {
        "num_running_reqs" => Ranked(Gauge::Running),
        "num_queue_reqs" => Ranked(Gauge::Queued),
        "num_paused_reqs" => Ranked(Gauge::Paused),
        "num_used_tokens" => Ranked(Gauge::UsedTokens),
        "max_total_num_tokens" => Ranked(Gauge::CapacityTokens),
        "token_usage" => Ranked(Gauge::Usage),
        "swa_token_usage" | "mamba_usage" => Ranked(Gauge::SecondPool),
        "avg_request_queue_latency" => Ranked(Gauge::AverageQueue),
        "scheduler_idle_seconds_total"
        | "scheduler_stage_seconds_total"
        | "forward_execution_seconds_total"
        | "gpu_execution_seconds_total" => Ranked(Gauge::EngineSeconds),
        "realtime_tokens_total" => Metric::RealtimeTokens,
        "prefill_effective_tokens_total" => Metric::EffectiveTokens,
        "prompt_tokens_total" => Metric::PromptTokens,
        "generation_tokens_total" => Metric::GenerationTokens,
        "cached_tokens_total" => Metric::CachedTokens,
        "num_requests_total" => Metric::Requests,
        "http_requests_total" => Metric::HttpRequests,
        "http_responses_total" => Metric::HttpResponses,
        "http_requests_active" => Metric::HttpActive,
        _ => {
            let (base, ending) = name.rsplit_once('_')?;
            let part = match ending {
                "bucket" => Part::Bucket,
                "sum" => Part::Sum,
                "count" => Part::Count,
                _ => return None,
            };
            Metric::Histogram(Measure::named(base)?, part)
        }
    })
}

/// The name of one of SGLang's metrics without its prefix, which a router that passes its servers' pages on writes
/// otherwise.
pub fn own(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("sglang")?;
    rest.strip_prefix([':', '_'])
}

/// What the samples of a name are for. Those of a family stand together: it is looked up once.
#[derive(Clone, Copy, Default)]
pub struct Meaning {
    /// What it counts.
    pub metric: Option<Metric>,
    /// What the table makes of it.
    pub family: Option<&'static Family>,
    /// The label that tells its samples apart.
    pub key: Option<&'static str>,
    /// Whether no chart knows it.
    pub unlisted: bool,
    /// Whether it counts events, each under the priority that it has or under the empty one. Of gauges the empty
    /// one is the total.
    pub counts: bool,
}

impl Meaning {
    /// Of a metric, by its name without the prefix.
    pub fn of(name: &str) -> Self {
        let (metric, family) = (metric(name), PLAN.family(name));
        let key = match metric {
            Some(Metric::RealtimeTokens | Metric::EffectiveTokens) => Some("mode"),
            _ => family.and_then(|family| family.key),
        };
        Self {
            metric,
            family,
            key,
            unlisted: metric.is_none() && family.is_none() && !is_known(name),
            counts: ["_total", "_sum", "_count", "_bucket"]
                .iter()
                .any(|ending| name.ends_with(ending)),
        }
    }
}
