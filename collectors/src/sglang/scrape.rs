//! From the text of `/metrics` to a [`Snapshot`] and the [`Readings`] of the table. Allocates nothing once its
//! buffers have grown.

use super::buckets::{Gathered, Part};
use super::marks::{Marks, identity};
use super::measure::Measure;
use super::ranks::Ranked;
use super::snapshot::Snapshot;
use super::table::plan::{Family, PLAN};
use super::table::readings::{Counted, Readings};
use super::unlisted::{Unlisted, is_known};
use super::versions::Newest;
use crate::histogram::Counter;
use crate::prometheus::{Line, Lines, Sample};

/// Reads pages; keeps its buffers between them.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    ranked: [Ranked; Gauge::COUNT],
    histograms: [Gathered; Measure::ALL.len()],
}

/// Metrics of the scheduler, which carry ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gauge {
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
    const COUNT: usize = Self::EffectiveStorage as usize + 1;
}

/// What a name means, apart from what the table makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Metric {
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
struct Meaning {
    metric: Option<Metric>,
    family: Option<&'static Family>,
    key: Option<&'static str>,
    unlisted: bool,
    /// Whether it counts events, each under the priority that it has or under the empty one. Of gauges the empty
    /// one is the total.
    counts: bool,
}

impl Meaning {
    fn of(name: &str) -> Self {
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

impl Reader {
    /// Reads `page` into `snapshot`, `readings` and `unlisted`, replacing the samples they held.
    pub fn read(
        &mut self,
        page: &[u8],
        snapshot: &mut Snapshot,
        readings: &mut Readings,
        unlisted: &mut Unlisted,
    ) {
        snapshot.clear();
        readings.clear();
        unlisted.clear();
        self.ranked.iter_mut().for_each(Ranked::clear);
        self.histograms.iter_mut().for_each(Gathered::clear);
        let (mut last, mut meaning, mut newest) = ("", None, Newest::default());
        let mut lines = Lines::new(page);
        for line in lines.by_ref() {
            let sample = match line {
                Line::Sample(sample) => sample,
                Line::Type { name, kind } => {
                    unlisted.announce(name, kind);
                    continue;
                }
                Line::Help { .. } => continue,
            };
            if sample.name != last {
                last = sample.name;
                meaning = own(last).map(|name| {
                    newest.see(name);
                    (name, Meaning::of(name))
                });
            }
            let Some((name, meaning)) = meaning else {
                continue;
            };
            snapshot.series = snapshot.series.saturating_add(1);
            if sample.value.is_nan() {
                continue;
            }
            if meaning.unlisted {
                unlisted.add(name, &sample);
            } else if meaning.metric.is_some() || meaning.family.is_some() {
                self.take(meaning, &sample, snapshot, readings);
            }
        }
        snapshot.skipped_lines = lines.skipped();
        snapshot.version = newest.version();
        snapshot.supported = newest.is_supported();
        self.finish(snapshot);
    }

    fn take(
        &mut self,
        meaning: Meaning,
        sample: &Sample<'_>,
        snapshot: &mut Snapshot,
        readings: &mut Readings,
    ) {
        let marks = Marks::read(sample, meaning.key);
        if let Some(engine_type) = &marks.engine_type
            && snapshot.engine_type.as_deref() != Some(&**engine_type)
        {
            snapshot.engine_type = Some(engine_type.clone().into_owned());
        }
        if let Some(Metric::Histogram(measure, part)) = meaning.metric {
            self.histograms[measure as usize].add(part, sample, &marks);
            return;
        }
        let counted = Counted {
            rank: marks.rank,
            one_priority: marks.one_priority && !meaning.counts,
            value: sample.value,
            series: identity(sample.raw_labels()),
        };
        let key = marks.key.as_deref().unwrap_or("");
        for target in meaning.family.into_iter().flat_map(|it| &it.targets) {
            readings.add(*target, key, counted);
        }
        let Some(metric) = meaning.metric else { return };
        match metric {
            Metric::Ranked(gauge) => {
                snapshot.ranked |= marks.ranked;
                self.count(gauge, counted);
            }
            Metric::RealtimeTokens => match key {
                "prefill_compute" => self.count(Gauge::PrefillCompute, counted),
                "prefill_cache" => self.count(Gauge::PrefillCache, counted),
                "decode" => self.count(Gauge::Decode, counted),
                _ => {}
            },
            Metric::EffectiveTokens => match key {
                "input" => self.count(Gauge::EffectiveInput, counted),
                "device_hit" => self.count(Gauge::EffectiveDevice, counted),
                "host_hit" => self.count(Gauge::EffectiveHost, counted),
                "storage_hit" => self.count(Gauge::EffectiveStorage, counted),
                _ => {}
            },
            Metric::PromptTokens => add(&mut snapshot.prompt_tokens, counted),
            Metric::GenerationTokens => add(&mut snapshot.generation_tokens, counted),
            Metric::CachedTokens => add(&mut snapshot.cached_tokens, counted),
            Metric::Requests => add(&mut snapshot.requests, counted),
            Metric::HttpRequests => snapshot.counts_http = true,
            Metric::HttpResponses => responses(&marks, counted, snapshot),
            Metric::HttpActive => active(&marks, sample.value, snapshot),
            Metric::Histogram(..) => {}
        }
    }

    fn count(&mut self, gauge: Gauge, counted: Counted) {
        let Counted {
            rank,
            one_priority,
            value,
            series,
        } = counted;
        self.ranked[gauge as usize].add(rank, one_priority, value, series);
    }

    fn finish(&self, snapshot: &mut Snapshot) {
        let of = |gauge: Gauge| &self.ranked[gauge as usize];
        snapshot.running = of(Gauge::Running).sum();
        snapshot.queued = of(Gauge::Queued).sum();
        snapshot.paused = of(Gauge::Paused).sum();
        snapshot.used_tokens = of(Gauge::UsedTokens).sum();
        snapshot.capacity_tokens = of(Gauge::CapacityTokens).sum();
        snapshot.highest_usage = of(Gauge::Usage).max();
        snapshot.second_pool = of(Gauge::SecondPool).max().is_some_and(|usage| usage > 0.0);
        snapshot.average_queue_s = of(Gauge::AverageQueue).max();
        snapshot.engine_seconds = of(Gauge::EngineSeconds).counter();
        snapshot.realtime.prefill_compute = of(Gauge::PrefillCompute).counter();
        snapshot.realtime.prefill_cache = of(Gauge::PrefillCache).counter();
        snapshot.realtime.decode = of(Gauge::Decode).counter();
        snapshot.effective.input = of(Gauge::EffectiveInput).counter();
        snapshot.effective.device = of(Gauge::EffectiveDevice).counter();
        snapshot.effective.host = of(Gauge::EffectiveHost).counter();
        snapshot.effective.storage = of(Gauge::EffectiveStorage).counter();
        let ranks = of(Gauge::Running).ranks().map(|(rank, _)| rank);
        snapshot.dp_ranks.extend(ranks);
        snapshot.dp_ranks.sort_unstable();
        for (gathered, histogram) in self.histograms.iter().zip(&mut snapshot.histograms) {
            gathered.finish(histogram);
        }
    }
}

/// Adds to a counter of the main process, whose series (streaming or not, priorities, the user's own
/// labels) are disjoint.
fn add(counter: &mut Option<Counter>, counted: Counted) {
    let counter = counter.get_or_insert_default();
    counter.total += counted.value;
    counter.series = counter.series.wrapping_add(counted.series);
}

fn responses(marks: &Marks<'_>, counted: Counted, snapshot: &mut Snapshot) {
    let class = match marks.status {
        Some(b'2') => 0,
        Some(b'4') => 1,
        Some(b'5') => 2,
        _ => return,
    };
    if marks.inference {
        add(&mut snapshot.http_responses[class], counted);
    }
}

fn active(marks: &Marks<'_>, value: f64, snapshot: &mut Snapshot) {
    let sum = match (marks.inference, marks.post) {
        (true, _) => &mut snapshot.http_inference,
        (false, true) => &mut snapshot.http_control,
        (false, false) => return,
    };
    *sum = Some(sum.unwrap_or(0.0) + value);
}

#[cfg(test)]
mod tests;
