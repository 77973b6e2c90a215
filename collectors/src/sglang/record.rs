//! Turns what a tick found out into charts. Pure: the same reading makes the same frame.

use std::sync::Arc;
use std::time::Duration;

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::charts::{
    E2E_LATENCY, INTER_TOKEN_LATENCY, KV_CACHE_USAGE, Latency, REQUESTS_IN_FLIGHT, SCRAPE,
    SCRAPE_INTERVAL, SERVER_ENDS, SERVER_STATE, SLO_ATTAINMENT, TIME_TO_FIRST_TOKEN,
    TOKEN_THROUGHPUT,
};
use super::ends::{Doing, Ends};
use super::history::History;
use super::slo::{Edges, LATENCIES, Slo};
use super::snapshot::Snapshot;
use super::state::State;
use super::throughput::Source;
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
    /// How long the GET took.
    pub took: Duration,
    /// The interval in use.
    pub every: Duration,
}

/// What decides on the labels, and the labelled instances: kept so that a tick allocates none.
#[derive(Debug, Default)]
pub struct Instances {
    server: Option<(Server, Arc<Instance>)>,
    page: Option<(Labels, PageInstances)>,
}

/// What a page adds to the labels.
#[derive(Clone, Debug, PartialEq)]
struct Labels {
    engine_type: Option<String>,
    counters: Option<Source>,
    /// Whether time to first token and inter-token latency are those of streaming requests only.
    streaming_only: [bool; 2],
    slo: Slo,
    edges: Edges,
}

#[derive(Debug)]
struct PageInstances {
    plain: Arc<Instance>,
    tokens: Arc<Instance>,
    time_to_first_token: Arc<Instance>,
    inter_token_latency: Arc<Instance>,
    slo: Arc<Instance>,
}

impl Instances {
    /// Of the server recorded last.
    pub fn server(&self) -> Option<&Instance> {
        self.server.as_ref().map(|(_, instance)| &**instance)
    }

    fn of_server(&mut self, server: &Server) -> Arc<Instance> {
        match &self.server {
            Some((known, instance)) if known == server => Arc::clone(instance),
            _ => {
                let instance = Arc::new(base(server));
                self.server = Some((server.clone(), Arc::clone(&instance)));
                self.page = None;
                instance
            }
        }
    }

    fn of_page(&mut self, base: &Instance, page: &Page<'_>) -> &PageInstances {
        let Page {
            snapshot,
            history,
            slo,
            ..
        } = page;
        let edges = slo.edges(history.latencies());
        let known = self.page.take().filter(|(labels, _)| {
            labels.engine_type == snapshot.engine_type
                && labels.counters == history.counters()
                && labels.streaming_only == streaming_only(snapshot)
                && (labels.slo, labels.edges) == (*slo, edges)
        });
        let page = known.unwrap_or_else(|| {
            let labels = Labels {
                engine_type: snapshot.engine_type.clone(),
                counters: history.counters(),
                streaming_only: streaming_only(snapshot),
                slo: *slo,
                edges,
            };
            let instances = PageInstances::new(base, &labels);
            (labels, instances)
        });
        &self.page.insert(page).1
    }
}

impl PageInstances {
    fn new(base: &Instance, labels: &Labels) -> Self {
        let mut plain = base.clone().label("source", "metrics");
        if let Some(engine_type) = &labels.engine_type {
            plain = plain.label("engine_type", engine_type.as_str());
        }
        let tokens = match labels.counters {
            Some(counters) => plain.clone().label("counters", counters.name()),
            None => plain.clone(),
        };
        let latency = |streaming_only| {
            let plain = plain.clone();
            Arc::new(if streaming_only {
                plain
            } else {
                plain.label("includes_nonstreaming", "yes")
            })
        };
        let [time_to_first_token, inter_token_latency] = labels.streaming_only.map(latency);
        let slo = labels.slo.describe(plain.clone(), &labels.edges);
        Self {
            slo: Arc::new(slo),
            plain: Arc::new(plain),
            tokens: Arc::new(tokens),
            time_to_first_token,
            inter_token_latency,
        }
    }
}

fn streaming_only(page: &Snapshot) -> [bool; 2] {
    [
        page.time_to_first_token.split,
        page.inter_token_latency.split,
    ]
}

fn base(server: &Server) -> Instance {
    let mut instance = server
        .instance("sglang", "")
        .label("server", server.name())
        .label("engine", server.engine)
        .label("tp", server.tp.to_string())
        .label("dp", server.dp.to_string())
        .label("pp", server.pp.to_string());
    if let Some(model) = &server.model {
        instance = instance.label("model", model.as_str());
    }
    instance
}

/// Records a reading. What is unknown is a gap; a chart with gaps only is not sent.
pub fn record(reading: &Reading<'_>, instances: &mut Instances, frame: &mut Frame) {
    let base = instances.of_server(reading.server);
    let mut state = frame.chart(&SERVER_STATE, &base);
    for it in State::ALL {
        state.set(it.name(), f64::from(u8::from(it == reading.state)));
    }
    let Some(page) = &reading.page else { return };
    let on = instances.of_page(&base, page);
    let history = page.history;
    requests(page, &on.plain, frame);
    let tokens = history.tokens();
    frame
        .chart(&TOKEN_THROUGHPUT, &on.tokens)
        .set("prefill_compute", tokens.prefill_compute)
        .set("prefill_cache", tokens.prefill_cache)
        .set("decode", tokens.decode);
    for (charts, window, instance) in [
        (
            &TIME_TO_FIRST_TOKEN,
            &history.time_to_first_token,
            &on.time_to_first_token,
        ),
        (
            &INTER_TOKEN_LATENCY,
            &history.inter_token_latency,
            &on.inter_token_latency,
        ),
        (&E2E_LATENCY, &history.e2e_latency, &on.plain),
    ] {
        latency(charts, window, instance, frame);
    }
    attainment(page, &on.slo, frame);
    frame
        .chart(&KV_CACHE_USAGE, &on.plain)
        .set("usage", believed(kv_usage(page.snapshot), page.fresh));
    frame
        .chart(&SCRAPE, &on.plain)
        .set("duration", page.took.as_secs_f64() * 1e3);
    frame
        .chart(&SCRAPE_INTERVAL, &on.plain)
        .set("interval", page.every.as_secs_f64());
}

/// Records how processes of the server recorded last have ended, whether it runs again or not.
pub fn record_ends(ends: &Ends, instances: &Instances, frame: &mut Frame) {
    if let Some((_, instance)) = &instances.server {
        let mut chart = frame.chart(&SERVER_ENDS, instance);
        for doing in Doing::ALL {
            chart.set(doing.name(), ends.count(doing) as f64);
        }
    }
}

fn requests(page: &Page<'_>, instance: &Arc<Instance>, frame: &mut Frame) {
    let gauge = |value| believed(value, page.fresh);
    let Snapshot {
        running,
        queued,
        grammar_queue,
        paused,
        ..
    } = *page.snapshot;
    frame
        .chart(&REQUESTS_IN_FLIGHT, instance)
        .set("running", gauge(running))
        .set("queued", gauge(queued))
        .set("grammar_queue", gauge(grammar_queue))
        .set("paused", gauge(paused));
}

fn latency(charts: &'static Latency, window: &Window, instance: &Arc<Instance>, frame: &mut Frame) {
    let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
    frame
        .chart(&charts.percentiles, instance)
        .set("p50", ms(window.quantile(0.5)))
        .set("p90", ms(window.quantile(0.9)))
        .set("p99", ms(window.quantile(0.99)))
        .set("average", ms(window.average()));
    let mut distribution = frame.chart(&charts.distribution, instance);
    for (le, rate) in window.distribution() {
        distribution.set(le, rate);
    }
    frame
        .chart(&charts.observations, instance)
        .set("in_window", window.observations());
}

fn attainment(page: &Page<'_>, instance: &Arc<Instance>, frame: &mut Frame) {
    let windows = page.history.latencies();
    let edges = page.slo.edges(windows);
    let mut chart = frame.chart(&SLO_ATTAINMENT, instance);
    for (i, (dim, _)) in LATENCIES.into_iter().enumerate() {
        let share = edges[i].and_then(|edge| windows[i].share(edge));
        chart.set(dim, share.map(|share| share * 100.0));
    }
}

/// A gauge that nothing refreshes keeps its last value: only 0 is then still true.
fn believed(gauge: Option<f64>, fresh: bool) -> Option<f64> {
    gauge.filter(|value| fresh || *value == 0.0)
}

/// Percentage of the KV cache that requests hold. Tokens are exact, and add up over ranks; the gauge has
/// two decimals only, and knows which of several pools is the fullest.
fn kv_usage(page: &Snapshot) -> Option<f64> {
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
