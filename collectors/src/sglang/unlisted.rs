//! Metrics that no chart of ours knows: those of versions to come. Each is charted as what its type says, in a
//! family of their own, and only so many of them.

use std::sync::Arc;
use std::time::Instant;

use netdata_plugin::chart::{Chart, Dim, Instance, Kind};
use netdata_plugin::frame::Frame;

use super::marks::{Marks, identity};
use super::scrape::own;
use super::table::plan::{Choice, Line, Place, Target};
use super::table::readings::{Asked, Counted, Readings};
use super::table::spec::{Since, Take, Value};
use crate::prometheus::Sample;

/// Metrics that are charted; further ones are left out. Versions so far have 50, on servers that use everything.
pub const MAX_METRICS: usize = 100;
/// Longest name of one.
const MAX_NAME_BYTES: usize = 100;
/// Priority of the charts: after all others.
const PRIORITY: u32 = 70_490;

/// Labels that say whose sample it is, not what it counts.
const PLACE: &[&str] = &[
    "model_name",
    "engine_type",
    "dp_rank",
    "pp_rank",
    "tp_rank",
    "moe_ep_rank",
    "pid",
    "priority",
    "worker_addr",
    "le",
];

/// What the name of a label that holds a secret contains. Servers take labels from their operators and clients.
const SECRET: &[&str] = &[
    "api_key",
    "apikey",
    "authorization",
    "credential",
    "passw",
    "secret",
    "bearer",
    "access_token",
];

/// Metrics that are not charted on purpose: constants, what other charts say better, and gauges that look like
/// histograms.
const KNOWN: &[&str] = &[
    "cache_config_info",
    "cache_hit_rate",
    "context_len",
    "gen_throughput",
    "is_cuda_graph",
    "max_total_num_tokens_swa",
    "new_token_ratio",
    "num_pages",
    "num_running_reqs_offline_batch",
    "num_so_requests_total",
    "page_size",
    "routing_key_all_req_count",
    "routing_key_running_req_count",
    "startup_available_gpu_memory_gb",
    "startup_latency_breakdown_seconds_max",
    "num_retracted_reqs",
    "utilization",
];

/// Whether a label's value must not become a dimension's name.
fn is_secret(label: &str) -> bool {
    let has = |part: &&str| {
        let mut windows = label.as_bytes().windows(part.len());
        windows.any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    };
    matches!(label, "key" | "token") || SECRET.iter().any(has)
}

/// Whether a metric is left out on purpose. Buckets and times of creation always are.
pub fn is_known(name: &str) -> bool {
    KNOWN.contains(&name) || name.ends_with("_bucket") || name.ends_with("_created")
}

const GAUGE: Chart = Chart {
    id: "gauge",
    context: "sglang.other_gauge",
    family: "other metrics",
    title: "A gauge that has no chart of its own yet",
    units: "value",
    kind: Kind::Line,
    priority: PRIORITY,
    dims: &[],
    dynamic: Some(Dim::milli("")),
};

/// A gauge as it stands on the page.
pub static OTHER_GAUGE: Chart = GAUGE;

/// The gain of a counter per second.
pub static OTHER_RATE: Chart = Chart {
    id: "rate",
    context: "sglang.other_rate",
    title: "A counter that has no chart of its own yet",
    units: "events/s",
    priority: PRIORITY + 1,
    ..GAUGE
};

/// The average of what a histogram or a summary observed between two pages.
pub static OTHER_AVERAGE: Chart = Chart {
    id: "average",
    context: "sglang.other_average",
    title: "A histogram that has no chart of its own yet",
    priority: PRIORITY + 2,
    ..GAUGE
};

/// The unlisted metrics of one server.
#[derive(Clone, Debug)]
pub struct Unlisted {
    metrics: Vec<Metric>,
    readings: Readings,
    /// Family and type that the page announced last.
    family: String,
    kind: Take,
    key: String,
}

#[derive(Clone, Debug)]
struct Metric {
    name: String,
    line: Line,
}

impl Default for Unlisted {
    fn default() -> Self {
        Self {
            metrics: vec![],
            readings: Readings::empty(),
            family: String::new(),
            kind: Take::Gauge,
            key: String::new(),
        }
    }
}

impl Unlisted {
    /// Forgets the last page's samples.
    pub fn clear(&mut self) {
        self.readings.clear();
        self.family.clear();
    }

    /// The page says which type the samples to come have.
    pub fn announce(&mut self, family: &str, kind: &str) {
        let take = match kind {
            "gauge" | "unknown" | "untyped" => Take::Gauge,
            "counter" => Take::Rate,
            "histogram" | "summary" => Take::Mean,
            _ => return self.family.clear(),
        };
        self.family.clear();
        self.family.push_str(own(family).unwrap_or(""));
        self.kind = take;
    }

    /// Takes a sample of `name`, which no chart knows.
    pub fn add(&mut self, name: &str, sample: &Sample<'_>) {
        let Some(ending) = name.strip_prefix(self.family.as_str()) else {
            return;
        };
        let is_count = match (self.kind, ending) {
            (Take::Mean, "_sum") => false,
            (Take::Mean, "_count") => true,
            (Take::Gauge | Take::Rate, "" | "_total") => false,
            _ => return,
        };
        let Some(at) = self.metric() else { return };
        let place = self.metrics[at].line.places[0];
        let slot = if is_count {
            place.count
        } else {
            Some(place.slot)
        };
        let Some(slot) = slot else { return };
        self.key.clear();
        for (name, value) in sample.labels() {
            if !PLACE.contains(&name) && !is_secret(name) {
                self.key
                    .push_str(if self.key.is_empty() { "" } else { " " });
                self.key.push_str(&value);
            }
        }
        let marks = Marks::read(sample, None);
        let counted = Counted {
            rank: marks.rank,
            one_priority: marks.one_priority && self.kind == Take::Gauge,
            value: sample.value,
            series: identity(sample.raw_labels()),
        };
        let choice = Choice::Each;
        self.readings
            .add(Target { slot, choice }, &self.key, counted);
    }

    /// The metric of the family that was announced last.
    fn metric(&mut self) -> Option<usize> {
        let known = self.metrics.iter().position(|it| it.name == self.family);
        if known.is_some() {
            return known;
        }
        let name = &self.family;
        if name.is_empty() || name.len() > MAX_NAME_BYTES || self.metrics.len() >= MAX_METRICS {
            return None;
        }
        let slot = self.readings.grow();
        let count = (self.kind == Take::Mean).then(|| self.readings.grow());
        let value = Value {
            sources: &[],
            take: self.kind,
            times: 1.0,
            since: Since::Unknown,
        };
        let places = vec![Place { slot, count }];
        self.metrics.push(Metric {
            name: name.clone(),
            line: Line { value, places },
        });
        Some(self.metrics.len() - 1)
    }

    /// All samples of a page are added.
    pub fn close(&mut self, now: Instant) {
        self.readings.close(now);
    }

    /// There was no page.
    pub fn miss(&mut self) {
        self.readings.miss();
    }

    /// Records the charts; `instance` gives the one of a metric.
    pub fn record(
        &self,
        asked: &Asked<'_>,
        frame: &mut Frame,
        mut instance: impl FnMut(&str) -> Arc<Instance>,
    ) {
        for metric in &self.metrics {
            let chart = match metric.line.value.take {
                Take::Rate => &OTHER_RATE,
                Take::Mean => &OTHER_AVERAGE,
                _ => &OTHER_GAUGE,
            };
            let mut chart = frame.chart(chart, &instance(&metric.name));
            for (key, value) in self.readings.values(&metric.line, asked) {
                chart.set(if key.is_empty() { "value" } else { key }, value);
            }
        }
    }
}
