//! Whether there is a place for the image and for history.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::{Check, Finding, Machine};
use crate::ask::ask;
use crate::mounts;
use crate::parts::Parts;
use crate::runtime::find_on;

const MIB: u64 = 1024 * 1024;
/// Below this Netdata's database stops writing cleanly.
const LOW_MIB: u64 = 512;
/// Per cent of the file system.
const LOW_PERCENT: u64 = 5;
pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "home",
        what: "the home can be written to",
        run: home,
    },
    Check {
        id: "disk",
        what: "free space for image and history",
        run: disk,
    },
    Check {
        id: "quota",
        what: "disk quota",
        run: quota,
    },
    Check {
        id: "noexec",
        what: "the plugin may be executed where it is",
        run: noexec,
    },
    Check {
        id: "network-disk",
        what: "state on a disk of this machine",
        run: network_disk,
    },
];

/// The home, or the first directory above it that is there.
fn existing(machine: &Machine) -> PathBuf {
    let home = machine.paths.home();
    let found = home.ancestors().find(|dir| dir.exists());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn home(machine: &Machine) -> Finding {
    let dir = existing(machine);
    let shown = dir.display();
    match nix::unistd::access(&dir, nix::unistd::AccessFlags::W_OK) {
        Ok(()) => Finding::pass(machine.paths.home().display().to_string()),
        Err(error) => Finding::fail(format!("{shown}: {error}"), "use another --home"),
    }
}

fn disk(machine: &Machine) -> Finding {
    let dir = existing(machine);
    let Ok(stat) = statvfs(&dir) else {
        return Finding::warn(
            format!("{} does not answer", dir.display()),
            "use another --home",
        );
    };
    let free_mib = stat.blocks_available() * stat.fragment_size() / MIB;
    let percent = stat.blocks_available() * 100 / stat.blocks().max(1);
    let found = format!("{free_mib} MiB free ({percent} %) at {}", dir.display());
    if free_mib < LOW_MIB {
        return Finding::fail(found, "make room, or use another --home");
    }
    if percent < LOW_PERCENT {
        return Finding::warn(found, "make room: history is lost when the disk is full");
    }
    Finding::pass(found)
}

fn quota(_machine: &Machine) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(program) = find_on(&path, "quota") else {
        return Finding::skip("the program quota is not here");
    };
    let mut command = Command::new(program);
    command.arg("-q");
    match ask(command, Duration::from_secs(10)) {
        // It prints only what is over its limit.
        Some(answer) if answer.text.trim().is_empty() => Finding::pass("not exceeded"),
        Some(answer) => Finding::fail(answer.last_line(), "make room, or use another --home"),
        None => Finding::warn("quota does not end", "a file server may hang"),
    }
}

fn noexec(machine: &Machine) -> Finding {
    let Some(settings) = &machine.settings else {
        return Finding::skip("see the settings");
    };
    let Ok(Parts { plugin, .. }) = Parts::find(settings) else {
        return Finding::fail(
            "the plugin is not found",
            "keep rs.d.plugin beside the launcher, or name it with --plugin",
        );
    };
    let noexec = statvfs(&plugin).is_ok_and(|stat| stat.flags().contains(FsFlags::ST_NOEXEC));
    let shown = plugin.display().to_string();
    if noexec {
        return Finding::fail(
            format!("{shown} is on a file system mounted noexec"),
            "copy the launcher's folder to another disk",
        );
    }
    Finding::pass(shown)
}

fn network_disk(machine: &Machine) -> Finding {
    let state = machine.paths.state();
    let dir = if state.exists() {
        state
    } else {
        existing(machine)
    };
    let Some(disk) = mounts::file_system(&machine.proc, &dir) else {
        return Finding::skip("mounts cannot be read");
    };
    let found = format!("{} on {}", dir.display(), disk.kind);
    if disk.is_remote() {
        return Finding::warn(
            found,
            "history on a file server is slow and may hang: LAUNCHER_STATE_DIR on a disk of this machine",
        );
    }
    Finding::pass(found)
}
