//! What the administrator of the machine has set, and what else runs on it.

use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Uid, User};

use super::{Check, Finding, Machine};

/// Netdata with its plugins takes about 60 threads.
const FEW_PROCESSES: u64 = 200;
/// Netdata takes 100 to 200 MiB; the plugin 10.
const LITTLE_MEMORY: u64 = 512 << 20;
/// Netdata opens a file for each chart's pages now and then.
const FEW_FILES: u64 = 1024;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "hidepid",
        what: "processes of other users can be seen",
        run: hidepid,
    },
    Check {
        id: "logout",
        what: "processes live on after logout",
        run: logout,
    },
    Check {
        id: "limits",
        what: "limits of this user",
        run: limits,
    },
    Check {
        id: "control-group",
        what: "memory and tasks this session may have",
        run: control_group,
    },
    Check {
        id: "clock",
        what: "the clock is kept in step",
        run: clock,
    },
];

fn hidepid(machine: &Machine) -> Finding {
    // Process 1 is always somebody else's.
    if machine.proc.path("1/stat").exists() {
        return Finding::pass("yes");
    }
    Finding::warn(
        "/proc is mounted with hidepid",
        "only your own servers and processes are charted; an administrator can change it",
    )
}

fn logout(_machine: &Machine) -> Finding {
    let mut kills = false;
    let mut files = vec![Path::new("/etc/systemd/logind.conf").to_owned()];
    for dir in [
        "/usr/lib/systemd/logind.conf.d",
        "/etc/systemd/logind.conf.d",
    ] {
        let mut parts: Vec<_> = fs::read_dir(dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        parts.sort();
        files.extend(parts);
    }
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        kills = kills_user_processes(&text).unwrap_or(kills);
    }
    if !kills {
        return Finding::pass("yes");
    }
    let user = User::from_uid(Uid::effective()).ok().flatten();
    let name = user.map_or_else(|| Uid::effective().to_string(), |user| user.name);
    if Path::new("/var/lib/systemd/linger").join(&name).exists() {
        return Finding::pass("lingering is enabled");
    }
    Finding::warn(
        "systemd ends them (KillUserProcesses=yes)",
        "loginctl enable-linger, then: launcher service install",
    )
}

/// The last word of a logind.conf on it, if it has one.
fn kills_user_processes(text: &str) -> Option<bool> {
    let mut values = text.lines().rev().filter_map(|line| {
        let (name, value) = line.trim().split_once('=')?;
        (name.trim() == "KillUserProcesses").then(|| value.trim())
    });
    let value = values.next()?;
    Some(matches!(value, "yes" | "true" | "on" | "1"))
}

fn limits(_machine: &Machine) -> Finding {
    let soft = |resource| getrlimit(resource).map_or(u64::MAX, |(soft, _)| soft);
    let checks = [
        (
            soft(Resource::RLIMIT_NPROC),
            FEW_PROCESSES,
            "processes (ulimit -u)",
        ),
        (
            soft(Resource::RLIMIT_AS),
            LITTLE_MEMORY,
            "bytes of memory (ulimit -v)",
        ),
        (
            soft(Resource::RLIMIT_NOFILE),
            FEW_FILES,
            "open files (ulimit -n)",
        ),
    ];
    for (limit, least, what) in checks {
        if limit < least {
            return Finding::warn(
                format!("only {limit} {what}"),
                format!("Netdata needs about {least}: raise it, or ask for more"),
            );
        }
    }
    Finding::pass("enough processes, memory and files")
}

fn control_group(machine: &Machine) -> Finding {
    let text = fs::read_to_string(machine.proc.path("self/cgroup")).unwrap_or_default();
    let Some(group) = text.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Finding::skip("no unified control groups");
    };
    let root = Path::new("/sys/fs/cgroup");
    let group = root.join(group);
    let limit = |name: &str| {
        let above = group.ancestors().take_while(|dir| dir.starts_with(root));
        let limits = above.filter_map(|dir| {
            let text = fs::read_to_string(dir.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        });
        limits.min()
    };
    let (memory, tasks) = (limit("memory.max"), limit("pids.max"));
    if let Some(memory) = memory.filter(|memory| *memory < LITTLE_MEMORY) {
        return Finding::warn(
            format!("only {} MiB of memory", memory >> 20),
            "Netdata needs about 300 MiB: ask for more",
        );
    }
    if let Some(tasks) = tasks.filter(|tasks| *tasks < FEW_PROCESSES) {
        return Finding::warn(
            format!("only {tasks} tasks"),
            "Netdata needs about 100: ask for more",
        );
    }
    let shown = |limit: Option<u64>, unit: &str| {
        limit.map_or("no limit".to_owned(), |n| format!("{n} {unit}"))
    };
    Finding::pass(format!(
        "memory: {}; tasks: {}",
        shown(memory.map(|bytes| bytes >> 20), "MiB"),
        shown(tasks, "")
    ))
}

fn clock(_machine: &Machine) -> Finding {
    /// What adjtimex returns where the clock follows no other.
    const UNSYNCHRONISED: i32 = 5;
    // SAFETY: all-zero bytes are a valid timex, and modes 0 only reads.
    let state = unsafe {
        let mut clock: nix::libc::timex = std::mem::zeroed();
        nix::libc::adjtimex(&raw mut clock)
    };
    match state {
        UNSYNCHRONISED => Finding::warn(
            "the kernel says it is not synchronised",
            "charts of several machines will not line up, and Netdata Cloud may refuse it: start chronyd",
        ),
        0.. => Finding::pass("yes"),
        _ => Finding::skip("cannot be asked here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_logind_counts_and_comments_do_not() {
        assert_eq!(
            kills_user_processes("[Login]\n#KillUserProcesses=yes\n"),
            None
        );
        let text = "KillUserProcesses=no\nKillUserProcesses = yes\n";
        assert_eq!(kills_user_processes(text), Some(true));
    }
}
