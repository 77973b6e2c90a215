//! All boards and all accounts: each reading of the GPUs is divided among the servers that were on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use netdata_plugin::chart::Instance;

use super::Server;
use super::account::{Account, OnGpu, described, gpu_prefix};
use super::meter::{Meter, Reading};
use super::split::{Attribution, Owner, Row, Split, split};
use crate::gpu_usage::{Gpu, Kind, Process, Snapshot};
use crate::inference_status::Done;

/// Boards and accounts.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Of the servers that run.
    pub accounts: Vec<Account>,
    /// By UUID.
    pub boards: BTreeMap<Arc<str>, Board>,
    /// Boards that answered last.
    pub gpus: usize,
    taken: Option<Instant>,
    /// Account and start ticks of every process.
    owners: BTreeMap<u32, (usize, u64)>,
}

/// One GPU.
#[derive(Debug)]
pub struct Board {
    /// Of its charts.
    pub instance: Arc<Instance>,
    /// How its energy was divided last, and the seconds it took; `None` if that is not known.
    pub divided: Option<(Split, f64)>,
    meter: Meter,
    /// Servers that were on it when its processes were last known, by name.
    on: Vec<String>,
}

impl Ledger {
    /// Replaces the servers; those that still run keep their accounts.
    pub fn serve(&mut self, servers: Vec<Server>) {
        let mut before = std::mem::take(&mut self.accounts);
        self.owners.clear();
        for (index, server) in servers.into_iter().enumerate() {
            for (pid, start) in &server.processes {
                self.owners.entry(*pid).or_insert((index, *start));
            }
            let known = before
                .iter()
                .position(|account| account.server.name == server.name);
            let account = match known {
                Some(at) => {
                    let mut account = before.swap_remove(at);
                    account.continues(server);
                    account
                }
                None => Account::new(server),
            };
            self.accounts.push(account);
        }
    }

    /// Takes what servers have done by now.
    pub fn work_done(&mut self, done: impl Fn(&str) -> Option<Done>) {
        for account in &mut self.accounts {
            if let Some(done) = done(&account.server.name) {
                account.counters = Some(done.counters);
                account.window.did(done);
            }
        }
    }

    /// Divides what was used since the last reading; the same one again changes nothing.
    pub fn advance(&mut self, usage: &Snapshot) {
        if self.taken.is_some_and(|taken| usage.taken <= taken) {
            return;
        }
        self.taken = Some(usage.taken);
        self.gpus = usage.gpus.len();
        for account in &mut self.accounts {
            account.gpus.clear();
            account.attribution = None;
        }
        self.boards
            .values_mut()
            .for_each(|board| board.divided = None);
        let mut rows = Vec::new();
        for gpu in &usage.gpus {
            let processes = || usage.processes.iter().filter(|it| it.gpu_uuid == gpu.uuid);
            rows.clear();
            rows.extend(processes().map(|process| self.row(process)));
            self.divide(gpu, &rows, usage.taken);
        }
        self.absent(usage);
        self.take_back();
        for account in &mut self.accounts {
            account.book(usage.taken);
        }
    }

    fn row(&self, process: &Process) -> Row {
        let known = self.owners.get(&process.pid);
        // A pid may have been another's.
        let known = known.filter(|(_, start)| process.start_ticks.is_none_or(|its| its == *start));
        let owner = match (known, &process.name) {
            (Some((index, _)), _) => Owner::Server(*index),
            (None, Some(_)) => Owner::Other,
            (None, None) => Owner::Unknown,
        };
        Row {
            owner,
            mem_bytes: process.mem_bytes,
            sm_pct: process.sm_pct,
            mps: process.kind == Kind::Mps,
        }
    }

    fn divide(&mut self, gpu: &Gpu, rows: &[Row], taken: Instant) {
        let held = rows.iter().any(|row| row.mem_bytes != Some(0));
        let board = self
            .boards
            .entry(Arc::clone(&gpu.uuid))
            .or_insert_with(|| Board {
                instance: Arc::new(described(Instance::new("inference", &gpu_prefix(gpu)), gpu)),
                divided: None,
                meter: Meter::default(),
                on: Vec::new(),
            });
        let reading = board.meter.read(gpu, taken, held);
        let used = match &reading {
            Reading::Used(used) => Some(used),
            Reading::Missing | Reading::Broken => None,
        };
        let divided = used.map(|used| (split(&used.interval, rows), used.took.as_secs_f64()));
        for (index, account) in self.accounts.iter_mut().enumerate() {
            let own = || rows.iter().filter(|row| row.owner == Owner::Server(index));
            if own().next().is_none() {
                continue;
            }
            let its = divided.as_ref().and_then(|(split, seconds)| {
                let found = split.servers.iter().find(|(its, ..)| *its == index)?;
                Some((found.1, found.2, *seconds))
            });
            let attribution = match (&reading, its) {
                (_, Some((attribution, ..))) => attribution,
                // The best there is: it does not speak against the others.
                (Reading::Missing, None) => Attribution::Exclusive,
                (_, None) => Attribution::None,
            };
            account.attribution = account.attribution.max(Some(attribution));
            let instance = account.instance_on(gpu);
            account.gpus.push(OnGpu {
                instance,
                mem_bytes: own().map(|row| row.mem_bytes).sum(),
                sm_pct: own().map(|row| row.sm_pct.filter(|_| !row.mps)).sum(),
                used: its.map(|(_, part, seconds)| (part, seconds)),
                share: share(rows, index),
                moved: used.is_some_and(|used| used.moved),
            });
        }
        if gpu.processes_known {
            let on = rows.iter().filter_map(|row| match row.owner {
                Owner::Server(index) => Some(self.accounts[index].server.name.clone()),
                _ => None,
            });
            board.on = on.collect();
            board.on.dedup();
        } else {
            unknown(&mut self.accounts, &board.on);
        }
        board.divided = divided;
    }

    /// A server on a board that does not answer uses more than the other boards tell.
    fn absent(&mut self, usage: &Snapshot) {
        let accounts = &mut self.accounts;
        self.boards.retain(|uuid, board| {
            if usage.gpus.iter().any(|gpu| gpu.uuid == *uuid) {
                return true;
            }
            unknown(accounts, &board.on);
            board
                .on
                .iter()
                .any(|name| accounts.iter().any(|it| it.server.name == *name))
        });
    }

    /// What a server used is known on all of its boards, or on none.
    fn take_back(&mut self) {
        for (index, account) in self.accounts.iter_mut().enumerate() {
            if account.attribution != Some(Attribution::None) {
                continue;
            }
            account.gpus.iter_mut().for_each(|gpu| gpu.used = None);
            for board in self.boards.values_mut() {
                if let Some((split, _)) = &mut board.divided {
                    split.disown(index);
                }
            }
        }
    }
}

fn unknown(accounts: &mut [Account], names: &[String]) {
    for account in accounts {
        if names.contains(&account.server.name) {
            account.attribution = Some(Attribution::None);
        }
    }
}

/// The share of the board that server `index` holds: all if it is alone, else by memory.
fn share(rows: &[Row], index: usize) -> f64 {
    let own = |row: &&Row| row.owner == Owner::Server(index);
    if rows.iter().all(|row| own(&row)) {
        return 1.0;
    }
    // Exact up to 8 PiB.
    #[allow(clippy::cast_precision_loss)]
    let bytes = |row: &Row| row.mem_bytes.unwrap_or_default() as f64;
    let all: f64 = rows.iter().map(bytes).sum();
    let its: f64 = rows.iter().filter(own).map(bytes).sum();
    if all > 0.0 { its / all } else { 0.0 }
}
