//! The modules of this plugin, as a plain slice, and what each gets to know when it is opened.

use std::path::PathBuf;
use std::sync::Arc;

use netdata_plugin::module::Discover;

use crate::{
    config, engine, gpu_usage, host_probe, inference_status, nvidia, prometheus_job, servers,
    sglang,
};

/// What a module may use.
#[derive(Clone)]
pub struct Context {
    /// The host's /proc: `/proc`, or `<prefix>/proc` where the agent runs in a container.
    pub proc_root: PathBuf,
    /// The inference servers among its processes, looked for once for all modules.
    pub census: Arc<engine::Census>,
    /// Which process uses how much of which GPU: nvidia writes, servers read.
    pub gpu_usage: Arc<gpu_usage::Slot>,
    /// Reads what is closed to processes inside the container.
    pub host_probe: Arc<host_probe::HostProbe>,
    /// What is known of inference servers: servers and the modules that read metrics write, functions read.
    pub inference: Arc<inference_status::Slot>,
    /// Where a module's [`config::Live`] reads its file.
    pub config: config::Source,
}

/// A module: a name and how to open it.
pub struct Module {
    /// As in `rs.d.conf` and `-m`.
    pub name: &'static str,
    /// Opens it. A thing that is not there (a driver, a server) may appear later, and a mistake in its
    /// configuration may be corrected: both are discovery's business.
    pub open: fn(&Context) -> Box<dyn Discover>,
    /// What it may be told in `rs.d/<name>.conf`.
    pub config: config::Kind,
}

/// Every module, in the order in which discovery asks them.
pub const MODULES: &[Module] = &[
    nvidia::MODULE,
    servers::MODULE,
    sglang::MODULE,
    prometheus_job::MODULE,
];
