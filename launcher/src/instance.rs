//! The one Netdata of a home: what was written down when it started, and what is left of it now.

mod begin;
pub mod beside;
mod end;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::files;
use crate::paths::Paths;
use crate::process::{FileId, Proc, Process};
pub use begin::begin;

/// Where Netdata's cache is inside the container: the directory by which its processes are known.
pub const CACHE_INSIDE: &str = "/var/cache/netdata";

/// The pid file: the pid on its first line, as pid files are, then one `name=value` a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The runtime's outer process, which is also the id of the session everything else is in.
    pub pid: i32,
    /// When it started, in clock ticks after boot.
    pub start_ticks: u64,
    /// The boot it belongs to.
    pub boot_id: String,
    /// The machine, for homes that several machines share.
    pub host: String,
    /// Where the dashboard answers, as in netdata.conf.
    pub listen: String,
    /// On which port.
    pub port: u16,
    /// The image in use.
    pub image: PathBuf,
    /// The image's file, which stays the same when another takes its name.
    pub image_id: Option<FileId>,
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\nstart_ticks={}\nboot_id={}",
            self.pid, self.start_ticks, self.boot_id
        )?;
        writeln!(
            f,
            "host={}\nlisten={}\nport={}",
            self.host, self.listen, self.port
        )?;
        writeln!(f, "image={}", self.image.display())?;
        if let Some(id) = self.image_id {
            writeln!(f, "image_id={}:{}", id.device, id.inode)?;
        }
        Ok(())
    }
}

impl Record {
    /// Reads what `Display` wrote. None if it is anything else: a pid alone names no process.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
        let fields: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
        let image_id = fields.get("image_id").and_then(|text| {
            let (device, inode) = text.split_once(':')?;
            Some(FileId {
                device: device.parse().ok()?,
                inode: inode.parse().ok()?,
            })
        });
        Some(Self {
            pid,
            start_ticks: fields.get("start_ticks")?.parse().ok()?,
            boot_id: (*fields.get("boot_id")?).to_owned(),
            host: (*fields.get("host")?).to_owned(),
            listen: (*fields.get("listen")?).to_owned(),
            port: fields.get("port")?.parse().ok()?,
            image: fields.get("image")?.into(),
            image_id,
        })
    }
}

/// What became of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was started, or it was stopped.
    Stopped,
    /// The outer process is alive.
    Running(Record),
    /// It is not, but some of what it started is.
    Crashed(Record, Vec<Process>),
    /// A pid file is all that is left.
    Gone(Option<Record>, Cause),
    /// The home is shared, and it runs (or ran) on another machine.
    Elsewhere(Record),
}

/// Why only the pid file is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The process ended without `stop`.
    Ended,
    /// The machine was started anew since.
    Rebooted,
    /// It is no pid file of ours.
    Unreadable,
}

/// Whose instance to look for, and where.
#[derive(Clone, Debug)]
pub struct Instance {
    proc: Proc,
    pid_file: PathBuf,
    cache: PathBuf,
    host: String,
}

impl Instance {
    /// The instance of this home on this machine.
    pub fn new(proc: &Proc, paths: &Paths, host: &str) -> Self {
        Self {
            proc: proc.clone(),
            pid_file: paths.pid_file(),
            cache: paths.state_dir("cache"),
            host: host.to_owned(),
        }
    }

    /// Writes the pid file.
    pub fn write(&self, record: &Record) -> Result<()> {
        files::write_private(&self.pid_file, record.to_string().as_bytes())
    }

    /// Removes it; a missing one is removed already.
    pub fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.pid_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.pid_file.display()))
            }
            _ => Ok(()),
        }
    }

    /// Looks at the pid file and at the processes.
    pub fn state(&self) -> Result<State> {
        let text = match fs::read_to_string(&self.pid_file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(State::Stopped);
            }
            Err(error) => {
                return Err(error).with_context(|| format!("reading {}", self.pid_file.display()));
            }
        };
        let Some(record) = Record::parse(&text) else {
            return Ok(State::Gone(None, Cause::Unreadable));
        };
        if record.boot_id != self.proc.boot_id()? {
            let elsewhere = record.host != self.host;
            return Ok(if elsewhere {
                State::Elsewhere(record)
            } else {
                State::Gone(Some(record), Cause::Rebooted)
            });
        }
        if self.leader(&record) {
            return Ok(State::Running(record));
        }
        let left = self.members(&record);
        Ok(if left.is_empty() {
            State::Gone(Some(record), Cause::Ended)
        } else {
            State::Crashed(record, left)
        })
    }

    /// Whether the outer process is alive.
    pub fn leader(&self, record: &Record) -> bool {
        self.proc
            .get(record.pid)
            .is_some_and(|leader| leader.start_ticks == record.start_ticks)
    }

    /// Every living process of the instance, the outer one included.
    ///
    /// The kernel gives a number to a new process only when no process, group or session bears it
    /// any more. So a session is ours as a whole or not at all: it is if its first process is the
    /// recorded one or, where that is gone, if any member lives in our container or has our image
    /// open.
    pub fn members(&self, record: &Record) -> Vec<Process> {
        let members = self.proc.session(record.pid);
        let ours = match self.proc.get(record.pid) {
            Some(leader) => leader.start_ticks == record.start_ticks,
            None => members
                .iter()
                .any(|process| self.bears_our_mark(process, record)),
        };
        if ours { members } else { Vec::new() }
    }

    fn bears_our_mark(&self, process: &Process, record: &Record) -> bool {
        let cache = FileId::of(&self.cache);
        (cache.is_some() && self.proc.seen_by(process.pid, CACHE_INSIDE) == cache)
            || record
                .image_id
                .is_some_and(|image| self.proc.has_open(process.pid, image))
    }

    /// Where the pid file is, for messages.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }
}

#[cfg(test)]
mod tests;
