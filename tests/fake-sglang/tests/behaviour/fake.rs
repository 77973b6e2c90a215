//! A running fake-sglang, ended with the test, and the little it takes to talk to it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(10);

/// A started server.
pub struct Fake {
    pub run: Child,
    pub port: u16,
    pub folder: TempDir,
}

/// The fixtures of one version.
pub fn fixture(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fixtures/sglang")
        .join(version)
}

fn command(version: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-sglang"));
    command
        .args(["run", "--die-with-parent", "--capture"])
        .arg(fixture(version))
        .args(arguments);
    command.stdout(Stdio::piped());
    command
}

/// Expects a start to fail, and returns what was said about it.
pub fn fails(arguments: &[&str]) -> String {
    let mut run = command("0.5.23", arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr: ChildStderr = run.stderr.take().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert!(!run.wait().unwrap().success(), "it started: {said}");
    said
}

impl Fake {
    /// Starts a capture's server on a free port.
    pub fn start(version: &str, arguments: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut command = command(version, arguments);
        command
            .args(["--port", "0", "--control"])
            .arg(folder.path().join("control"));
        command.arg("--pid-file").arg(folder.path().join("pid"));
        let mut run = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(run.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let port = url.and_then(|url| url.rsplit_once(':')?.1.parse().ok());
        Self {
            run,
            port: port.unwrap_or_else(|| panic!("no port in {line:?}")),
            folder,
        }
    }

    /// Sends a command and returns its reply.
    pub fn ask(&self, command: &str) -> String {
        let stream = UnixStream::connect(self.folder.path().join("control")).unwrap();
        writeln!(&stream, "{command}").unwrap();
        let mut reply = String::new();
        BufReader::new(&stream).read_line(&mut reply).unwrap();
        reply.trim_end().to_owned()
    }

    /// Sends a command that must succeed.
    pub fn tell(&self, command: &str) {
        assert_eq!(self.ask(command), "ok", "{command}");
    }

    /// The reply to `state`.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.ask("state")).unwrap()
    }

    /// Seconds since the server started.
    pub fn elapsed(&self) -> f64 {
        self.state()["elapsed"].as_f64().unwrap()
    }

    /// Pids of a role.
    pub fn pids(&self, role: &str) -> Vec<u64> {
        let state = self.state();
        let pids = state["pids"][role].as_array().cloned().unwrap_or_default();
        pids.iter().map(|pid| pid.as_u64().unwrap()).collect()
    }

    /// Every process of the tree below `run`.
    pub fn tree(&self) -> Vec<u64> {
        let roles = [
            "server",
            "tracker",
            "controller",
            "schedulers",
            "detokenizer",
        ];
        roles.iter().flat_map(|role| self.pids(role)).collect()
    }

    /// Status and body of a GET without chunks.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head.split(' ').nth(1).unwrap().parse().unwrap(),
            body.to_owned(),
        )
    }

    /// The samples of `/metrics`.
    pub fn samples(&self) -> BTreeMap<String, f64> {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200);
        samples(&page)
    }

    /// Sends `signal` to the process that was started.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.run.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if let Ok(None) = self.run.try_wait() {
            self.signal(Signal::SIGTERM);
            let _ = self.run.wait();
        }
    }
}

/// `name{labels}` and values of a page.
pub fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let split = lines.map(|line| line.rsplit_once(' ').unwrap());
    split
        .map(|(head, value)| (head.to_owned(), value.parse().unwrap()))
        .collect()
}

/// A file of /proc/PID; `None` when the process is gone or only waits to be reaped.
pub fn proc_file(pid: u64, name: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    if stat.rsplit_once(')')?.1.starts_with(" Z") {
        return None;
    }
    fs::read(format!("/proc/{pid}/{name}"))
        .ok()
        .map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Parent and state of a process.
pub fn parent_and_state(pid: u64) -> (u64, String) {
    let stat = proc_file(pid, "stat").unwrap();
    let mut fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let state = fields.next().unwrap().to_owned();
    (fields.next().unwrap().parse().unwrap(), state)
}

/// Waits until `true`, or fails.
pub fn eventually(what: &str, check: impl Fn() -> bool) {
    let start = Instant::now();
    while !check() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
