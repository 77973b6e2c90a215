//! Turns what a tick found out into charts. Pure: the same reading makes the same frame.

use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::charts::cache::KV_CACHE_USAGE;
use super::charts::latency::{LATENCIES, Latency, REQUEST_LENGTH, SLO_ATTAINMENT, SLO_BURN_RATE};
use super::charts::requests::{HEADROOM, HTTP_REQUESTS_ACTIVE, HTTP_RESPONSES};
use super::charts::state::{SCRAPE, SCRAPE_INTERVAL, SCRAPE_SHARE, SERVER_ENDS, SERVER_STATE};
use super::charts::tokens::{PREFIX_CACHE_HIT_RATE, SECONDS_SINCE_LAST_TOKEN, TOKEN_THROUGHPUT};
use super::ends::{Doing, Ends};
use super::history::History;
use super::labels::{Instances, PageInstances};
use super::measure::Measure;
use super::slo::{self, Slo};
use super::snapshot::Snapshot;
use super::state::State;
use super::table::plan::{PLAN, Planned};
use super::table::readings::Asked;
use super::table::spec::{Lines, Scope};
use crate::engine::Server;
use crate::histogram::window::Window;

/// What a tick found out about one server.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// What its command line says.
    pub server: &'a Server,
    /// What it is doing.
    pub state: State,
    /// Its metrics, if it gave any on this tick.
    pub page: Option<Page<'a>>,
}

/// A page with all that is made of it.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The page.
    pub snapshot: &'a Snapshot,
    /// The pages up to and including this one.
    pub history: &'a History,
    /// The user's thresholds.
    pub slo: Slo,
    /// Whether gauges other than 0 are to be believed.
    pub fresh: bool,
    /// When it arrived.
    pub at: Instant,
    /// How long the GET took.
    pub took: Duration,
    /// The interval in use.
    pub every: Duration,
}

/// Records a reading. What is unknown is a gap; a chart with gaps only is not sent.
pub fn record(reading: &Reading<'_>, instances: &mut Instances, frame: &mut Frame) {
    let base = instances.of_server(reading.server);
    let told = match reading.state {
        State::NoMetrics => instances.without_metrics(reading.server),
        _ => Arc::clone(&base),
    };
    let mut state = frame.chart(&SERVER_STATE, &told);
    for it in State::ALL {
        state.set(it.name(), f64::from(u8::from(it == reading.state)));
    }
    let Some(page) = &reading.page else { return };
    let on = instances.of_page(&base, page.snapshot, page.history, page.slo);
    by_the_table(page, on, frame);
    let most = reading.server.max_running.map(f64::from);
    requests(page, most, on, frame);
    for charts in LATENCIES {
        latency(charts, page, on, frame);
    }
    attainment(page, &on.slo, frame);
    tokens(page, on, frame);
    let usage = believed(kv_usage(page.snapshot), page.fresh);
    frame.chart(&KV_CACHE_USAGE, &on.plain).set("usage", usage);
    scrape(page, &on.plain, frame);
    let asked = page.asked(None);
    let unlisted = &page.history.unlisted;
    unlisted.record(&asked, frame, |metric| on.unlisted(metric));
}

/// Records how the server's processes ended, once there is something to tell its charts from others.
pub fn record_ends(ends: &Ends, instances: &Instances, frame: &mut Frame) {
    if let Some(instance) = instances.known_server() {
        let mut chart = frame.chart(&SERVER_ENDS, instance);
        for doing in Doing::ALL {
            chart.set(doing.name(), ends.count(doing) as f64);
        }
    }
}

impl<'a> Page<'a> {
    fn asked(&self, rank: Option<u32>) -> Asked<'a> {
        Asked {
            rank,
            fresh: self.fresh,
            page: self.snapshot,
        }
    }
}

fn by_the_table(page: &Page<'_>, on: &PageInstances, frame: &mut Frame) {
    for planned in &PLAN.charts {
        if planned.spec.scope != Scope::Ranks {
            chart(planned, &page.asked(None), page, &on.plain, frame);
        }
        if planned.spec.scope != Scope::Server {
            for (rank, instance) in &on.ranks {
                chart(planned, &page.asked(Some(*rank)), page, instance, frame);
            }
        }
    }
}

fn chart(
    planned: &'static Planned,
    asked: &Asked<'_>,
    page: &Page<'_>,
    instance: &Arc<Instance>,
    frame: &mut Frame,
) {
    let readings = &page.history.readings;
    let mut chart = frame.chart(planned.spec.chart, instance);
    match planned.spec.lines {
        Lines::Fixed(_) => {
            for (dim, line) in planned.spec.chart.dims.iter().zip(&planned.lines) {
                chart.set(dim.id, readings.value(line, asked));
            }
        }
        Lines::ByLabel(..) => {
            for (name, value) in planned
                .lines
                .iter()
                .flat_map(|it| readings.values(it, asked))
            {
                chart.set(name, value);
            }
        }
    }
}

/// Share of the requests that may run at once.
pub fn requests_usage(running: Option<f64>, most: Option<f64>) -> Option<f64> {
    let (running, most) = running.zip(most.filter(|most| *most > 0.0))?;
    Some(100.0 * running / most)
}

/// `most` is how many may run at once.
fn requests(page: &Page<'_>, most: Option<f64>, on: &PageInstances, frame: &mut Frame) {
    let [ok, refused, failed] = page.history.responses();
    frame
        .chart(&HTTP_RESPONSES, &on.plain)
        .set("2xx", ok)
        .set("4xx", refused)
        .set("5xx", failed);
    frame
        .chart(&HTTP_REQUESTS_ACTIVE, &on.plain)
        .set("active", page.snapshot.http_inference);
    frame
        .chart(&HEADROOM, &on.plain)
        .set(
            "requests",
            requests_usage(believed(page.snapshot.running, page.fresh), most),
        )
        .set("kv", believed(kv_usage(page.snapshot), page.fresh));
    let [prompt, generation] = [Measure::PromptLength, Measure::GenerationLength]
        .map(|measure| page.history.window(measure));
    frame
        .chart(&REQUEST_LENGTH, &on.plain)
        .set("prompt_p50", prompt.quantile(0.5))
        .set("prompt_p99", prompt.quantile(0.99))
        .set("generation_p50", generation.quantile(0.5))
        .set("generation_p99", generation.quantile(0.99));
}

fn latency(charts: &'static Latency, page: &Page<'_>, on: &PageInstances, frame: &mut Frame) {
    let (window, instance) = (page.history.window(charts.measure), on.of(charts.measure));
    let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
    // Versions without the histogram have this instead.
    let last_batch = match charts.measure {
        Measure::QueueTime => believed(page.snapshot.average_queue_s, page.fresh),
        _ => None,
    };
    frame
        .chart(&charts.percentiles, instance)
        .set("p50", ms(window.quantile(0.5)))
        .set("p90", ms(window.quantile(0.9)))
        .set("p99", ms(window.quantile(0.99)))
        .set("average", ms(window.average().or(last_batch)));
    let mut distribution = frame.chart(&charts.distribution, instance);
    for (le, rate) in window.distribution() {
        distribution.set(le, rate);
    }
    frame
        .chart(&charts.observations, instance)
        .set("in_window", window.observations());
}

fn attainment(page: &Page<'_>, instance: &Arc<Instance>, frame: &mut Frame) {
    let windows: [&Window; 3] = page.history.latencies();
    let edges = page.slo.edges(windows);
    let mut chart = frame.chart(&SLO_ATTAINMENT, instance);
    for (i, (dim, _)) in slo::LATENCIES.into_iter().enumerate() {
        let share = edges[i].and_then(|edge| windows[i].share(edge));
        chart.set(dim, share.map(|share| share * 100.0));
    }
    let burn = page.history.burn_rates(&page.slo, page.at);
    let mut chart = frame.chart(&SLO_BURN_RATE, instance);
    for ((dim, _), burn) in slo::LATENCIES.into_iter().zip(burn) {
        chart.set(dim, burn);
    }
}

fn tokens(page: &Page<'_>, on: &PageInstances, frame: &mut Frame) {
    let tokens = page.history.tokens();
    frame
        .chart(&TOKEN_THROUGHPUT, &on.tokens)
        .set("prefill_compute", tokens.prefill_compute)
        .set("prefill_cache", tokens.prefill_cache)
        .set("decode", tokens.decode);
    let hits = page.history.hits();
    frame
        .chart(&PREFIX_CACHE_HIT_RATE, &on.plain)
        .set("device", hits.device)
        .set("host", hits.host)
        .set("storage", hits.storage);
    let idle = page.history.activity.since_last_token(page.at);
    frame
        .chart(&SECONDS_SINCE_LAST_TOKEN, &on.plain)
        .set("idle", idle.map(|idle| idle.as_secs_f64()));
}

fn scrape(page: &Page<'_>, instance: &Arc<Instance>, frame: &mut Frame) {
    let (took, every) = (page.took.as_secs_f64(), page.every.as_secs_f64());
    frame.chart(&SCRAPE, instance).set("duration", took * 1e3);
    frame
        .chart(&SCRAPE_INTERVAL, instance)
        .set("interval", every);
    let share = (every > 0.0).then(|| 100.0 * took / every);
    frame.chart(&SCRAPE_SHARE, instance).set("share", share);
}

/// A gauge that nothing refreshes keeps its last value: only 0 is then still true.
pub fn believed(gauge: Option<f64>, fresh: bool) -> Option<f64> {
    gauge.filter(|value| fresh || *value == 0.0)
}

/// Percentage of the KV cache that requests hold. Tokens are exact, and add up over ranks; the gauge has
/// two decimals only, and knows which of several pools is the fullest.
pub fn kv_usage(page: &Snapshot) -> Option<f64> {
    let exact = page
        .used_tokens
        .zip(page.capacity_tokens)
        .filter(|(_, capacity)| *capacity > 0.0 && !page.second_pool)
        .map(|(used, capacity)| used / capacity);
    exact.or(page.highest_usage).map(|share| share * 100.0)
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
