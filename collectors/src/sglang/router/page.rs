//! A router's `/metrics`, page by page.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use super::charts::{TABLE, WORKER_TABLE};
use crate::histogram::window::Window;
use crate::histogram::{Buckets, Counter};
use crate::prometheus::{Line, Lines, Sample};
use crate::sglang::marks::{Marks, identity};
use crate::sglang::table::plan::Plan;
use crate::sglang::table::readings::{Counted, Readings};
use crate::sglang::throughput::CounterRate;

/// Everything that the tables ask for.
pub static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan::new(&[TABLE, WORKER_TABLE]));

/// The histograms, without `_bucket`: whole requests, first tokens, further tokens.
const HISTOGRAMS: [&str; 3] = [
    "router_request_duration_seconds",
    "router_ttft_seconds",
    "router_tpot_seconds",
];

/// Metrics of routers before 0.3, without their prefix, and their names since.
const EARLY: [(&str, &str); 5] = [
    ("requests_total", "router_requests_total"),
    ("request_errors_total", "router_request_errors_total"),
    (
        "request_duration_seconds",
        "router_request_duration_seconds",
    ),
    ("cb_state", "worker_cb_state"),
    ("running_requests", "worker_requests_active"),
];
/// The label that those have in place of `endpoint`.
const EARLY_ENDPOINT: &str = "route";

/// The name of one of a router's metrics without its prefix, as it is since 0.3.
fn own(name: &str) -> Option<Cow<'_, str>> {
    if let Some(name) = name.strip_prefix("smg_") {
        return Some(Cow::Borrowed(name));
    }
    let early = name.strip_prefix("sgl_router_")?;
    let since = EARLY.iter().find_map(|(early_name, since)| {
        let ending = early.strip_prefix(early_name)?;
        let is_part = matches!(ending, "" | "_bucket" | "_sum" | "_count");
        is_part.then(|| format!("{since}{ending}"))
    });
    Some(since.map_or(Cow::Borrowed(early), Cow::Owned))
}

/// What its pages say so far.
#[derive(Clone, Debug)]
pub struct Pages {
    /// What is charted by the tables.
    pub readings: Readings,
    /// The last minute of each of the histograms.
    pub windows: [Window; 3],
    /// Answers per second by the status' first digit: 2, 4, 5.
    pub responses: [Option<f64>; 3],
    buckets: [Buckets; 3],
    response_rates: [CounterRate; 3],
}

impl Pages {
    /// Nothing yet.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            readings: Readings::of(&PLAN),
            windows: [(); 3].map(|()| Window::new(window)),
            responses: [None; 3],
            buckets: Default::default(),
            response_rates: Default::default(),
        }
    }

    /// Takes a page that arrived at `now`; says whether it is one of a router's.
    pub fn take(&mut self, page: &[u8], now: Instant) -> bool {
        self.readings.clear();
        self.buckets.iter_mut().for_each(Buckets::clear);
        let (mut known, mut answers) = (false, [None; 3]);
        for line in Lines::new(page) {
            let Line::Sample(sample) = line else { continue };
            let Some(name) = own(sample.name) else {
                continue;
            };
            known = true;
            if sample.value.is_finite() {
                self.sample(&name, &sample, &mut answers);
            }
        }
        if !known {
            self.miss(now);
            return false;
        }
        self.readings.close(now);
        for (window, buckets) in self.windows.iter_mut().zip(&self.buckets) {
            window.push(buckets, now);
        }
        for (i, rate) in self.response_rates.iter_mut().enumerate() {
            self.responses[i] = rate.per_second(answers[i], now);
        }
        true
    }

    /// There was no page.
    pub fn miss(&mut self, now: Instant) {
        self.readings.miss();
        self.windows.iter_mut().for_each(|window| window.miss(now));
        self.response_rates.iter_mut().for_each(CounterRate::miss);
        self.responses = [None; 3];
    }

    fn sample(&mut self, name: &str, sample: &Sample<'_>, answers: &mut [Option<Counter>; 3]) {
        if let Some(family) = PLAN.family(name) {
            let mut marks = Marks::read(sample, family.key);
            if marks.key.is_none() && family.key == Some("endpoint") {
                marks = Marks::read(sample, Some(EARLY_ENDPOINT));
            }
            let key = match (&marks.key, family.key) {
                (Some(key), Some("worker")) => without_credentials(key),
                (Some(key), _) => key,
                (None, _) => return,
            };
            let counted = Counted {
                rank: marks.rank,
                one_priority: false,
                value: sample.value,
                series: identity(sample.raw_labels()),
            };
            for target in &family.targets {
                self.readings.add(*target, key, counted);
            }
        } else if name == "http_responses_total" {
            let class = match Marks::read(sample, None).status {
                Some(b'2') => 0,
                Some(b'4') => 1,
                Some(b'5') => 2,
                _ => return,
            };
            add(&mut answers[class], sample);
        } else if let Some((base, ending)) = name.rsplit_once('_')
            && let Some(at) = HISTOGRAMS.iter().position(|it| *it == base)
        {
            let buckets = &mut self.buckets[at];
            match (ending, Marks::read(sample, None).bound) {
                ("bucket", Some(bound)) => buckets.add(bound, sample.value),
                ("sum", _) => buckets.sum = Some(buckets.sum.unwrap_or(0.0) + sample.value),
                ("count", _) => add(&mut buckets.count, sample),
                _ => {}
            }
        }
    }
}

fn add(counter: &mut Option<Counter>, sample: &Sample<'_>) {
    let counter = counter.get_or_insert_default();
    counter.total += sample.value;
    counter.series = counter.series.wrapping_add(identity(sample.raw_labels()));
}

/// A server's address without the name and password that a URL may hold.
fn without_credentials(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = &rest[..end];
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workers_address_is_told_without_credentials() {
        for (url, told) in [
            ("http://127.0.0.1:31525", "127.0.0.1:31525"),
            (
                "http://user:secret@10.0.0.1:8000/v1?key=secret",
                "10.0.0.1:8000",
            ),
            ("grpc://worker:50051", "worker:50051"),
            ("user:secret@host", "host"),
        ] {
            assert_eq!(without_credentials(url), told);
        }
    }
}
