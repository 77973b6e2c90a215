//! The modules of this plugin, as a plain slice, and what each gets to know when it is opened.

use std::path::PathBuf;
use std::sync::Arc;

use netdata_plugin::module::Discover;

use crate::{config, gpu_usage, host_probe, nvidia, servers, sglang};

/// What a module may use.
#[derive(Clone)]
pub struct Context {
    /// The host's /proc: `/proc`, or `<prefix>/proc` where the agent runs in a container.
    pub proc_root: PathBuf,
    /// Which process uses how much of which GPU: nvidia writes, servers read.
    pub gpu_usage: Arc<gpu_usage::Slot>,
    /// Reads what is closed to processes inside the container.
    pub host_probe: Arc<host_probe::HostProbe>,
    /// Interval in seconds from the command line; a module's own is never shorter.
    pub update_every: u32,
    /// Where a module reads its file: `config.read("rs.d/nvidia.conf")`.
    pub config: config::Dirs,
}

/// A module: a name and how to open it.
pub struct Module {
    /// As in `rs.d.conf` and `-m`.
    pub name: &'static str,
    /// Opens it. Fails on a mistake in its configuration, and on that alone: a thing that is not there
    /// (a driver, a server) may appear later and is discovery's business.
    pub open: fn(&Context) -> anyhow::Result<Box<dyn Discover>>,
}

/// Every module, in the order in which discovery asks them.
pub const MODULES: &[Module] = &[nvidia::MODULE, servers::MODULE, sglang::MODULE];
