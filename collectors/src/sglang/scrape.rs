//! From the text of `/metrics` to a [`Snapshot`] and the [`Readings`] of the table. Allocates nothing once its
//! buffers have grown. A page with the lines of the one before, which is nearly every page, is followed along those:
//! then only values are read.

mod meaning;

use super::buckets::Gathered;
use super::layout::Layout;
use super::marks::{Keys, Marks, Remembered, identity};
use super::measure::Measure;
use super::ranks::Ranked;
use super::snapshot::Snapshot;
use super::table::plan::Family;
use super::table::readings::{Counted, Readings};
use super::unlisted::Unlisted;
use super::versions::Newest;
use crate::histogram::Counter;
use crate::prometheus::{Line, Lines, Sample};
pub use meaning::own;
use meaning::{Gauge, Meaning, Metric};

/// Reads pages; keeps its buffers between them.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    sums: Sums,
    layout: Layout<Known>,
    keys: Keys,
    /// What the page that was learnt says as a whole.
    series: u32,
    newest: Newest,
    engine_type: Option<String>,
}

/// The samples of one page.
#[derive(Clone, Debug, Default)]
struct Sums {
    ranked: [Ranked; Gauge::COUNT],
    histograms: [Gathered; Measure::ALL.len()],
}

/// What a line is, as far as it does not change between pages.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// A sample that nobody wants.
    Ignored,
    /// What no chart knows is read line by line.
    Unlisted,
    Sample {
        metric: Option<Metric>,
        family: Option<&'static Family>,
        counts: bool,
        marks: Remembered,
        series: u64,
    },
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
        if !self.follow(page, snapshot, readings, unlisted) {
            self.learn(page, snapshot, readings, unlisted);
        }
        self.sums.finish(snapshot);
    }

    /// Reads a page with the lines of the one that was learnt; false if it is not one.
    fn follow(
        &mut self,
        page: &[u8],
        snapshot: &mut Snapshot,
        readings: &mut Readings,
        unlisted: &mut Unlisted,
    ) -> bool {
        let Self {
            sums, layout, keys, ..
        } = self;
        sums.begin(snapshot, readings, unlisted);
        let same = layout.follow(page, |known, line, value| match known {
            Known::Ignored => {}
            Known::Unlisted => add_unlisted(line, unlisted),
            Known::Sample { .. } if value.is_nan() => {}
            Known::Sample {
                metric,
                family,
                counts,
                marks,
                series,
            } => {
                let meaning = Meaning {
                    metric: *metric,
                    family: *family,
                    counts: *counts,
                    ..Meaning::default()
                };
                let read = (value, *series);
                sums.take(meaning, read, &marks.recall(keys), snapshot, readings);
            }
        });
        if same {
            layout.settle();
            snapshot.series = self.series;
            snapshot.version = self.newest.version();
            snapshot.supported = self.newest.is_supported();
            if snapshot.engine_type != self.engine_type {
                snapshot.engine_type.clone_from(&self.engine_type);
            }
        }
        same
    }

    /// Reads any page, and remembers its lines.
    fn learn(
        &mut self,
        page: &[u8],
        snapshot: &mut Snapshot,
        readings: &mut Readings,
        unlisted: &mut Unlisted,
    ) {
        self.sums.begin(snapshot, readings, unlisted);
        self.layout.begin();
        self.keys.clear();
        self.newest = Newest::default();
        let (mut last, mut meaning, mut start) = ("", None, 0);
        let mut lines = Lines::new(page);
        while let Some(line) = lines.next() {
            let text = &page[start..page.len() - lines.left()];
            start += text.len();
            let sample = match line {
                Line::Sample(sample) => sample,
                Line::Type { name, kind } => {
                    unlisted.announce(name, kind);
                    let of_ours = own(name).map(Meaning::of);
                    let unlisted = of_ours.is_some_and(|meaning| meaning.unlisted);
                    self.layout
                        .add_text(text, unlisted.then_some(Known::Unlisted));
                    continue;
                }
                Line::Help { .. } => {
                    self.layout.add_text(text, None);
                    continue;
                }
            };
            if sample.name != last {
                last = sample.name;
                meaning = own(last).map(|name| {
                    self.newest.see(name);
                    (name, Meaning::of(name))
                });
            }
            let known = meaning.map_or(Known::Ignored, |(name, meaning)| {
                snapshot.series = snapshot.series.saturating_add(1);
                self.take_new(name, meaning, &sample, snapshot, readings, unlisted)
            });
            self.layout.add_value(text, sample.value, known);
        }
        self.layout.add_text(&page[start..], None);
        if lines.skipped() > 0 {
            self.layout.give_up();
        }
        snapshot.skipped_lines = lines.skipped();
        snapshot.version = self.newest.version();
        snapshot.supported = self.newest.is_supported();
        self.series = snapshot.series;
        self.engine_type.clone_from(&snapshot.engine_type);
    }

    /// Takes a sample of a line that was not there before.
    fn take_new(
        &mut self,
        name: &str,
        meaning: Meaning,
        sample: &Sample<'_>,
        snapshot: &mut Snapshot,
        readings: &mut Readings,
        unlisted: &mut Unlisted,
    ) -> Known {
        let is_number = !sample.value.is_nan();
        if meaning.unlisted {
            if is_number {
                unlisted.add(name, sample);
            }
            return Known::Unlisted;
        }
        if meaning.metric.is_none() && meaning.family.is_none() {
            return Known::Ignored;
        }
        let marks = Marks::read(sample, meaning.key);
        if let Some(engine_type) = &marks.engine_type
            && is_number
            && snapshot.engine_type.as_deref() != Some(&**engine_type)
        {
            snapshot.engine_type = Some(engine_type.clone().into_owned());
        }
        let series = identity(sample.raw_labels());
        if is_number {
            let read = (sample.value, series);
            self.sums.take(meaning, read, &marks, snapshot, readings);
        }
        let Some(marks) = marks.remember(&mut self.keys) else {
            self.layout.give_up();
            return Known::Ignored;
        };
        Known::Sample {
            metric: meaning.metric,
            family: meaning.family,
            counts: meaning.counts,
            marks,
            series,
        }
    }
}

/// Reads a line, or several of which the last is a sample, of a metric that no chart knows.
fn add_unlisted(text: &[u8], unlisted: &mut Unlisted) {
    for line in Lines::new(text) {
        match line {
            Line::Type { name, kind } => unlisted.announce(name, kind),
            Line::Sample(sample) if !sample.value.is_nan() => {
                let name = own(sample.name);
                unlisted.add(name.unwrap_or(sample.name), &sample);
            }
            _ => {}
        }
    }
}

impl Sums {
    /// Forgets the last page.
    fn begin(&mut self, snapshot: &mut Snapshot, readings: &mut Readings, unlisted: &mut Unlisted) {
        snapshot.clear();
        readings.clear();
        unlisted.clear();
        self.ranked.iter_mut().for_each(Ranked::clear);
        self.histograms.iter_mut().for_each(Gathered::clear);
    }

    fn take(
        &mut self,
        meaning: Meaning,
        (value, series): (f64, u64),
        marks: &Marks<'_>,
        snapshot: &mut Snapshot,
        readings: &mut Readings,
    ) {
        if let Some(Metric::Histogram(measure, part)) = meaning.metric {
            self.histograms[measure as usize].add(part, value, series, marks);
            return;
        }
        let counted = Counted {
            rank: marks.rank,
            one_priority: marks.one_priority && !meaning.counts,
            value,
            series,
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
            Metric::HttpResponses => responses(marks, counted, snapshot),
            Metric::HttpActive => active(marks, value, snapshot),
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
