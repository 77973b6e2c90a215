//! Module `nvidia`: one job that charts every NVIDIA GPU through NVML.

mod board;
mod charts;
mod health;
pub mod helper;
pub mod nvml_record;
mod owners;
mod peers;
mod processes;
mod read;
mod reading;
mod record;
mod record_board;
mod record_health;
mod record_links;
mod snapshot;
mod twice;
mod usage;
mod watch;
mod worker;
mod xid;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Discover, Job, Tick};
use serde::Deserialize;

use crate::config::{self, Configured, Kind, Live, Patterns, Seconds, Selection};
use crate::gpu_usage;
use crate::host_probe::HostProbe;
use crate::inference_status;
use crate::modules::{Context, Module};
use reading::Settings;
use record::{Instances, beside_peers, record};
use twice::Twice;
use usage::usage;
use watch::Watch;

/// The module's entry in the registry.
pub const MODULE: Module = Module {
    name: "nvidia",
    open: |context| Box::new(Gpus::new(context)),
    config: Kind::of::<Options>(),
};

/// `rs.d/nvidia.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Seconds between two readings of who uses the GPUs, which stall the driver for milliseconds.
    pub processes_every: Seconds,
    /// Commands of a user with a line of their own in the charts by process.
    pub top_processes: u8,
    /// Whether charts name users other than the one who runs this.
    pub identify_users: bool,
    /// Seconds of idleness after which the alert on memory held without use is raised.
    pub held_idle_after: Seconds,
    /// NVML: a name for the dynamic linker to find, or a path.
    pub library: String,
    /// GPUs to chart, by UUID, index or product name; all if there are none.
    pub include: Patterns,
    /// GPUs to leave out.
    pub exclude: Patterns,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            processes_every: Seconds::new(5),
            top_processes: 10,
            identify_users: false,
            held_idle_after: Seconds::new(1800),
            library: "libnvidia-ml.so.1".to_owned(),
            include: Patterns::default(),
            exclude: Patterns::default(),
        }
    }
}

impl config::Options for Options {
    const MODULE: &'static str = "nvidia";
    const UPDATE_EVERY: u32 = 1;
    const MAX_JOBS: usize = 1;
}

/// Finds always the same job: whether there are GPUs is known only once NVML was initialised, which the
/// supervisor paces.
struct Gpus {
    config: Live<Options>,
    proc_root: PathBuf,
    gpu_usage: Arc<gpu_usage::Slot>,
    inference: Arc<inference_status::Slot>,
    host_probe: Arc<HostProbe>,
}

impl Gpus {
    fn new(context: &Context) -> Self {
        Self {
            config: Live::new(&context.config),
            proc_root: context.proc_root.clone(),
            gpu_usage: Arc::clone(&context.gpu_usage),
            inference: Arc::clone(&context.inference),
            host_probe: Arc::clone(&context.host_probe),
        }
    }
}

impl Discover for Gpus {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let Some(config) = self.config.refresh().and_then(Configured::only) else {
            return Ok(vec![]);
        };
        let options = config.options.clone();
        let proc_root = self.proc_root.clone();
        let gpu_usage = Arc::clone(&self.gpu_usage);
        let inference = Arc::clone(&self.inference);
        let host_probe = Arc::clone(&self.host_probe);
        let start = move || {
            let settings = Settings {
                library: options.library,
                selection: Selection {
                    include: options.include,
                    exclude: options.exclude,
                },
                proc_root,
                processes_every: Duration::from_secs(options.processes_every.get().into()),
                top_processes: options.top_processes.into(),
                identify_users: options.identify_users,
                look_up: true,
                skip: vec![],
                events: true,
            };
            let collector = GpuCollector {
                watch: Watch::open(settings, host_probe, watch::this_program())?,
                instances: Instances::new(
                    options.processes_every.get(),
                    options.held_idle_after.get(),
                ),
                gpu_usage,
                inference,
                twice: Twice::new(Instant::now()),
            };
            Ok(Box::new(collector) as Box<dyn Collector>)
        };
        Ok(vec![config.job(config.name_or("gpus"), start)])
    }

    fn reconfigured(&mut self) -> bool {
        self.config.take_changed()
    }
}

struct GpuCollector {
    watch: Watch,
    instances: Instances,
    gpu_usage: Arc<gpu_usage::Slot>,
    inference: Arc<inference_status::Slot>,
    twice: Twice,
}

impl Collector for GpuCollector {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        self.twice.look(tick.now);
        match self.watch.tick(tick) {
            Ok(Some(snapshot)) => {
                record(snapshot, &mut self.instances, frame);
                if let Some(servers) = self.inference.servers(tick.now) {
                    let beside = peers::beside(snapshot, &servers);
                    beside_peers(&beside, &mut self.instances, frame);
                }
                self.gpu_usage
                    .publish(usage(snapshot, tick.now, tick.every));
                Ok(())
            }
            // The agent draws the gap.
            Ok(None) => Ok(()),
            Err(trouble) => {
                if trouble.replaced {
                    // Said first: the end may come before a tick's error is logged.
                    log::warn!("{trouble}");
                    watch::end_the_plugin()?;
                    return Ok(());
                }
                Err(trouble.into())
            }
        }
    }

    fn stretched_to(&self) -> Option<u32> {
        self.watch.stretched_to()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_means_every_second_and_the_linkers_library() {
        let options = Options::default();
        assert_eq!(options.library, "libnvidia-ml.so.1");
    }
}
