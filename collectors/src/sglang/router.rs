//! The job of one router (`sglang-router`, `smg`): what its metrics port says of requests and of the servers
//! behind it. It runs no model, and none of its other endpoints is asked.

pub mod charts;
mod page;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Tick};

use super::snapshot::Snapshot;
use super::table::plan::Line;
use super::table::readings::Asked;
use super::{Options, Servers};
use crate::engine::{Address, Server, Tree};
use crate::http::{Client, Scheme};
use crate::processes::{Listener, Listeners, effective_uid};
use page::{PLAN, Pages};

/// Longest page taken.
const MAX_PAGE: usize = 4 * 1024 * 1024;

/// One router's job.
pub struct RouterCollector {
    name: String,
    routers: Arc<Servers>,
    proc_root: PathBuf,
    options: Options,
    life: Option<Life>,
    body: Vec<u8>,
}

/// What is known of the router's process at hand.
struct Life {
    pid: u32,
    start_ticks: u64,
    client: Option<(SocketAddr, Client)>,
    pages: Pages,
    base: Arc<Instance>,
    workers: Vec<(String, Arc<Instance>)>,
    answered: bool,
    in_trouble: bool,
}

impl RouterCollector {
    /// The job of the router `name` among `routers`.
    #[must_use]
    pub fn new(name: String, routers: Arc<Servers>, proc_root: PathBuf, options: Options) -> Self {
        Self {
            name,
            routers,
            proc_root,
            options,
            life: None,
            body: Vec::new(),
        }
    }

    /// Reads its page; `Err` says why there is none.
    fn fetch(&mut self, tree: &Tree, life: &mut Life) -> Result<Instant, String> {
        let Some(address) = metrics_address(tree) else {
            return Err("it is not known where its metrics are".to_owned());
        };
        let uid = effective_uid(&self.proc_root, tree.pid);
        let listener = uid.map_or(Listener::None, |uid| {
            Listeners::read(&self.proc_root).at(address.ip(), address.port(), uid)
        });
        match listener {
            Listener::Own => {}
            Listener::None => return Err(format!("its metrics port {address} does not listen")),
            Listener::Other => {
                return Err(format!(
                    "another user's process listens on {address}: it is not asked"
                ));
            }
        }
        let known = life.client.take().filter(|(at, _)| *at == address);
        let client = match known {
            Some((_, client)) => client,
            None => Client::new(
                Scheme::Http,
                address,
                "/metrics",
                self.options.timeout(),
                MAX_PAGE,
            )
            .map_err(|error| format!("{error:#}"))?,
        };
        let (_, client) = life.client.insert((address, client));
        match client.get(&mut self.body) {
            Ok(200) => Ok(Instant::now()),
            Ok(status) => Err(format!(
                "scraping {}: answered with status {status}",
                client.url()
            )),
            Err(error) => Err(format!("{error:#}")),
        }
    }
}

impl Collector for RouterCollector {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        let Some(tree) = self.routers.get(&self.name) else {
            self.life = None;
            bail!("the router on {} has ended", self.name);
        };
        let same = |life: &Life| (life.pid, life.start_ticks) == (tree.pid, tree.start_ticks);
        let mut life = match self.life.take().filter(same) {
            Some(life) => life,
            None => Life::new(&tree, &self.options),
        };
        let state = match self.fetch(&tree, &mut life) {
            Ok(at) if life.pages.take(&self.body, at) => {
                life.answered = true;
                if std::mem::take(&mut life.in_trouble) {
                    log::info!("the router's /metrics is answered again");
                }
                "ready"
            }
            Ok(_) => life.trouble("its /metrics is not a router's"),
            Err(why) => {
                life.pages.miss(tick.now);
                life.trouble(&why)
            }
        };
        record(state, &mut life, frame);
        self.life = Some(life);
        Ok(())
    }
}

impl Life {
    fn new(tree: &Tree, options: &Options) -> Self {
        Self {
            pid: tree.pid,
            start_ticks: tree.start_ticks,
            client: None,
            pages: Pages::new(options.window()),
            base: Arc::new(base(&tree.server)),
            workers: vec![],
            answered: false,
            in_trouble: false,
        }
    }

    /// Logs the first reason; the state that follows.
    fn trouble(&mut self, why: &str) -> &'static str {
        if !self.answered {
            return "starting";
        }
        if !std::mem::replace(&mut self.in_trouble, true) {
            log::warn!("router: {why}");
        }
        "unreachable"
    }

    fn worker(&mut self, worker: &str) -> Arc<Instance> {
        if let Some((_, known)) = self.workers.iter().find(|(it, _)| it == worker) {
            return Arc::clone(known);
        }
        let mut instance = (*self.base).clone().label("worker", worker);
        instance.prefix =
            Instance::new("", &format!("{}_", worker.replace(['.', ':'], "_"))).prefix;
        let instance = Arc::new(instance);
        self.workers
            .push((worker.to_owned(), Arc::clone(&instance)));
        instance
    }
}

/// Where its metrics are: at the address of its own sockets where they are known.
fn metrics_address(tree: &Tree) -> Option<SocketAddr> {
    let port = tree.server.metrics_port?;
    let listening = tree.listening.iter().flatten();
    let mut server = tree.server.clone();
    server.port = port;
    if let Some(at) = listening.into_iter().find(|it| it.port() == port) {
        server.host = at.ip().to_string();
    }
    match server.address() {
        Address::Literal(address) => Some(address),
        Address::Name => None,
    }
}

fn base(server: &Server) -> Instance {
    server
        .instance("sglang_router", "")
        .label("router", server.name())
        .label("source", "metrics")
}

/// Records what the pages so far say. Pure.
fn record(state: &str, life: &mut Life, frame: &mut Frame) {
    let base = Arc::clone(&life.base);
    let mut chart = frame.chart(&charts::STATE, &base);
    for dim in charts::STATE.dims {
        chart.set(dim.id, f64::from(u8::from(dim.id == state)));
    }
    if state != "ready" {
        return;
    }
    let page = Snapshot::default();
    let asked = Asked {
        rank: None,
        fresh: true,
        page: &page,
    };
    let (whole, workers) = PLAN.charts.split_at(charts::TABLE.len());
    for planned in whole {
        let mut chart = frame.chart(planned.spec.chart, &base);
        for line in &planned.lines {
            for (key, value) in life.pages.readings.values(line, &asked) {
                chart.set(key, value);
            }
        }
    }
    let [ok, refused, failed] = life.pages.responses;
    frame
        .chart(&charts::RESPONSES, &base)
        .set("2xx", ok)
        .set("4xx", refused)
        .set("5xx", failed);
    let latencies = [
        &charts::REQUEST_DURATION,
        &charts::TIME_TO_FIRST_TOKEN,
        &charts::TIME_PER_OUTPUT_TOKEN,
    ];
    for (chart, window) in latencies.into_iter().zip(&life.pages.windows) {
        let ms = |seconds: Option<f64>| seconds.map(|seconds| seconds * 1e3);
        frame
            .chart(chart, &base)
            .set("p50", ms(window.quantile(0.5)))
            .set("p90", ms(window.quantile(0.9)))
            .set("p99", ms(window.quantile(0.99)))
            .set("average", ms(window.average()));
    }
    let lines: Vec<&'static Line> = workers.iter().flat_map(|it| &it.lines).collect();
    if let [health, circuit, active, errors, retries] = lines[..] {
        record_workers(
            life,
            &asked,
            [health, circuit, active, errors, retries],
            frame,
        );
    }
}

fn record_workers(life: &mut Life, asked: &Asked<'_>, lines: [&Line; 5], frame: &mut Frame) {
    let readings = &life.pages.readings;
    let mut found = vec![];
    for (worker, health) in readings.values(lines[0], asked) {
        let of = |line| {
            let mut values = readings.values(line, asked);
            values
                .find(|(it, _)| *it == worker)
                .and_then(|(_, value)| value)
        };
        found.push((worker.to_owned(), health, lines.map(of)));
    }
    let count = |healthy: bool| {
        let known = found.iter().filter_map(|(_, health, _)| *health);
        known.filter(|health| (*health > 0.0) == healthy).count() as f64
    };
    let known = found.iter().any(|(_, health, _)| health.is_some());
    frame
        .chart(&charts::WORKERS, &life.base)
        .set("healthy", known.then(|| count(true)))
        .set("unhealthy", known.then(|| count(false)));
    for (worker, health, [_, circuit, active, errors, retries]) in found {
        let instance = life.worker(&worker);
        let is = |yes: Option<bool>| yes.map(|yes| f64::from(u8::from(yes)));
        frame
            .chart(&charts::WORKER_STATE, &instance)
            .set("healthy", is(health.map(|it| it > 0.0)))
            .set("unhealthy", is(health.map(|it| it <= 0.0)))
            .set("circuit_open", is(circuit.map(|it| it == 1.0)))
            .set("circuit_half_open", is(circuit.map(|it| it == 2.0)));
        frame
            .chart(&charts::WORKER_REQUESTS, &instance)
            .set("active", active);
        frame
            .chart(&charts::WORKER_ERRORS, &instance)
            .set("errors", errors)
            .set("retries", retries);
    }
}

#[cfg(test)]
#[path = "router_tests.rs"]
mod tests;
