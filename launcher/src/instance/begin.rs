//! Starts the container in a session of its own, out of the way of everything else on the machine.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

use anyhow::{Context as _, Result};
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;

use crate::log_files;

/// Monitoring gives way to what it monitors.
const NICE: i32 = 10;
/// `ioprio_set`: this process; class idle.
const IOPRIO_WHO_PROCESS: libc::c_long = 1;
const IOPRIO_IDLE: libc::c_long = 3 << 13;
/// Where memory runs out, this ends before what it monitors.
const OOM_SCORE: &[u8] = b"500";

/// Starts it with both outputs appended to `log`, and returns where in the log it begins.
pub fn begin(mut command: Command, log: &Path) -> Result<(Child, u64)> {
    log_files::put_aside(log, log_files::LIMIT_BYTES)
        .with_context(|| format!("putting {} aside", log.display()))?;
    let writing = || format!("writing {}", log.display());
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(log);
    let file = file.with_context(writing)?;
    let offset = file.metadata().with_context(writing)?.len();
    let copy = file.try_clone().with_context(writing)?;
    command.stdout(copy).stderr(file).current_dir("/");
    // SAFETY: only async-signal-safe system calls, on nothing but constants and local values; no
    // memory is allocated.
    unsafe { command.pre_exec(detach) };
    let name = command.get_program().to_string_lossy().into_owned();
    Ok((
        command
            .spawn()
            .with_context(|| format!("starting {name}"))?,
        offset,
    ))
}

/// In the new process. Only the session matters; the rest is courtesy, and may be refused.
fn detach() -> std::io::Result<()> {
    nix::unistd::setsid()?;
    if let Ok(file) = open(c"/proc/self/oom_score_adj", OFlag::O_WRONLY, Mode::empty()) {
        let _ = nix::unistd::write(&file, OOM_SCORE);
    }
    // SAFETY: both take numbers only.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
        libc::syscall(
            libc::SYS_ioprio_set,
            IOPRIO_WHO_PROCESS,
            0 as libc::c_long,
            IOPRIO_IDLE,
        );
    }
    Ok(())
}
