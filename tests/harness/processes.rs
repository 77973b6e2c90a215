//! Processes as /proc shows them: whose they are, what they hold open, where they are mounted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use procfs::process::{Process, all_processes};

/// A process that can be told from a later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// Its pid.
    pub pid: i32,
    /// Clock ticks since boot at which it started.
    pub start: u64,
    /// Name, for the message of a failed test.
    pub comm: String,
}

/// Every process that belongs to the instance at `home`: by an argument, a mount or an open file below it,
/// or by one of `sessions`. Zombies are dead.
#[must_use]
pub fn of_instance(home: &Path, sessions: &[i32]) -> BTreeSet<Known> {
    let Ok(all) = all_processes() else {
        return BTreeSet::new();
    };
    all.filter_map(Result::ok)
        .filter_map(|process| {
            let stat = process.stat().ok().filter(|stat| stat.state != 'Z')?;
            let ours = sessions.contains(&stat.session) || touches(&process, home);
            ours.then_some(Known {
                pid: stat.pid,
                start: stat.starttime,
                comm: stat.comm,
            })
        })
        .collect()
}

/// Whether an argument, a mount or an open file of `process` lies below `home`.
#[must_use]
pub fn touches(process: &Process, home: &Path) -> bool {
    let text = home.to_string_lossy();
    let named = || {
        process
            .cmdline()
            .is_ok_and(|words| words.iter().any(|w| w.contains(&*text)))
    };
    let mounted = || {
        process.mountinfo().is_ok_and(|mounts| {
            mounts.into_iter().any(|mount| {
                mount.root.contains(&*text)
                    || mount.mount_source.is_some_and(|s| s.contains(&*text))
            })
        })
    };
    let open = || {
        open_files(process.pid)
            .iter()
            .any(|file| file.starts_with(home))
    };
    named() || mounted() || open()
}

/// Files that a process holds open.
#[must_use]
pub fn open_files(pid: i32) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return vec![];
    };
    entries
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .collect()
}

/// Children of `pid` whose name is `comm`.
#[must_use]
pub fn children(pid: i32, comm: &str) -> Vec<i32> {
    let Ok(all) = all_processes() else {
        return vec![];
    };
    all.filter_map(Result::ok)
        .filter_map(|process| process.stat().ok())
        .filter(|stat| stat.ppid == pid && stat.comm == comm && stat.state != 'Z')
        .map(|stat| stat.pid)
        .collect()
}

/// A process's namespace of a kind (`user`, `mnt`, `pid`), as its link reads.
#[must_use]
pub fn namespace(pid: i32, kind: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok()
}
