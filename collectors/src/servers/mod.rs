//! Module `servers`: one job that charts what the processes of every inference server use, by role. It
//! needs nothing from the server itself: one that still loads or has no metrics is charted too.

mod charts;
mod cpu;
mod energy;
mod outside;
mod record;
mod restarts;
#[cfg(test)]
mod tests;
mod usage;
mod watch;

use std::sync::Arc;

use anyhow::Context as _;
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Discover, Job, Tick};
use serde::Deserialize;

use crate::config::{self, Configured, Kind, Live, Patterns, Selection};
use crate::engine::Census;
use crate::gpu_usage;
use crate::host_probe::HostProbe;
use crate::inference_status;
use crate::modules::Module;
use energy::{Energy, Prices};
use record::record;
use watch::{SCAN_EVERY, Watch};

/// The module's entry in the registry.
pub const MODULE: Module = Module {
    name: "servers",
    open: |context| {
        Box::new(Servers {
            config: Live::new(&context.config),
            census: Arc::clone(&context.census),
            host_probe: Arc::clone(&context.host_probe),
            inference: Arc::clone(&context.inference),
            gpu_usage: Arc::clone(&context.gpu_usage),
        })
    },
    config: Kind::of::<Options>(),
};

/// `rs.d/servers.conf`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Servers to chart, by address, model, engine or user; all if there are none.
    pub include: Patterns,
    /// Servers to leave out.
    pub exclude: Patterns,
    /// What a kilowatt-hour costs.
    #[serde(deserialize_with = "energy::amount")]
    pub price_per_kwh: Option<f64>,
    /// Energy of the whole data centre over that of its machines.
    #[serde(deserialize_with = "energy::factor")]
    pub pue: Option<f64>,
    /// What the machine draws beside its GPUs, W.
    #[serde(deserialize_with = "energy::amount")]
    pub host_watts: Option<f64>,
    /// What an hour of one GPU costs.
    #[serde(deserialize_with = "energy::amount")]
    pub gpu_hour_price: Option<f64>,
}

impl Options {
    fn prices(&self) -> Prices {
        Prices {
            per_kwh: self.price_per_kwh,
            pue: self.pue,
            host_watts: self.host_watts,
            gpu_hour: self.gpu_hour_price,
        }
    }
}

impl config::Options for Options {
    const MODULE: &'static str = "servers";
    const UPDATE_EVERY: u32 = 1;
    const MAX_JOBS: usize = 1;
}

/// Finds always the same job: servers come and go within it.
struct Servers {
    config: Live<Options>,
    census: Arc<Census>,
    host_probe: Arc<HostProbe>,
    inference: Arc<inference_status::Slot>,
    gpu_usage: Arc<gpu_usage::Slot>,
}

impl Discover for Servers {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let Some(config) = self.config.refresh().and_then(Configured::only) else {
            return Ok(vec![]);
        };
        let (census, host_probe) = (Arc::clone(&self.census), Arc::clone(&self.host_probe));
        let inference = Arc::clone(&self.inference);
        let gpu_usage = Arc::clone(&self.gpu_usage);
        let prices = config.options.prices();
        let selection = Selection {
            include: config.options.include.clone(),
            exclude: config.options.exclude.clone(),
        };
        let start = move || {
            let own = nix::unistd::geteuid().as_raw();
            let collector = Processes {
                watch: Watch::new(census, own, host_probe, selection),
                energy: Energy::new(gpu_usage, Arc::clone(&inference), prices),
                inference,
            };
            Ok(Box::new(collector) as Box<dyn Collector>)
        };
        Ok(vec![config.job(config.name_or("processes"), start)])
    }

    fn reconfigured(&mut self) -> bool {
        self.config.take_changed()
    }
}

struct Processes {
    watch: Watch,
    energy: Energy,
    inference: Arc<inference_status::Slot>,
}

impl Collector for Processes {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        let Self {
            watch,
            energy,
            inference,
        } = self;
        // What is known already is read before anybody looks for more, as close to the tick's beginning
        // as can be: CPU use is a difference over the time between two ticks.
        let known = watch.knows_servers();
        if known {
            record(watch.read(tick.now), frame);
        }
        let looked = watch
            .look(tick.now)
            .with_context(|| format!("listing processes in {}", watch.root().display()));
        if !known && looked.is_ok() {
            record(watch.read(tick.now), frame);
        }
        if let Ok(true) = looked {
            inference.list(watch.listed(), tick.now, tick.every.max(SCAN_EVERY));
            energy.serve(watch.energy_users().collect());
        }
        energy.tick(tick, frame);
        looked.map(drop)
    }
}
