//! What each server uses of the GPUs' energy, and how much of it goes into a token.

mod account;
mod baseline;
mod charts;
mod ledger;
mod meter;
mod prices;
mod record;
mod split;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;
use netdata_plugin::module::Tick;

use crate::{gpu_usage, inference_status};
use ledger::Ledger;
pub use prices::{Prices, amount, factor};
use record::record;

/// A server that may use GPUs.
#[derive(Clone, Debug)]
pub struct Server {
    /// As in [`inference_status::Server::name`].
    pub name: String,
    /// Of its charts, with its labels.
    pub instance: Arc<Instance>,
    /// Pid and start ticks of its main process: another one counts anew.
    pub main: (u32, u64),
    /// All its processes, with their start.
    pub processes: BTreeMap<u32, u64>,
}

/// Charges the GPUs' energy to servers.
#[derive(Debug)]
pub struct Energy {
    gpu_usage: Arc<gpu_usage::Slot>,
    inference: Arc<inference_status::Slot>,
    prices: Prices,
    ledger: Ledger,
}

impl Energy {
    /// Reads what `gpu_usage` and `inference` hold.
    #[must_use]
    pub fn new(
        gpu_usage: Arc<gpu_usage::Slot>,
        inference: Arc<inference_status::Slot>,
        prices: Prices,
    ) -> Self {
        Self {
            gpu_usage,
            inference,
            prices,
            ledger: Ledger::default(),
        }
    }

    /// Replaces the servers that run.
    pub fn serve(&mut self, servers: Vec<Server>) {
        self.ledger.serve(servers);
    }

    /// Charts what is known now; what is not is a gap.
    pub fn tick(&mut self, tick: Tick, frame: &mut Frame) {
        let Some(usage) = self.gpu_usage.latest(tick.now) else {
            return;
        };
        self.ledger.advance(&usage);
        let inference = &self.inference;
        self.ledger
            .work_done(|server| inference.done(server, tick.now));
        let fresh = (tick.every * 3).max(FRESH);
        record(&mut self.ledger, &self.prices, tick.now, fresh, frame);
    }
}

/// Age up to which a page stands for now, at least: pages of servers that are slow come every minute.
const FRESH: Duration = Duration::from_secs(75);
