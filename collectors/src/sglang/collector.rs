//! The job of one server: asks it for its page where that is allowed, and keeps what follows from its
//! pages. Lives on when the server is started again on the same address.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Tick};

use super::activity::Schedulers;
use super::ends::{Doing, Ends};
use super::fallback::Fallback;
use super::history::History;
use super::labels::Instances;
use super::record::{Page, Reading, record, record_ends};
use super::scrape::Reader;
use super::snapshot::Snapshot;
use super::state::{Finding, State, announce, judge};
use super::status::status;
use super::stretch::Stretch;
use super::{Options, Servers};
use crate::engine::{Address, Role, Server, Tree};
use crate::host_probe::HostProbe;
use crate::http::Client;
use crate::inference_status;
use crate::processes::{Listener, Listeners, Stat, effective_uid};

/// Longest page taken; the longest of real servers has 100 KiB.
const MAX_PAGE: usize = 4 * 1024 * 1024;
/// Pause before a server that has no page is asked again: each request is a line in its log, and it
/// cannot get a page without being started again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// A page that is older than so many intervals says nothing of a server's last moments. While it stops, one
/// or two scrapes fail.
const PAGES_MISSED: u32 = 3;
/// Time from the end of a process until discovery has noticed.
const END_NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// One server's job.
pub struct ServerCollector {
    name: String,
    servers: Arc<Servers>,
    proc_root: PathBuf,
    own_uid: u32,
    options: Options,
    inference: Arc<inference_status::Slot>,
    life: Option<Life>,
    ends: Ends,
    fallback: Fallback,
    instances: Instances,
    reader: Reader,
    snapshot: Snapshot,
    body: Vec<u8>,
}

/// What is known of the server's process at hand; another one's is of no use.
struct Life {
    pid: u32,
    start_ticks: u64,
    client: Option<Client>,
    history: History,
    stretch: Stretch,
    state: Option<State>,
    answered: bool,
    ask_again_at: Option<Instant>,
    /// When the last page arrived.
    page_at: Option<Instant>,
    /// Whether it is a process of our own user.
    own: bool,
    told_no_metrics: bool,
    in_trouble: bool,
    trouble: String,
}

/// A page that was read into the collector's snapshot.
struct Fetched {
    at: Instant,
    took: Duration,
}

impl ServerCollector {
    /// The job of the server `name` among `servers`.
    #[must_use]
    pub fn new(
        name: String,
        servers: Arc<Servers>,
        proc_root: PathBuf,
        host_probe: Arc<HostProbe>,
        options: Options,
        inference: Arc<inference_status::Slot>,
    ) -> Self {
        Self {
            fallback: Fallback::new(host_probe, options.api_key_file.clone()),
            name,
            servers,
            proc_root,
            own_uid: nix::unistd::geteuid().as_raw(),
            ends: Ends::new(options.ends_window()),
            options,
            inference,
            life: None,
            instances: Instances::default(),
            reader: Reader::default(),
            snapshot: Snapshot::default(),
            body: Vec::new(),
        }
    }

    /// Reads the page into the snapshot, or finds out why there is none.
    fn fetch(&mut self, tree: &Tree, life: &mut Life, now: Instant) -> Result<Fetched, Finding> {
        let server = &tree.server;
        let address = match server.address() {
            Address::Literal(address) => address,
            Address::Name => {
                return Err(life.unreachable(&format!(
                    "its host {:?} is a name, which is not looked up: start it with an address",
                    server.host
                )));
            }
        };
        match self.listener(tree, address) {
            Listener::Own => {}
            Listener::None => {
                if life.answered {
                    life.unreachable(&format!("nothing listens on {address} any longer"));
                }
                return Err(Finding::NotListening);
            }
            Listener::Other => {
                return Err(life.unreachable(&format!(
                    "another user's process listens on {address}: it is not asked"
                )));
            }
        }
        if server.tls {
            return Err(life.unreachable("it speaks TLS, which is not supported yet"));
        }
        if life.ask_again_at.is_some_and(|at| now < at) {
            return Err(Finding::NoPage);
        }
        self.ask(tree, address, life)
    }

    fn ask(
        &mut self,
        tree: &Tree,
        address: SocketAddr,
        life: &mut Life,
    ) -> Result<Fetched, Finding> {
        let client = match life.client.take() {
            Some(client) => client,
            None => Client::new(address, "/metrics", self.options.timeout(), MAX_PAGE)
                .map_err(|error| life.unreachable(&format!("{error:#}")))?,
        };
        let asked = Instant::now();
        let client = life.client.insert(client);
        let answer = client.get(&mut self.body);
        let at = Instant::now();
        match answer {
            Ok(200) => {
                let History {
                    readings, unlisted, ..
                } = &mut life.history;
                self.reader
                    .read(&self.body, &mut self.snapshot, readings, unlisted);
            }
            Ok(404) => {
                life.answers();
                life.ask_again_at = Some(at + ASK_AGAIN_AFTER);
                life.tell_no_metrics(&tree.server);
                return Err(Finding::NoPage);
            }
            Ok(status) => {
                let why = format!("scraping {}: answered with status {status}", client.url());
                return Err(life.unreachable(&why));
            }
            Err(error) => {
                // It renders the page all the same, and is asked less often for that.
                if at - asked >= self.options.timeout() {
                    life.stretch.scraped(at - asked);
                }
                return Err(life.unreachable(&format!("{error:#}")));
            }
        }
        life.answers();
        if self.snapshot.series == 0 {
            return Err(Finding::NoPage);
        }
        Ok(Fetched {
            at,
            took: at - asked,
        })
    }

    /// Notes that the process at hand is gone. Another user's is no business of this one's alerts, and anybody
    /// can start and end processes that look like servers.
    fn end(&mut self, tick: Tick) {
        let Some(life) = self.life.take() else { return };
        self.inference.forget(&self.name);
        let doing = life.doing(tick);
        log::info!("it has ended, {}", doing.explain());
        if life.own {
            self.ends.add(doing, tick.now);
        }
    }

    /// Records what a server without metrics says elsewhere.
    fn fall_back(&mut self, tree: &Tree, may_ask: bool, now: Instant, frame: &mut Frame) {
        if let Address::Literal(address) = tree.server.address()
            && let Some(figures) = self.fallback.read(tree, address, may_ask, now)
            && let Some(base) = self.instances.known_server()
        {
            self.fallback.record(&figures, base, frame);
        }
    }

    fn is_own(&self, tree: &Tree) -> bool {
        effective_uid(&self.proc_root, tree.pid) == Some(self.own_uid)
    }

    /// Who listens where the server says it does.
    fn listener(&self, tree: &Tree, address: SocketAddr) -> Listener {
        // A process without an owner has just ended, and what listens there now is another's.
        effective_uid(&self.proc_root, tree.pid).map_or(Listener::None, |uid| {
            Listeners::read(&self.proc_root).at(address.ip(), address.port(), uid)
        })
    }
}

impl Collector for ServerCollector {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        let Some(tree) = self.servers.get(&self.name) else {
            // Its interval ends with it: a slow page does not delay noticing the next server.
            self.end(tick);
            if !self.ends.remembers(tick.now) {
                bail!("the server on {} has ended", self.name);
            }
            record_ends(&self.ends, &self.instances, frame);
            return Ok(());
        };
        if self.life.as_ref().is_some_and(|life| !life.is(&tree)) {
            self.end(tick);
        }
        let mut life = match self.life.take() {
            Some(life) => life,
            None => Life::new(&tree, self.is_own(&tree), self.options.window()),
        };
        let schedulers = schedulers(&self.proc_root, &tree);
        life.history
            .activity
            .observe_schedulers(schedulers, tick.now);
        let fetched = self.fetch(&tree, &mut life, tick.now);
        let finding = match &fetched {
            Ok(page) => {
                life.history.take(&self.snapshot, page.at);
                life.history.spend(&self.options.slo, page.at);
                life.stretch.scraped(page.took);
                life.page_at = Some(page.at);
                Finding::Page {
                    stalled: life.history.activity.stalled(page.at),
                }
            }
            Err(finding) => {
                life.history.miss(tick.now);
                *finding
            }
        };
        let page = fetched.ok().map(|page| Page {
            snapshot: &self.snapshot,
            history: &life.history,
            slo: self.options.slo,
            fresh: life.history.activity.fresh(page.at, tick.every),
            at: page.at,
            took: page.took,
            every: tick.every,
        });
        let state = judge(finding, life.answered);
        let reading = Reading {
            server: &tree.server,
            state,
            page,
        };
        record(&reading, &mut self.instances, frame);
        self.inference
            .read(&self.name, status(&reading, tick, &life.trouble));
        if finding == Finding::NoPage && life.own {
            self.fall_back(
                &tree,
                !schedulers.stopped && !schedulers.uninterruptible,
                tick.now,
                frame,
            );
        }
        self.ends.remembers(tick.now);
        record_ends(&self.ends, &self.instances, frame);
        life.enter(state);
        self.life = Some(life);
        Ok(())
    }

    fn stretched_to(&self) -> Option<u32> {
        self.life.as_ref()?.stretch.every()
    }
}

impl Life {
    fn new(tree: &Tree, own: bool, window: Duration) -> Self {
        Self {
            own,
            page_at: None,
            pid: tree.pid,
            start_ticks: tree.start_ticks,
            client: None,
            history: History::new(window),
            stretch: Stretch::default(),
            state: None,
            answered: false,
            ask_again_at: None,
            told_no_metrics: false,
            in_trouble: false,
            trouble: String::new(),
        }
    }

    fn is(&self, tree: &Tree) -> bool {
        (self.pid, self.start_ticks) == (tree.pid, tree.start_ticks)
    }

    /// What it was doing, of a process that was found gone on `tick`.
    fn doing(&self, tick: Tick) -> Doing {
        let lately = |at: Instant| {
            let age = tick.now.saturating_duration_since(at);
            age <= tick.every * PAGES_MISSED + END_NOTICED_WITHIN
        };
        match self.state {
            _ if !self.answered => Doing::Starting,
            Some(State::Stalled) => Doing::Stalled,
            _ if !self.page_at.is_some_and(lately) => Doing::Unknown,
            _ if self.history.activity.in_flight() => Doing::WithRequests,
            _ => Doing::Idle,
        }
    }

    /// Logs the first reason why there was no answer; the further ones follow from it or will pass.
    fn unreachable(&mut self, why: &str) -> Finding {
        why.clone_into(&mut self.trouble);
        if !std::mem::replace(&mut self.in_trouble, true) {
            log::warn!("{why}");
        }
        Finding::NoAnswer
    }

    fn answers(&mut self) {
        self.answered = true;
        self.ask_again_at = None;
        if std::mem::take(&mut self.in_trouble) {
            log::info!("/metrics is answered again");
        }
    }

    /// Logs a change of state.
    fn enter(&mut self, state: State) {
        match (announce(self.state, state), state) {
            (Some(what), State::Stalled) => log::warn!("{what}"),
            (Some(what), _) => log::info!("{what}"),
            (None, _) => {}
        }
        self.state = Some(state);
    }

    fn tell_no_metrics(&mut self, server: &Server) {
        if !std::mem::replace(&mut self.told_no_metrics, true) {
            log::warn!(
                "{} has no metrics: only its state, its processes and what its log or its load endpoints \
                 tell are charted. For the rest {}",
                server.name(),
                server.metrics_advice()
            );
        }
    }
}

/// What /proc says of the processes that run the model.
fn schedulers(proc_root: &Path, tree: &Tree) -> Schedulers {
    let mut found = Schedulers::default();
    for (pid, role) in &tree.members {
        if *role != Role::Scheduler {
            continue;
        }
        let Ok(text) = fs::read(proc_root.join(format!("{pid}/stat"))) else {
            continue;
        };
        match Stat::parse(&text).map(|stat| stat.state) {
            Some('T' | 't') => found.stopped = true,
            Some('D') => found.uninterruptible = true,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
