//! Module `servers`: one job that charts what the processes of every inference server use, by role. It
//! needs nothing from the server itself: one that still loads or has no metrics is charted too.

mod charts;
mod cpu;
mod record;
#[cfg(test)]
mod tests;
mod watch;

use std::num::NonZeroU32;
use std::path::PathBuf;

use anyhow::Context as _;
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Discover, Job, Tick};
use serde::Deserialize;

use crate::modules::Module;
use record::record;
use watch::Watch;

/// The module's entry in the registry.
pub const MODULE: Module = Module {
    name: "servers",
    open: |context| {
        let options: Options = context.config.read("rs.d/servers.conf")?;
        Ok(Box::new(Servers {
            update_every: context.update_every.max(options.update_every.get()),
            proc_root: context.proc_root.clone(),
        }))
    },
};

/// `rs.d/servers.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Seconds between two readings; never shorter than the plugin's own interval.
    pub update_every: NonZeroU32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            update_every: NonZeroU32::MIN,
        }
    }
}

/// Finds always the same job: servers come and go within it.
struct Servers {
    update_every: u32,
    proc_root: PathBuf,
}

impl Discover for Servers {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let proc_root = self.proc_root.clone();
        let start = move || {
            let own = nix::unistd::geteuid().as_raw();
            let collector = Processes(Watch::new(&proc_root, own));
            Ok(Box::new(collector) as Box<dyn Collector>)
        };
        Ok(vec![Job {
            name: "processes".to_owned(),
            update_every: self.update_every,
            start: Box::new(start),
        }])
    }
}

struct Processes(Watch);

impl Collector for Processes {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        let Self(watch) = self;
        // What is known already is read before the table is scanned, as close to the tick's beginning
        // as can be: CPU use is a difference over the time between two ticks.
        let known = watch.scanned();
        if known {
            record(watch.read(tick.now), frame);
        }
        let scanned = watch
            .scan_if_due(tick.now)
            .with_context(|| format!("listing processes in {}", watch.root().display()));
        if !known && scanned.is_ok() {
            record(watch.read(tick.now), frame);
        }
        scanned
    }
}
