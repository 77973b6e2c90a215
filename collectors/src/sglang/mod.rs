//! Module `sglang`: finds the SGLang servers of this host by their processes, one job each, and charts
//! what their `/metrics` say.

mod activity;
mod buckets;
mod burn;
mod charts;
mod collector;
mod ends;
mod fallback;
mod history;
mod hit_rate;
mod labels;
mod layout;
mod life;
mod marks;
mod measure;
mod named;
mod ranks;
mod record;
#[cfg(any(test, fuzzing))]
pub mod replay;
mod router;
mod scrape;
mod slo;
mod snapshot;
mod starting;
mod state;
mod status;
mod stretch;
mod table;
mod throughput;
mod unlisted;
mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use netdata_plugin::module::{Collector, Discover, Job};
use serde::Deserialize;

use crate::config::{self, FilePath, JobConfig, Kind, Live, Patterns, Seconds, Selection, Url};
use crate::engine::{Address, Census, Tree, locate};
use crate::gpu_usage;
use crate::host_probe::HostProbe;
use crate::inference_status;
use crate::modules::{Context, Module};
use crate::processes::{Listener, Listeners, Users, effective_uid};
use collector::ServerCollector;
use router::RouterCollector;

/// The module's entry in the registry.
pub const MODULE: Module = Module {
    name: "sglang",
    open: |context| Box::new(Finder::new(context)),
    config: Kind::of::<Options>(),
};

/// `rs.d/sglang.conf`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Of a listed job: the page with the metrics, or the server.
    pub url: Option<Url>,
    /// Servers to chart of those found, by address, model or user; all if there are none.
    pub include: Patterns,
    /// Servers to leave out of those found.
    pub exclude: Patterns,
    /// Seconds after which a server that has not answered is given up for this time.
    pub timeout: Seconds,
    /// Seconds over which percentiles are taken.
    pub window: Seconds,
    /// Seconds for which the end of a server is remembered, and charted after it.
    pub ends_window: Seconds,
    /// A file with the API key for servers that have neither metrics nor a log, and want one.
    pub api_key_file: Option<FilePath>,
    /// Thresholds that latencies shall keep to.
    pub slo: slo::Slo,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: None,
            include: Patterns::default(),
            exclude: Patterns::default(),
            timeout: Seconds::new(3),
            window: Seconds::new(60),
            ends_window: Seconds::new(3600),
            api_key_file: None,
            slo: slo::Slo::default(),
        }
    }
}

impl config::Options for Options {
    const MODULE: &'static str = "sglang";
    /// More where a scrape costs its server much.
    const UPDATE_EVERY: u32 = 5;
    const NEEDED: &'static [&'static str] = &["url"];

    fn check(&self) -> Result<(), (&'static str, String)> {
        let Some(url) = &self.url else { return Ok(()) };
        let what = if url.tls() {
            "this module speaks no TLS: list the server in rs.d/prometheus.conf"
        } else if named::address(url).is_none() {
            "names are not looked up: write the host's address"
        } else {
            return Ok(());
        };
        Err(("url", what.to_owned()))
    }
}

impl Options {
    fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.get().into())
    }

    fn window(&self) -> Duration {
        Duration::from_secs(self.window.get().into())
    }

    fn ends_window(&self) -> Duration {
        Duration::from_secs(self.ends_window.get().into())
    }
}

/// The servers that run now, by name: discovery writes, the jobs read.
#[derive(Debug, Default)]
pub struct Servers(Mutex<BTreeMap<String, Arc<Tree>>>);

impl Servers {
    /// The server `name`, if it runs.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Tree>> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.get(name).map(Arc::clone)
    }

    fn replace(&self, servers: BTreeMap<String, Arc<Tree>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = servers;
    }
}

/// Servers by name.
type ByName = BTreeMap<String, Arc<Tree>>;

/// Finds a job for each server.
struct Finder {
    config: Live<Options>,
    proc_root: PathBuf,
    host_probe: Arc<HostProbe>,
    census: Arc<Census>,
    users: Users,
    servers: Arc<Servers>,
    inference: Arc<inference_status::Slot>,
    gpu_usage: Arc<gpu_usage::Slot>,
    routers: Arc<Servers>,
}

impl Finder {
    fn new(context: &Context) -> Self {
        Self {
            config: Live::new(&context.config),
            proc_root: context.proc_root.clone(),
            host_probe: Arc::clone(&context.host_probe),
            census: Arc::clone(&context.census),
            users: Users::new(&context.proc_root, nix::unistd::geteuid().as_raw()),
            servers: Arc::default(),
            inference: Arc::clone(&context.inference),
            gpu_usage: Arc::clone(&context.gpu_usage),
            routers: Arc::default(),
        }
    }

    /// The job `name` for the server that goes by `server`.
    fn job(&self, name: &str, server: String, config: &JobConfig<Options>) -> Job {
        let (proc_root, options) = (self.proc_root.clone(), config.options.clone());
        let host_probe = Arc::clone(&self.host_probe);
        let inference = Arc::clone(&self.inference);
        let gpu_usage = Arc::clone(&self.gpu_usage);
        let servers = Arc::clone(&self.servers);
        config.job(name, move || {
            let collector = ServerCollector::new(
                server, servers, proc_root, host_probe, options, inference, gpu_usage,
            );
            Ok(Box::new(collector) as Box<dyn Collector>)
        })
    }

    fn router_job(&self, name: &str, config: &JobConfig<Options>) -> Job {
        let (proc_root, options) = (self.proc_root.clone(), config.options.clone());
        let (own_name, routers) = (name.to_owned(), Arc::clone(&self.routers));
        config.job(&format!("router_{name}"), move || {
            let collector = RouterCollector::new(own_name, routers, proc_root, options);
            Ok(Box::new(collector) as Box<dyn Collector>)
        })
    }

    /// The servers and the routers that run.
    fn find(&mut self) -> anyhow::Result<(ByName, ByName)> {
        let now = Instant::now();
        let found = self
            .census
            .look(now)
            .with_context(|| format!("listing {}", self.proc_root.display()))?;
        let mut trees = found.trees.clone();
        locate(
            &mut trees,
            |id| self.host_probe.listening(id, now),
            |pid| found.start_ticks(pid),
        );
        prefer_listening(&mut trees, &self.proc_root);
        let (routers, servers) = trees.into_iter().partition(|tree| tree.server.router);
        Ok((by_name(servers), by_name(routers)))
    }

    /// Whether the configuration wants a server that was found.
    fn wants(&self, tree: &Tree, name: &str, options: &Options) -> bool {
        let selection = Selection {
            include: options.include.clone(),
            exclude: options.exclude.clone(),
        };
        let user = self.users.label(effective_uid(&self.proc_root, tree.pid));
        selection.lets_through(&tree.server.known_as(name, user))
    }
}

/// The part of its charts' ids before the dot.
fn chart_type(tree: &Tree) -> String {
    tree.server.instance("sglang", "").chart_type
}

impl Discover for Finder {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let Some(config) = self.config.refresh().cloned() else {
            return Ok(vec![]);
        };
        let (mut servers, mut routers) = self.find()?;
        if let Some(base) = &config.base {
            servers.retain(|name, tree| {
                named::is_listed(name, &config.jobs) || self.wants(tree, name, &base.options)
            });
            routers.retain(|name, tree| self.wants(tree, name, &base.options));
        }
        let mut jobs = Vec::new();
        let mut listed = BTreeSet::new();
        for job in &config.jobs {
            let Some(address) = job.options.url.as_ref().and_then(named::address) else {
                continue;
            };
            // Of two jobs with one server the first has it: their charts would be the same.
            if listed.insert(address.to_string()) {
                let server = servers.entry(address.to_string());
                server.or_insert_with(|| Arc::new(named::tree(address)));
                jobs.push(self.job(&job.name, address.to_string(), job));
            }
        }
        if let Some(base) = &config.base {
            // A listed server may have been found under another name for the same charts (`::1`, `localhost`).
            let types: BTreeSet<_> = listed
                .iter()
                .filter_map(|name| servers.get(name))
                .map(|tree| chart_type(tree))
                .collect();
            let mut found: Vec<_> = servers
                .iter()
                .filter(|(name, tree)| {
                    !listed.contains(*name) && !types.contains(&chart_type(tree))
                })
                .collect();
            // Jobs are bounded, and anybody may start what looks like a server: our own user's come first.
            let own = nix::unistd::geteuid().as_raw();
            found.sort_by_key(|(_, tree)| effective_uid(&self.proc_root, tree.pid) != Some(own));
            let found = found.into_iter();
            jobs.extend(found.map(|(name, _)| self.job(name, name.clone(), base)));
            let found = routers.keys().filter(|name| !listed.contains(*name));
            jobs.extend(found.map(|name| self.router_job(name, base)));
        }
        self.servers.replace(servers);
        self.routers.replace(routers);
        Ok(jobs)
    }

    fn reconfigured(&mut self) -> bool {
        self.config.take_changed()
    }
}

/// Puts the servers whose own user listens on their address first, then the older ones: anybody can start a
/// process that claims an address.
fn prefer_listening(trees: &mut [Tree], proc_root: &Path) {
    let listeners = Listeners::read(proc_root);
    trees.sort_by_cached_key(|tree| {
        let listens = match (tree.server.address(), effective_uid(proc_root, tree.pid)) {
            (Address::Literal(at), Some(uid)) => {
                listeners.at(at.ip(), at.port(), uid) == Listener::Own
            }
            _ => false,
        };
        (!listens, tree.start_ticks, tree.pid)
    });
}

/// SGLang's servers, or its routers, by name. Of several with one address, or one name for their charts, the first is taken.
fn by_name(mut trees: Vec<Tree>) -> BTreeMap<String, Arc<Tree>> {
    trees.retain(|tree| tree.server.engine == "sglang");
    let mut chart_types = Vec::with_capacity(trees.len());
    let mut servers = BTreeMap::new();
    for tree in trees {
        let chart_type = tree.server.instance("sglang", "").chart_type;
        if !chart_types.contains(&chart_type) {
            chart_types.push(chart_type);
            servers.insert(tree.server.name(), Arc::new(tree));
        }
    }
    servers
}

#[cfg(test)]
mod percentile_tests;
#[cfg(test)]
mod tests;
