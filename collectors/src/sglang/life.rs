//! What is known of a server's process: it ends with the process, and the next one starts from nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use netdata_plugin::module::Tick;

use super::ends::Doing;
use super::history::History;
use super::starting::Starting;
use super::state::{Finding, State, announce};
use super::stretch::Stretch;
use crate::engine::{Server, Tree};
use crate::http::Client;
use crate::processes::Stat;

/// A page that is older than so many intervals says nothing of a server's last moments. While it stops, one
/// or two scrapes fail.
const PAGES_MISSED: u32 = 3;
/// Time from the end of a process until discovery has noticed.
const END_NOTICED_WITHIN: Duration = Duration::from_secs(5);

/// What is known of the server's process at hand; another one's is of no use.
pub struct Life {
    /// Its pid.
    pub pid: u32,
    /// When it started, in the kernel's ticks.
    pub start_ticks: u64,
    /// The connection to it.
    pub client: Option<Client>,
    /// Its pages so far.
    pub history: History,
    /// How it starts.
    pub starting: Starting,
    /// How often it is asked.
    pub stretch: Stretch,
    /// Its state on the last tick.
    pub state: Option<State>,
    /// Whether it ever answered.
    pub answered: bool,
    /// When it is asked again although it has no page.
    pub ask_again_at: Option<Instant>,
    /// When the last page arrived.
    pub page_at: Option<Instant>,
    /// Whether it is a process of our own user.
    pub own: bool,
    told_no_metrics: bool,
    in_trouble: bool,
    /// Why it does not answer.
    pub trouble: String,
}

impl Life {
    /// Nothing yet.
    pub fn new(tree: &Tree, own: bool, window: Duration) -> Self {
        Self {
            own,
            page_at: None,
            pid: tree.pid,
            start_ticks: tree.start_ticks,
            client: None,
            history: History::new(window),
            starting: Starting::default(),
            stretch: Stretch::default(),
            state: None,
            answered: false,
            ask_again_at: None,
            told_no_metrics: false,
            in_trouble: false,
            trouble: String::new(),
        }
    }

    /// Whether `tree` is of this process.
    pub fn is(&self, tree: &Tree) -> bool {
        (self.pid, self.start_ticks) == (tree.pid, tree.start_ticks)
    }

    /// Whether the process is there still, whatever it is taken for now.
    pub fn lives(&self, proc_root: &Path) -> bool {
        let stat = std::fs::read(proc_root.join(format!("{}/stat", self.pid)));
        let stat = stat.as_deref().ok().and_then(Stat::parse);
        stat.is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_dead())
    }

    /// What it was doing, of a process that was found gone on `tick`.
    pub fn doing(&self, tick: Tick) -> Doing {
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
    pub fn unreachable(&mut self, why: &str) -> Finding {
        why.clone_into(&mut self.trouble);
        if !std::mem::replace(&mut self.in_trouble, true) {
            log::warn!("{why}");
        }
        Finding::NoAnswer
    }

    /// It answered.
    pub fn answers(&mut self) {
        self.answered = true;
        self.ask_again_at = None;
        if std::mem::take(&mut self.in_trouble) {
            log::info!("/metrics is answered again");
        }
    }

    /// Logs a change of state.
    pub fn enter(&mut self, state: State) {
        match (announce(self.state, state), state) {
            (Some(what), State::Stalled) => log::warn!("{what}"),
            (Some(what), _) => log::info!("{what}"),
            (None, _) => {}
        }
        self.state = Some(state);
    }

    /// Logs once what to change.
    pub fn tell_no_metrics(&mut self, server: &Server) {
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
