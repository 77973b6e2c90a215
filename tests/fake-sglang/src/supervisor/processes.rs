//! Signals and the dead: the supervisor adopts whatever its tree orphans, and waits for all of it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a killed tree may take to vanish.
const REAP_TIMEOUT: Duration = Duration::from_secs(5);
const REAP_PAUSE: Duration = Duration::from_millis(2);

/// Makes orphans of the tree children of this process, and this process end with its own parent if
/// `die_with_parent`.
///
/// # Errors
/// If the kernel refuses.
pub fn adopt_orphans(die_with_parent: bool) -> Result<()> {
    prctl::set_child_subreaper(true).context("becoming a subreaper")?;
    if die_with_parent {
        prctl::set_pdeathsig(Signal::SIGTERM).context("binding to the parent")?;
    }
    Ok(())
}

/// Sends a signal; a process that is already gone needs none.
pub fn signal(pid: Pid, signal: Signal) {
    let _ = kill(pid, signal);
}

/// Children that have ended so far, and how.
pub fn reap_ended() -> Vec<(Pid, String)> {
    std::iter::from_fn(|| match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(pid, code)) => Some((pid, format!("exit code {code}"))),
        Ok(WaitStatus::Signaled(pid, signal, _)) => Some((pid, signal.to_string())),
        _ => None,
    })
    .collect()
}

/// Waits until no child is left.
pub fn reap_all() {
    let start = Instant::now();
    while start.elapsed() < REAP_TIMEOUT {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => thread::sleep(REAP_PAUSE),
            _ => {}
        }
    }
    eprintln!(
        "fake-sglang: processes are left after {} s",
        REAP_TIMEOUT.as_secs()
    );
}
