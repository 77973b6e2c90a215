//! Servers that hold keys in every place where a server may have them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::place::Place;
use crate::server::Server;

/// The key without which the server with two replicas answers nothing but `/metrics`.
pub const ASKED_FOR: &str = "asked-s3cret";
/// What the servers of the tests hold as keys: in their arguments, their environment, the labels of their metrics, their
/// logs, and in what `/server_info` answered when it was captured.
pub const KEYS: &[&str] = &[
    ASKED_FOR,
    "argv-s3cret",
    "admin-s3cret",
    "env-s3cret",
    "label-s3cret",
    "log-s3cret",
    "secret123",
    "admin456",
];
const CMDLINE: &str = "python3 -m sglang.launch_server --model-path org/Model-7B --port {port} \
                       --api-key argv-s3cret --admin-api-key=admin-s3cret";
/// Lines as SGLang writes them: its arguments, and a request that speaks like a line of statistics.
const LOGGED: &str = "[2026-01-01 00:00:00] server_args=ServerArgs(api_key='log-s3cret', admin_api_key='log-s3cret')\n\
    [2026-01-01 00:00:00] Receive: obj=GenerateReqInput(text='Decode batch, #running-req: 7, log-s3cret')\n\
    [2026-01-01 00:00:00] INFO: 127.0.0.1 - \"GET /?api_key=log-s3cret HTTP/1.1\" 200 OK\n";

/// Servers that hold keys.
pub struct Bearers {
    /// With metrics, and keys in their labels.
    pub showing: Server,
    /// Without; its log is a file.
    pub logging: Server,
    /// Without, and no log: its endpoints are asked.
    pub asked: Server,
}

impl Bearers {
    /// Starts them.
    ///
    /// # Errors
    /// When one does not listen in time.
    pub fn start(place: &Place) -> anyhow::Result<Self> {
        let capture = labelled(place)?;
        let capture = capture.to_str().context("a path that is no text")?;
        let with_environment = |command: &mut Command| {
            command
                .env("SGLANG_API_KEY", "env-s3cret")
                .env("OPENAI_API_KEY", "env-s3cret")
                .env("CUDA_VISIBLE_DEVICES", "0");
        };
        let common = ["--dp", "2", "--scheduler-cpu", "0", "--cmdline", CMDLINE];
        let showing = [&common[..], &["--growth", "4"]].concat();
        let silent = [&common[..], &["--no-metrics"]].concat();
        let logging = [&silent[..], &["--log", "60"]].concat();
        let log = Self::log(place);
        place.write(&log, LOGGED)?;
        let file = File::options().append(true).open(&log)?;
        let bearers = Self {
            showing: Server::start_as(place, capture, &showing, with_environment)?,
            logging: Server::start_as(place, capture, &logging, |command| {
                with_environment(command);
                command.stderr(file);
            })?,
            asked: Server::start_as(place, "0.5.23-dp2-auth", &silent, with_environment)?,
        };
        let mut again = File::options().append(true).open(&log)?;
        again.write_all(LOGGED.as_bytes())?;
        Ok(bearers)
    }

    /// The file that [`logging`](Self::logging) writes to.
    #[must_use]
    pub fn log(place: &Place) -> PathBuf {
        place.dir.join("bearer.log")
    }

    /// All of them.
    #[must_use]
    pub fn servers(&self) -> [&Server; 3] {
        [&self.showing, &self.logging, &self.asked]
    }
}

/// The capture of the server with two replicas, each of its series with keys as labels.
fn labelled(place: &Place) -> anyhow::Result<PathBuf> {
    let from = place.captures.join("0.5.23-dp2-auth");
    let to = place.dir.join("labelled-capture");
    place.make_dir(&to)?;
    for entry in std::fs::read_dir(&from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        if entry.file_name().to_string_lossy().starts_with("metrics_") {
            place.write(&path, &with_keys(&entry.path())?)?;
        } else {
            std::fs::copy(entry.path(), path)?;
        }
    }
    Ok(to)
}

fn with_keys(page: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(page)?;
    let labels = "api_key=\"label-s3cret\",admin_api_key=\"label-s3cret\",authorization=\"Bearer label-s3cret\"";
    Ok(text.replace("cluster=\"lab\"", labels))
}

/// Fails if `text`, all that was said in `place`, holds a key or says next to nothing.
///
/// # Errors
/// With the key, and what stands before it in its line.
pub fn holds_no_key(place: &str, text: &str) -> anyhow::Result<()> {
    ensure!(text.len() > 100, "{place} says nothing: {text}");
    for key in KEYS {
        let at = text.find(key);
        let before = at.map(|at| text[..at].lines().next_back().unwrap_or_default());
        ensure!(at.is_none(), "{key} in {place}, after {before:?}");
    }
    eprintln!("{place}: {} bytes without a key", text.len());
    Ok(())
}
