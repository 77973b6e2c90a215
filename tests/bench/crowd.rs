//! Two thousand processes that do nothing: what a shared server looks like to whoever lists its processes.

use std::io::Read as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::Context as _;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork, getppid, pause};

const FLAG: &str = "--crowd";

/// A running crowd; ends with this.
pub struct Crowd {
    child: Child,
    _stdin: ChildStdin,
}

impl Crowd {
    /// Starts `count` processes below one.
    pub fn start(count: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([FLAG, &count.to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot start the crowd")?;
        let stdin = child.stdin.take().context("the crowd has no input")?;
        Ok(Self {
            child,
            _stdin: stdin,
        })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many processes this one shall become, if it was started as a crowd.
pub fn asked_for() -> Option<usize> {
    let mut args = std::env::args().skip(1);
    (args.next()? == FLAG).then(|| args.next()?.parse().ok())?
}

/// Becomes the crowd, until the input ends.
pub fn run(count: usize) -> anyhow::Result<()> {
    let parent = nix::unistd::getpid();
    for _ in 0..count {
        // SAFETY: this process has one thread, so the child may do whatever it could.
        if let ForkResult::Child = unsafe { fork() }? {
            let bound = prctl::set_pdeathsig(Signal::SIGKILL);
            while bound.is_ok() && getppid() == parent {
                pause();
            }
            std::process::exit(0);
        }
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
