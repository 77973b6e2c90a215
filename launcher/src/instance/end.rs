//! Ends an instance with everything it started, and nothing else.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Instance, Record};
use crate::process::Process;

/// Netdata writes its database on TERM: 1 to 2 s, more on a slow disk.
const CLEAN: Duration = Duration::from_secs(15);
/// For what has lost its parent: it has nothing to write.
const ORPHANED: Duration = Duration::from_secs(1);
/// Between KILL and the kernel's end of a process.
const KILLED: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

impl Instance {
    /// TERM, time to end, KILL.
    ///
    /// # Errors
    /// Something survives KILL: it hangs in the kernel.
    pub fn end(&self, record: &Record) -> Result<()> {
        self.end_within(record, CLEAN, ORPHANED)
    }

    fn end_within(&self, record: &Record, clean: Duration, orphaned: Duration) -> Result<()> {
        let members = self.members(record);
        if members.is_empty() {
            return Ok(());
        }
        if self.leader(record) {
            // The runtime passes it on and ends after Netdata.
            self.signal(&members, Signal::SIGTERM, |process| {
                process.pid == record.pid
            });
            // What is held because the disk is full could not end.
            self.signal(&members, Signal::SIGCONT, |process| process.stopped);
            let leader_ends = Instant::now() + clean;
            while Instant::now() < leader_ends && self.leader(record) {
                thread::sleep(POLL);
            }
        } else {
            self.signal(&members, Signal::SIGTERM, |_| true);
        }
        // The image's mount leaves by itself once nobody uses it.
        let rest_ends = Instant::now() + orphaned;
        while Instant::now() < rest_ends && !self.living(record).is_empty() {
            thread::sleep(POLL);
        }
        let killed = Instant::now() + KILLED;
        loop {
            let left = self.living(record);
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= killed {
                let names: Vec<String> = left
                    .iter()
                    .map(|p| format!("{} (pid {})", p.comm.escape_debug(), p.pid))
                    .collect();
                bail!(
                    "these cannot be ended, they hang in the kernel: {}",
                    names.join(", ")
                );
            }
            self.signal(&left, Signal::SIGKILL, |_| true);
            thread::sleep(POLL);
        }
    }

    /// What lives of a session that was ours a moment ago: also what was forked since, by processes
    /// that are gone themselves. Its number cannot be another session's yet, unless another process
    /// bears it.
    fn living(&self, record: &Record) -> Vec<Process> {
        match self.proc.get(record.pid) {
            Some(other) if other.start_ticks != record.start_ticks => Vec::new(),
            _ => self.proc.session(record.pid),
        }
    }

    fn signal(&self, processes: &[Process], signal: Signal, to: impl Fn(&Process) -> bool) {
        for process in processes.iter().filter(|process| to(process)) {
            // Not one that took its number since.
            if self
                .proc
                .get(process.pid)
                .is_some_and(|now| same(&now, process))
            {
                let _ = kill(Pid::from_raw(process.pid), signal);
            }
        }
    }
}

fn same(a: &Process, b: &Process) -> bool {
    (a.pid, a.start_ticks) == (b.pid, b.start_ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::State;
    use crate::paths::Paths;
    use crate::process::Proc;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    /// A session of its own, as `start` makes it.
    fn session(script: &str) -> Child {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        // SAFETY: setsid is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
        command.spawn().unwrap()
    }

    fn instance(pid: u32) -> (tempfile::TempDir, Instance, Record) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        let proc = Proc::system();
        let instance = Instance::new(&proc, &paths, "host");
        let pid = pid.cast_signed();
        let record = Record {
            pid,
            start_ticks: proc.get(pid).unwrap().start_ticks,
            boot_id: proc.boot_id().unwrap(),
            host: "host".to_owned(),
            listen: "127.0.0.1".to_owned(),
            port: 1,
            image: "/none".into(),
            image_id: None,
        };
        instance.write(&record).unwrap();
        (dir, instance, record)
    }

    #[test]
    fn a_session_that_ignores_term_is_killed_with_its_children() {
        let mut child = session("trap '' TERM; sleep 1000 & while :; do sleep 1000; done");
        let (_dir, instance, record) = instance(child.id());
        let reaper = thread::spawn(move || child.wait());
        instance.end_within(&record, POLL, POLL).unwrap();
        reaper.join().unwrap().unwrap();
        assert!(instance.proc.session(record.pid).is_empty());
        assert!(matches!(instance.state().unwrap(), State::Gone(..)));
    }

    #[test]
    fn a_foreign_session_of_that_number_is_left_alone() {
        let mut child = session("exec sleep 1000");
        let (_dir, instance, record) = instance(child.id());
        let stale = Record {
            start_ticks: record.start_ticks + 1,
            ..record
        };
        instance.end(&stale).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
