//! The job of one server: asks it for its page where that is allowed, and keeps what follows from its
//! pages. Lives on when the server is started again on the same address.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Tick};

use super::activity::Schedulers;
use super::ends::Ends;
use super::fallback::{Fallback, Figures};
use super::history::History;
use super::labels::Instances;
use super::life::Life;
use super::named;
use super::record::{Page, Reading, record, record_ends};
use super::scrape::Reader;
use super::snapshot::Snapshot;
use super::starting::record_starting;
use super::state::{Finding, State, judge};
use super::status::status;
use super::{Options, Servers};
use crate::engine::{Address, Server, Tree};
use crate::gpu_usage;
use crate::host_probe::HostProbe;
use crate::http::{Client, Scheme};
use crate::inference_status;
use crate::processes::{Files, Listener, Listeners, effective_uid};

/// Longest page taken; the longest of real servers has 100 KiB.
const MAX_PAGE: usize = 4 * 1024 * 1024;
/// Pause before a server that has no page is asked again: each request is a line in its log, and it
/// cannot get a page without being started again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// One server's job.
pub struct ServerCollector {
    name: String,
    servers: Arc<Servers>,
    files: Files,
    proc_root: PathBuf,
    own_uid: u32,
    options: Options,
    inference: Arc<inference_status::Slot>,
    gpu_usage: Arc<gpu_usage::Slot>,
    life: Option<Life>,
    ends: Ends,
    fallback: Fallback,
    instances: Instances,
    reader: Reader,
    snapshot: Snapshot,
    body: Vec<u8>,
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
        gpu_usage: Arc<gpu_usage::Slot>,
    ) -> Self {
        Self {
            fallback: Fallback::new(
                host_probe,
                options
                    .api_key_file
                    .as_ref()
                    .map(|file| file.as_path().to_owned()),
            ),
            name,
            servers,
            files: Files::new(&proc_root),
            proc_root,
            own_uid: nix::unistd::geteuid().as_raw(),
            ends: Ends::new(options.ends_window()),
            options,
            inference,
            gpu_usage,
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
        let Some(address) = self.address(tree) else {
            if life.answered {
                life.unreachable(&format!("nothing listens on {} any longer", server.name()));
            }
            return Err(Finding::NotListening);
        };
        let at = server.http_address(address);
        let asked = Instant::now();
        let too_early = life.ask_again_at.is_some_and(|at| now < at);
        let kept = life.client.as_ref().filter(|_| !too_early);
        if let Some(answer) = kept.and_then(|client| client.get_over_kept(&mut self.body)) {
            return self.judge_answer(tree, life, asked, answer);
        }
        match self.listener(tree, at) {
            Listener::Own => {}
            Listener::None if at != address && self.listener(tree, address) == Listener::Own => {
                life.answers();
                life.tell_no_metrics(server);
                return Err(Finding::NoPage);
            }
            Listener::None if self.listens_elsewhere(tree, at) => {
                return Err(life.unreachable(&format!(
                    "it listens on port {} of a network of its own, as containers have: publish that port under the \
                     same number, or name the server by its url in rs.d/sglang.conf",
                    at.port()
                )));
            }
            Listener::None => {
                if life.answered {
                    life.unreachable(&format!("nothing listens on {at} any longer"));
                }
                return Err(Finding::NotListening);
            }
            Listener::Other => {
                return Err(life.unreachable(&format!(
                    "another user's process listens on {at}: it is not asked"
                )));
            }
        }
        if too_early {
            return Err(Finding::NoPage);
        }
        self.ask(tree, at, life)
    }

    fn ask(
        &mut self,
        tree: &Tree,
        address: SocketAddr,
        life: &mut Life,
    ) -> Result<Fetched, Finding> {
        let client = match life.client.take() {
            Some(client) => client,
            None => self
                .client(tree, address)
                .map_err(|error| life.unreachable(&format!("{error:#}")))?,
        };
        let asked = Instant::now();
        let client = life.client.insert(client);
        let answer = client.get(&mut self.body);
        self.judge_answer(tree, life, asked, answer)
    }

    /// Reads the page, if that is the answer to what was `asked`.
    fn judge_answer(
        &mut self,
        tree: &Tree,
        life: &mut Life,
        asked: Instant,
        answer: anyhow::Result<u16>,
    ) -> Result<Fetched, Finding> {
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
                let client = life.client.as_ref();
                let url = client.map(Client::url).unwrap_or_default();
                let why = format!("scraping {url}: answered with status {status}");
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

    /// Another host is asked only where the configuration names it.
    fn client(&self, tree: &Tree, address: SocketAddr) -> anyhow::Result<Client> {
        let page = named::page(self.options.url.as_ref());
        let (timeout, most) = (self.options.timeout(), MAX_PAGE);
        if named::only_named(tree) {
            Ok(Client::elsewhere(address, page, timeout, most))
        } else {
            Client::new(scheme(&tree.server), address, page, timeout, most)
        }
    }

    /// Notes that the process at hand is gone. Another user's is no business of this one's alerts, and anybody
    /// can start and end processes that look like servers.
    fn end(&mut self, tick: Tick) {
        let Some(life) = self.life.take() else { return };
        self.inference.forget(&self.name);
        if life.lives(&self.proc_root) {
            // Its socket was seen meanwhile, and it goes by that address now.
            log::debug!("its process lives on at another address");
            return;
        }
        let doing = life.doing(tick);
        log::info!("it has ended, {}", doing.explain());
        if life.own {
            self.ends.add(doing, tick.now);
        }
    }

    /// Records what a server without metrics says elsewhere.
    fn fall_back(
        &mut self,
        tree: &Tree,
        may_ask: bool,
        now: Instant,
        frame: &mut Frame,
    ) -> Option<Figures> {
        let at = (may_ask && !tree.server.grpc)
            .then(|| self.address(tree))
            .flatten();
        let at = at.map(|address| (scheme(&tree.server), address));
        let mut figures = self.fallback.read(tree, at, now)?;
        // What it says itself is what holds: it lowers the limit where memory does not suffice.
        figures.max_running = figures
            .max_running
            .or(tree.server.max_running.map(f64::from));
        self.fallback
            .record(&figures, self.instances.known_server()?, frame);
        Some(figures)
    }

    fn is_own(&self, tree: &Tree) -> bool {
        effective_uid(&self.proc_root, tree.pid) == Some(self.own_uid)
    }

    /// Where the server is. Its host may be a name, which is not looked up: a socket on its port tells, if it is its
    /// user's.
    fn address(&self, tree: &Tree) -> Option<SocketAddr> {
        let server = &tree.server;
        if let Address::Literal(address) = server.address() {
            return Some(address);
        }
        let uid = effective_uid(&self.proc_root, tree.pid)?;
        let sockets = Listeners::read(&self.proc_root);
        let mut sockets = sockets.iter();
        let own = sockets.find(|it| (it.port, it.uid) == (server.port, uid))?;
        Some(server.bound_to(own.ip))
    }

    /// Whether the server listens in a network that is not ours.
    fn listens_elsewhere(&self, tree: &Tree, address: SocketAddr) -> bool {
        let there = Listeners::beside(&self.proc_root, tree.pid);
        // What has begun to listen just now is ours to see by now.
        there.iter().any(|it| it.port == address.port())
            && self.listener(tree, address) == Listener::None
    }

    /// Who listens where the server says it does.
    fn listener(&self, tree: &Tree, address: SocketAddr) -> Listener {
        if named::only_named(tree) {
            return Listener::Own;
        }
        // A process without an owner has just ended, and what listens there now is another's.
        effective_uid(&self.proc_root, tree.pid).map_or(Listener::None, |uid| {
            Listeners::read(&self.proc_root).at(address.ip(), address.port(), uid)
        })
    }
}

fn scheme(server: &Server) -> Scheme {
    if server.tls {
        Scheme::Https
    } else {
        Scheme::Http
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
        let schedulers = Schedulers::read(&mut self.files, &tree);
        life.history
            .activity
            .observe_schedulers(schedulers, tick.now, tick.every);
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
        let mut row = status(&reading, tick, &life.trouble);
        if state == State::Starting
            && let Some(base) = self.instances.known_server()
        {
            let usage = self.gpu_usage.latest(tick.now);
            let seen = life.starting.look(&self.proc_root, &tree, usage.as_deref());
            record_starting(&seen, base, frame);
        }
        if finding == Finding::NoPage && life.own {
            let may_ask = !schedulers.stopped && !schedulers.uninterruptible;
            if let Some(figures) = self.fall_back(&tree, may_ask, tick.now, frame) {
                figures.complete(&mut row);
            }
        }
        self.inference.read(&self.name, row);
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

#[cfg(test)]
#[path = "collector_tests.rs"]
mod tests;
