//! Asks a program something, with a bound on its time and on its answer.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const MAX_BYTES: u64 = 1 << 20;
const POLL: Duration = Duration::from_millis(20);

/// What it printed, on both outputs, and whether it succeeded.
#[derive(Debug)]
pub struct Answer {
    /// Exit code 0.
    pub ok: bool,
    /// Both outputs, in no certain order.
    pub text: String,
}

impl Answer {
    /// Its last line that says something.
    pub fn last_line(&self) -> &str {
        let mut lines = self.text.lines().rev().map(str::trim);
        lines
            .find(|line| !line.is_empty() && !line.starts_with("INFO:"))
            .unwrap_or("it said nothing")
    }
}

/// None if it cannot be started or has not ended in time; then it is ended, with its children.
pub fn ask(mut command: Command, within: Duration) -> Option<Answer> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .ok()?;
    let read = |stream: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.by_ref().take(MAX_BYTES).read_to_end(&mut text);
                // The rest is not kept, but a full pipe would hold the program up.
                let _ = std::io::copy(&mut stream, &mut std::io::sink());
            }
            text
        })
    };
    let streams = [
        read(child.stdout.take().map(|stream| Box::new(stream) as _)),
        read(child.stderr.take().map(|stream| Box::new(stream) as _)),
    ];
    let deadline = Instant::now() + within;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
            _ => {
                let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
                let _ = child.wait();
                return None;
            }
        }
    };
    let mut text = String::new();
    for stream in streams {
        text += &String::from_utf8_lossy(&stream.join().ok()?);
    }
    Some(Answer {
        ok: status.success(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 1000 & sleep 1000"]);
        assert!(ask(command, Duration::from_millis(50)).is_none());
    }

    #[test]
    fn both_outputs_are_the_answer() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo a; echo 'INFO: b' >&2; exit 3"]);
        let answer = ask(command, Duration::from_secs(10)).unwrap();
        assert!(!answer.ok && answer.text.contains("INFO: b"));
        assert_eq!(
            Answer {
                ok: true,
                text: "a\nINFO: b\n\n".to_owned()
            }
            .last_line(),
            "a"
        );
    }
}
