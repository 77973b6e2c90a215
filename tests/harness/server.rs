//! A replayed SGLang server, started as the ordinary user and ended with the test.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::place::{Place, free_port};
use crate::wait_for;

/// Time within which a replayed server listens.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A running replayed server.
pub struct Server {
    /// Where it listens on loopback.
    pub port: u16,
    /// Folder of the capture it replays.
    pub capture: PathBuf,
    control: PathBuf,
    child: Child,
}

impl Server {
    /// Starts one that replays `capture` (a folder below the fixtures) with further `options`.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start(place: &Place, capture: &str, options: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(place, capture, options, |_| {})
    }

    /// The same with its standard error, where it logs, in a file.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start_logging(
        place: &Place,
        capture: &str,
        options: &[&str],
        log: &Path,
    ) -> anyhow::Result<Self> {
        place.write(log, "")?;
        let log = File::options().append(true).open(log)?;
        Self::start_as(place, capture, options, |command| {
            command.stderr(log);
        })
    }

    /// The same with its command changed by `adjust`: its environment, where it logs.
    ///
    /// # Errors
    /// When it does not listen in time.
    pub fn start_as(
        place: &Place,
        capture: &str,
        options: &[&str],
        adjust: impl FnOnce(&mut Command),
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let control = place.dir.join(format!("server-{port}.sock"));
        let capture = place.captures.join(capture);
        let mut command = place.command(place.dist.join("simulated/fake-sglang"));
        command
            .arg("run")
            .arg("--capture")
            .arg(&capture)
            .args(["--port", &port.to_string(), "--unrounded"])
            .arg("--control")
            .arg(&control)
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        adjust(&mut command);
        let child = command
            .spawn()
            .context("cannot start the replayed server")?;
        let server = Self {
            port,
            capture,
            control,
            child,
        };
        wait_for("the replayed server", LISTENS_WITHIN, || server.state())?;
        Ok(server)
    }

    /// Sends one command to its control socket; the reply.
    ///
    /// # Errors
    /// When it does not reply.
    pub fn tell(&self, command: &str) -> anyhow::Result<String> {
        let mut socket = UnixStream::connect(&self.control)?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        writeln!(socket, "{command}")?;
        let mut reply = String::new();
        BufReader::new(socket).read_line(&mut reply)?;
        ensure!(!reply.starts_with("error"), "{command}: {reply}");
        Ok(reply)
    }

    /// What it says of itself: start, growth, pids by role.
    ///
    /// # Errors
    /// When it does not reply.
    pub fn state(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.tell("state")?)?)
    }

    /// How often each path was asked for.
    ///
    /// # Errors
    /// When it does not reply.
    pub fn requests(&self) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.tell("requests")?)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.tell("quit");
        let gone = wait_for("the end", Duration::from_secs(5), || {
            self.child.try_wait()?.context("still running")
        });
        if gone.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
