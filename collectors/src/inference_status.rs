//! The slot of what is known of inference servers now: `servers` writes which run and with which processes,
//! modules that read a server's metrics write what those say, functions read both. Latest values only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::histogram::Counter;

/// Servers kept. Anybody can start processes that look like one.
const MAX_SERVERS: usize = 256;
/// Intervals after which a value says nothing about now.
const STALE_AFTER: u32 = 3;

/// A server, as its processes show it.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `127.0.0.1:30000`.
    pub name: String,
    /// `sglang`, …
    pub engine: &'static str,
    /// The name under which it serves its model, else the last part of the model's path.
    pub model: Option<String>,
    /// Whose it is, as far as that may be shown.
    pub user: String,
    /// Ranks of tensor parallelism: GPUs that compute in step.
    pub tp: u32,
    /// Its processes: pids, with their start in clock ticks since boot, to tell reused pids apart.
    pub processes: BTreeMap<u32, u64>,
}

/// What a server's metrics say.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// When they were asked for.
    pub taken: Instant,
    /// The interval at which they are.
    pub every: Duration,
    /// `sglang`, …
    pub engine: &'static str,
    /// As in [`Server::model`].
    pub model: Option<String>,
    /// Of the engine, as far as its metrics tell: `0.5.18 or newer`.
    pub version: Option<String>,
    /// What it is doing, in one word.
    pub state: &'static str,
    /// How much attention that needs.
    pub urgency: Urgency,
    /// Requests that are worked on.
    pub running: Option<f64>,
    /// Requests that wait.
    pub queued: Option<f64>,
    /// Tokens generated per second.
    pub tokens_per_second: Option<f64>,
    /// 99th percentile of the time to the first token, in ms, over the module's window.
    pub ttft_p99_ms: Option<f64>,
    /// Percentage of the KV cache that requests hold.
    pub kv_cache_pct: Option<f64>,
    /// Why metrics are missing, and how to get them.
    pub missing: Option<String>,
    /// What it has done so far; `None` if no counter tells.
    pub done: Option<Done>,
}

/// A server's counters of work at one moment: what energy and money are divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// When the counters stood so.
    pub at: Instant,
    /// Which counters they are: `realtime`, or `finished` where a request's tokens count when it ends.
    pub counters: &'static str,
    /// Tokens generated.
    pub output: Option<Counter>,
    /// Tokens that the model was run for: prompt tokens that no cache had, and those generated.
    pub computed: Option<Counter>,
    /// Requests that ended.
    pub requests: Option<Counter>,
}

/// How much attention a state needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// None.
    Normal,
    /// Worth knowing.
    Notice,
    /// Something to do.
    Warning,
    /// Something is broken.
    Error,
}

/// Holds the latest values.
#[derive(Debug, Default)]
pub struct Slot(Mutex<Values>);

#[derive(Debug, Default)]
struct Values {
    servers: Option<Listed>,
    readings: BTreeMap<String, Reading>,
}

#[derive(Debug)]
struct Listed {
    taken: Instant,
    every: Duration,
    servers: Arc<[Server]>,
}

impl Slot {
    /// Replaces the list of servers, found at `taken` and looked for at intervals of `every`.
    pub fn list(&self, servers: impl IntoIterator<Item = Server>, taken: Instant, every: Duration) {
        let servers = servers.into_iter().take(MAX_SERVERS).collect();
        self.values().servers = Some(Listed {
            taken,
            every,
            servers,
        });
    }

    /// Replaces what the metrics of the server `name` say.
    pub fn read(&self, name: &str, reading: Reading) {
        let mut values = self.values();
        let now = reading.taken;
        if let Some(known) = values.readings.get_mut(name) {
            *known = reading;
            return;
        }
        values.readings.retain(|_, reading| reading.is_fresh(now));
        if values.readings.len() < MAX_SERVERS {
            values.readings.insert(name.to_owned(), reading);
        }
    }

    /// Forgets what the metrics of the server `name` said: it has ended.
    pub fn forget(&self, name: &str) {
        self.values().readings.remove(name);
    }

    /// The servers that run, unless nobody has looked lately.
    pub fn servers(&self, now: Instant) -> Option<Arc<[Server]>> {
        let values = self.values();
        let listed = values.servers.as_ref()?;
        is_fresh(listed.taken, listed.every, now).then(|| Arc::clone(&listed.servers))
    }

    /// What their metrics say, by name, without what is stale.
    pub fn readings(&self, now: Instant) -> BTreeMap<String, Reading> {
        let values = self.values();
        let fresh = values.readings.iter().filter(|(_, it)| it.is_fresh(now));
        fresh.map(|(name, it)| (name.clone(), it.clone())).collect()
    }

    /// What the server `name` has done, without what is stale.
    pub fn done(&self, name: &str, now: Instant) -> Option<Done> {
        let values = self.values();
        let reading = values.readings.get(name).filter(|it| it.is_fresh(now))?;
        reading.done
    }

    fn values(&self) -> MutexGuard<'_, Values> {
        // Values are replaced whole: a writer that panicked cannot have left half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reading {
    fn is_fresh(&self, now: Instant) -> bool {
        is_fresh(self.taken, self.every, now)
    }
}

fn is_fresh(taken: Instant, every: Duration, now: Instant) -> bool {
    now.saturating_duration_since(taken) <= every * STALE_AFTER
}

#[cfg(test)]
pub mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    /// A server of that name with one process.
    pub fn server(name: &str, pid: u32) -> Server {
        Server {
            name: name.to_owned(),
            engine: "sglang",
            model: Some("Qwen3-0.6B".to_owned()),
            user: "marie".to_owned(),
            tp: 1,
            processes: BTreeMap::from([(pid, u64::from(pid) + 100)]),
        }
    }

    /// What a server says that works.
    pub fn reading(taken: Instant) -> Reading {
        Reading {
            taken,
            every: EVERY,
            engine: "sglang",
            model: None,
            version: Some("0.5.18 or newer".to_owned()),
            state: "ready",
            urgency: Urgency::Normal,
            running: Some(3.0),
            queued: Some(0.0),
            tokens_per_second: Some(512.5),
            ttft_p99_ms: Some(87.0),
            kv_cache_pct: Some(12.5),
            missing: None,
            done: None,
        }
    }

    #[test]
    fn what_is_older_than_three_intervals_is_not_given_out() {
        let (slot, now) = (Slot::default(), Instant::now());
        assert_eq!(slot.servers(now), None);
        slot.list([server("a", 1)], now, EVERY);
        slot.read("a", reading(now));
        assert_eq!(slot.servers(now + EVERY * 3).map(|it| it.len()), Some(1));
        assert_eq!(slot.readings(now + EVERY * 3).len(), 1);
        assert_eq!(slot.servers(now + EVERY * 4), None);
        assert!(slot.readings(now + EVERY * 4).is_empty());
    }

    #[test]
    fn a_server_that_ended_is_forgotten() {
        let (slot, now) = (Slot::default(), Instant::now());
        slot.read("a", reading(now));
        slot.read("b", reading(now));
        slot.forget("a");
        assert!(slot.readings(now).keys().eq(["b"]));
    }

    #[test]
    fn nobody_can_fill_the_memory_with_servers() {
        let (slot, now) = (Slot::default(), Instant::now());
        for n in 0..1000 {
            slot.read(&n.to_string(), reading(now));
        }
        slot.list((0..1000).map(|n| server("a", n)), now, EVERY);
        assert_eq!(slot.readings(now).len(), MAX_SERVERS);
        assert_eq!(slot.servers(now).map(|it| it.len()), Some(MAX_SERVERS));
        // Stale ones make room for a new one.
        let later = now + EVERY * 4;
        slot.read("new", reading(later));
        assert_eq!(slot.readings(later).len(), 1);
    }
}
