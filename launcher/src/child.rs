//! Runs a tool that may take minutes: its lines are shown as progress and kept in a file, and an
//! interrupt or a silence ends it and whatever it started.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt;
use crate::progress::Progress;

/// How long a tool may take to clean up after TERM.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);
/// Lines kept for an error message.
const TAIL: usize = 12;
/// A line longer than this is no message.
const MAX_LINE: u64 = 4096;

/// How a tool ended.
#[derive(Debug)]
pub enum Outcome {
    /// By itself.
    Ended {
        /// Its exit status.
        status: ExitStatus,
        /// Its last lines.
        tail: Vec<String>,
    },
    /// It printed nothing for the time allowed, and was ended.
    Silent,
}

/// Runs it to its end. `first_line` bounds the time until it prints something.
///
/// # Errors
/// It cannot be started, or the launcher was interrupted.
pub fn run(
    mut command: Command,
    log: &mut File,
    progress: &Progress,
    first_line: Option<Duration>,
) -> Result<Outcome> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .with_context(|| format!("starting {name}"))?;
    let lines = lines_of(&mut child);
    let started = Instant::now();
    let mut tail = VecDeque::with_capacity(TAIL);
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => {
                // The log is for the curious; a full disk shows in the tool's own error.
                let _ = writeln!(log, "{line}");
                progress.detail(&line);
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if interrupt::is_set() {
            end(&mut child);
            interrupt::check()?;
        }
        if tail.is_empty() && first_line.is_some_and(|bound| started.elapsed() > bound) {
            end(&mut child);
            return Ok(Outcome::Silent);
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("waiting for {name}"))?;
    Ok(Outcome::Ended {
        status,
        tail: tail.into(),
    })
}

fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender);
    }
    receiver
}

fn forward(stream: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text: String = String::from_utf8_lossy(&line)
                .chars()
                .filter(|c| !c.is_control())
                .collect();
            if !text.trim().is_empty() && sender.send(text.trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
}

/// TERM to the whole group, then KILL to what is left of it.
fn end(child: &mut Child) {
    let group = Pid::from_raw(child.id().cast_signed());
    let _ = killpg(group, Signal::SIGTERM);
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline {
        if !matches!(child.try_wait(), Ok(None)) && killpg(group, None).is_err() {
            return;
        }
        thread::sleep(POLL);
    }
    let _ = killpg(group, Signal::SIGKILL);
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, bound: Option<Duration>) -> (Outcome, String) {
        let mut log = tempfile::tempfile().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let outcome = run(command, &mut log, &Progress::hidden(), bound).unwrap();
        let mut text = String::new();
        std::io::Seek::rewind(&mut log).unwrap();
        log.read_to_string(&mut text).unwrap();
        (outcome, text)
    }

    #[test]
    fn both_streams_are_logged_and_the_end_is_kept_for_the_message() {
        let (outcome, log) = shell("seq 1 20; echo last >&2; exit 3", None);
        let Outcome::Ended { status, tail } = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(status.code(), Some(3));
        assert_eq!(tail.len(), TAIL);
        assert!(log.contains("last") && log.contains("\n20\n"), "{log}");
    }

    #[test]
    fn a_silent_tool_is_ended_with_what_it_started() {
        let bound = Some(Duration::from_millis(50));
        let (outcome, _) = shell("sleep 1000 & exec sleep 1000", bound);
        assert!(matches!(outcome, Outcome::Silent), "{outcome:?}");
    }
}
