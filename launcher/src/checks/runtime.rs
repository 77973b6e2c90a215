//! Whether rootless containers work here.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;
use std::time::Duration;

use nix::sys::stat::makedev;
use nix::unistd::{Uid, User};

use super::{Check, Finding, Machine};
use crate::ask::ask;
use crate::runtime::find_on;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "runtime",
        what: "Apptainer or Singularity",
        run: runtime,
    },
    Check {
        id: "user-namespaces",
        what: "user namespaces for ordinary users",
        run: user_namespaces,
    },
    Check {
        id: "fuse",
        what: "images can be mounted (/dev/fuse)",
        run: fuse,
    },
    Check {
        id: "squashfuse",
        what: "squashfuse, which mounts them",
        run: squashfuse,
    },
    Check {
        id: "subuid",
        what: "subordinate ids, to build a debian image",
        run: subuid,
    },
];

fn runtime(machine: &Machine) -> Finding {
    let Some(runtime) = &machine.runtime else {
        return Finding::fail(
            "neither apptainer nor singularity is on PATH",
            "ask for the package apptainer, load its module, or: sudo make setup",
        );
    };
    let mut command = Command::new(runtime.program());
    command.arg("--version");
    match ask(command, Duration::from_secs(10)) {
        Some(answer) if answer.ok => Finding::pass(answer.last_line()),
        Some(answer) => Finding::fail(answer.last_line(), "reinstall it"),
        None => Finding::fail(
            format!("{} --version does not end", runtime.name()),
            "reinstall it; a file server may hang",
        ),
    }
}

fn user_namespaces(machine: &Machine) -> Finding {
    let number = |name: &str| {
        let text = fs::read_to_string(machine.proc.path(name)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    for (name, sysctl) in [
        (
            "sys/user/max_user_namespaces",
            "user.max_user_namespaces=15000",
        ),
        (
            "sys/kernel/unprivileged_userns_clone",
            "kernel.unprivileged_userns_clone=1",
        ),
    ] {
        if number(name) == Some(0) {
            return Finding::fail(
                format!("/proc/{name} is 0"),
                format!("an administrator has to allow them: sysctl {sysctl}"),
            );
        }
    }
    if number("sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Finding::warn(
            "AppArmor restricts them",
            "if starting fails: a profile for apptainer that allows `userns,`",
        );
    }
    Finding::pass("allowed")
}

/// Whether images can be mounted, as far as the device goes.
///
/// # Errors
/// Why not, in a few words.
pub(super) fn usable_fuse() -> Result<(), String> {
    let opened = File::options().read(true).write(true).open("/dev/fuse");
    let meta = opened.and_then(|file| file.metadata());
    match meta {
        Ok(meta) if meta.rdev() == makedev(10, 229) => Ok(()),
        Ok(_) => Err("it is another device".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn fuse(_machine: &Machine) -> Finding {
    match usable_fuse() {
        Ok(()) => Finding::pass("usable"),
        Err(error) => Finding::warn(
            format!("/dev/fuse: {error}"),
            "each start unpacks the image first (3 to 11 s longer); an administrator can fix it: chmod 666 /dev/fuse",
        ),
    }
}

fn squashfuse(machine: &Machine) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = ["squashfuse_ll", "squashfuse"]
        .iter()
        .find_map(|name| find_on(&path, name));
    let bundled = machine.runtime.as_ref().and_then(|runtime| {
        let prefix = runtime.program().parent()?.parent()?;
        let bundled = prefix.join("libexec/apptainer/bin/squashfuse_ll");
        bundled.exists().then_some(bundled)
    });
    match on_path.or(bundled) {
        Some(program) => Finding::pass(program.display().to_string()),
        None => Finding::warn(
            "not found",
            "each start unpacks the image first; ask for the package squashfuse",
        ),
    }
}

fn subuid(_machine: &Machine) -> Finding {
    let uid = Uid::effective();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
    let ours = |line: &str| {
        let owner = line.split(':').next().unwrap_or_default();
        owner == uid.to_string() || name.as_deref() == Some(owner)
    };
    let has = |file: &str| fs::read_to_string(file).is_ok_and(|text| text.lines().any(ours));
    if has("/etc/subuid") && has("/etc/subgid") {
        return Finding::pass("there are some");
    }
    // Everything but building from packages works without.
    Finding::skip("none; only --image debian and definition files need them")
}
