//! What reads the GPUs, wherever it runs: on a thread of the plugin, or in a process of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::owners::Owners;
use super::processes::{self, Names};
use super::read::{Progress, Reader, Trouble};
use super::snapshot::{Identity, Processes, Snapshot};
use crate::config::Selection;
use crate::host_probe::HostProbe;
use crate::processes::Users;

/// What a reading needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// NVML: a name for the dynamic linker to find, or a path.
    pub library: String,
    /// The host's /proc.
    pub proc_root: PathBuf,
    /// Between two readings of processes.
    pub processes_every: Duration,
    /// Commands of a user that are told apart.
    pub top_processes: usize,
    /// Whether other users are named.
    pub identify_users: bool,
    /// GPUs that the configuration wants.
    pub selection: Selection,
    /// Whether processes are looked up in /proc; not while that hangs.
    pub look_up: bool,
    /// GPUs that are left alone, because their calls hang.
    pub skip: Vec<Identity>,
    /// Whether XID errors are waited for.
    pub events: bool,
}

/// A reader, and what puts names to its processes.
pub struct Reading {
    /// NVML.
    pub reader: Reader,
    settings: Settings,
    users: Users,
    owners: Owners,
}

impl Reading {
    /// Opens NVML.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open(
        settings: Settings,
        probe: Arc<HostProbe>,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let mut users = Users::new(&settings.proc_root, geteuid().as_raw());
        if settings.identify_users {
            users = users.identifying(&settings.proc_root);
        }
        Ok(Self {
            reader: Reader::open(&settings, progress)?,
            owners: Owners::new(settings.proc_root.clone(), probe),
            settings,
            users,
        })
    }

    /// Reads what is due.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn read(&mut self, now: Instant) -> Result<&Snapshot, Trouble> {
        let Settings {
            proc_root,
            top_processes,
            look_up,
            ..
        } = &self.settings;
        let resolve = |rows| {
            if *look_up {
                let names = Names {
                    users: &self.users,
                    whose: &|id| self.owners.of(id),
                };
                processes::resolve(rows, proc_root, names, *top_processes)
            } else {
                Processes {
                    rows,
                    ..Processes::default()
                }
            }
        };
        self.reader.read(now, resolve)
    }
}
