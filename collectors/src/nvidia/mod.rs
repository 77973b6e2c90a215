//! Module `nvidia`: one job that charts every NVIDIA GPU through NVML.

mod charts;
mod health;
mod processes;
mod read;
mod record;
mod record_health;
mod snapshot;
mod usage;
mod xid;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Discover, Job, Tick};
use serde::Deserialize;

use crate::gpu_usage;
use crate::modules::{Context, Module};
use read::Reader;
use record::{Instances, record};
use usage::usage;

/// The module's entry in the registry.
pub const MODULE: Module = Module {
    name: "nvidia",
    open: |context| {
        let options = context.config.read("rs.d/nvidia.conf")?;
        Ok(Box::new(Gpus::new(context, options)))
    },
};

/// `rs.d/nvidia.conf`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Seconds between two readings; never shorter than the plugin's own interval.
    pub update_every: NonZeroU32,
    /// Seconds between two readings of who uses the GPUs, which stall the driver for milliseconds.
    pub processes_every: NonZeroU32,
    /// Command names with a line of their own in the chart of memory by process.
    pub top_processes: u8,
    /// NVML: a name for the dynamic linker to find, or a path.
    pub library: String,
}

impl Default for Options {
    fn default() -> Self {
        const FIVE: NonZeroU32 = NonZeroU32::new(5).unwrap();
        Self {
            update_every: NonZeroU32::MIN,
            processes_every: FIVE,
            top_processes: 10,
            library: "libnvidia-ml.so.1".to_owned(),
        }
    }
}

/// Finds always the same job: whether there are GPUs is known only once NVML was initialised, which the
/// supervisor paces.
struct Gpus {
    options: Options,
    update_every: u32,
    proc_root: PathBuf,
    gpu_usage: Arc<gpu_usage::Slot>,
}

impl Gpus {
    fn new(context: &Context, options: Options) -> Self {
        Self {
            update_every: context.update_every.max(options.update_every.get()),
            options,
            proc_root: context.proc_root.clone(),
            gpu_usage: Arc::clone(&context.gpu_usage),
        }
    }
}

impl Discover for Gpus {
    fn discover(&mut self) -> anyhow::Result<Vec<Job>> {
        let options = self.options.clone();
        let proc_root = self.proc_root.clone();
        let gpu_usage = Arc::clone(&self.gpu_usage);
        let start = move || {
            let processes_every = Duration::from_secs(options.processes_every.get().into());
            let collector = GpuCollector {
                reader: Reader::open(&options.library, processes_every)?,
                instances: Instances::default(),
                proc_root,
                top_processes: options.top_processes.into(),
                gpu_usage,
            };
            Ok(Box::new(collector) as Box<dyn Collector>)
        };
        Ok(vec![Job {
            name: "gpus".to_owned(),
            update_every: self.update_every,
            start: Box::new(start),
        }])
    }
}

struct GpuCollector {
    reader: Reader,
    instances: Instances,
    proc_root: PathBuf,
    top_processes: usize,
    gpu_usage: Arc<gpu_usage::Slot>,
}

impl Collector for GpuCollector {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        let resolve = |rows| processes::resolve(rows, &self.proc_root, self.top_processes);
        let snapshot = self.reader.read(tick.now, resolve)?;
        record(snapshot, &mut self.instances, frame);
        self.gpu_usage
            .publish(usage(snapshot, tick.now, tick.every));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_means_every_second_and_the_linkers_library() {
        let options = Options::default();
        assert_eq!(options.update_every.get(), 1);
        assert_eq!(options.library, "libnvidia-ml.so.1");
    }
}
