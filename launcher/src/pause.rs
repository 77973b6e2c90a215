//! A disk that is nearly full: Netdata is held (SIGSTOP) before its databases meet the end of it, and goes on where
//! it was when there is room again. The gap in the charts is that time. Whether it is held is read from the
//! processes themselves, so that nothing has to be written for it to a full disk.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use crate::process::{Proc, Process};

/// Per cent of the file system that stay free, for everybody else on it.
const LOW_PERCENT: u64 = 5;
/// On a large file system a few per cent are plenty: with this much free it is not full.
const PLENTY_BYTES: u64 = 20 << 30;
/// More than the limit, so that a disk at the limit does not stop and go.
const AGAIN_PERCENT: u64 = 6;
/// Netdata writes some MiB a minute.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The room on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For ordinary users.
    pub free_bytes: u64,
    /// For them all together.
    pub total_bytes: u64,
}

impl Room {
    /// None where the file system does not say.
    pub fn of(dir: &Path) -> Option<Self> {
        let stat = statvfs(dir).ok()?;
        let used = stat.blocks() - stat.blocks_free().min(stat.blocks());
        Some(Self {
            free_bytes: stat.blocks_available() * stat.fragment_size(),
            // What is reserved for root is nobody's room.
            total_bytes: (used + stat.blocks_available()) * stat.fragment_size(),
        })
    }

    /// Below this Netdata is held.
    pub fn is_low(self) -> bool {
        self.is_below(LOW_PERCENT)
    }

    fn is_below(self, percent: u64) -> bool {
        self.free_bytes < PLENTY_BYTES && self.free_bytes * 100 < self.total_bytes * percent
    }

    /// Like `3.2 % (410 MiB)`.
    pub fn shown(self) -> String {
        let percent = self.free_bytes as f64 / self.total_bytes.max(1) as f64 * 100.0;
        format!("{percent:.1} % ({} MiB)", self.free_bytes >> 20)
    }
}

/// What is said of it, wherever it is said.
pub fn why(history: &Path) -> String {
    let room = Room::of(history).map_or("little".to_owned(), Room::shown);
    format!(
        "paused: {room} of the disk of {} is free, and below {LOW_PERCENT} % nothing is recorded; \
         it goes on by itself at {AGAIN_PERCENT} %",
        history.display()
    )
}

/// Whether a signal holds Netdata.
pub fn is_held(members: &[Process]) -> bool {
    members
        .iter()
        .any(|process| process.comm == "netdata" && process.stopped)
}

/// Looks at the disk of a running instance, and holds it or lets it go on.
#[derive(Debug)]
pub struct Guard {
    proc: Proc,
    runtime: i32,
    history: PathBuf,
    held: bool,
    looked: Option<Instant>,
}

impl Guard {
    /// For the instance whose outer process is `runtime`.
    pub fn new(proc: Proc, runtime: i32, history: &Path) -> Self {
        Self {
            proc,
            runtime,
            history: history.to_owned(),
            held: false,
            looked: None,
        }
    }

    /// Looks, unless it did just now.
    pub fn look(&mut self) {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let Some(room) = Room::of(&self.history) else {
            return;
        };
        if !self.held && room.is_low() {
            tell!("launcher: {}", why(&self.history));
            self.held = true;
        } else if self.held && !room.is_below(AGAIN_PERCENT) {
            tell!("launcher: {} are free again: Netdata goes on", room.shown());
            self.held = false;
            self.signal(Signal::SIGCONT);
        }
        if self.held {
            // Again each time: a plugin may just have been started.
            self.signal(Signal::SIGSTOP);
        }
    }

    fn signal(&self, signal: Signal) {
        for pid in held_with(&self.proc.session(self.runtime), self.runtime) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

/// Netdata and what descends from it. Not the runtime, which passes signals on, nor the mount of the image: whoever
/// looked into the container would hang.
fn held_with(members: &[Process], runtime: i32) -> BTreeSet<i32> {
    let netdata = |process: &&Process| {
        process.comm == "netdata" && process.pid != runtime && !process.comm.contains("fuse")
    };
    let mut held: BTreeSet<i32> = members
        .iter()
        .filter(netdata)
        .map(|process| process.pid)
        .collect();
    loop {
        let more: Vec<i32> = members
            .iter()
            .filter(|process| held.contains(&process.parent) && !held.contains(&process.pid))
            .map(|process| process.pid)
            .collect();
        if more.is_empty() {
            return held;
        }
        held.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room(free_bytes: u64, total_bytes: u64) -> Room {
        Room {
            free_bytes,
            total_bytes,
        }
    }

    #[test]
    fn five_per_cent_are_low_but_not_where_they_are_plenty() {
        assert!(room(4 * GIB, 100 * GIB).is_low());
        assert!(!room(6 * GIB, 100 * GIB).is_low());
        assert!(!room(40 * GIB, 4000 * GIB).is_low());
        assert!(room(0, 4000 * GIB).is_low());
        // At the limit it does not stop and go.
        assert!(room(5 * GIB + GIB / 2, 100 * GIB).is_below(AGAIN_PERCENT));
    }

    #[test]
    fn netdata_is_held_with_its_children_and_neither_the_runtime_nor_the_mount_is() {
        let process = |pid, parent, comm: &str| Process {
            pid,
            session: 10,
            start_ticks: 1,
            comm: comm.to_owned(),
            parent,
            stopped: false,
        };
        let members = [
            process(10, 1, "starter"),
            process(11, 10, "squashfuse_ll"),
            process(12, 10, "netdata"),
            process(13, 12, "netdata"),
            process(14, 13, "rs.d.plugin"),
            process(15, 10, "launcher"),
            process(16, 15, "rs.d.plugin"),
        ];
        assert_eq!(held_with(&members, 10), [12, 13, 14].into());
    }
}
