//! Keys in every place where a server may have them, and none where we show anything.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::place::Place;
use harness::server::Server;
use procfs::process::Process;

use super::Scene;

/// The key without which the server with two replicas answers nothing but `/metrics`.
pub const ASKED_FOR: &str = "asked-s3cret";
/// What the scene's servers hold as keys: in their arguments, their environment, the labels of their metrics, their
/// logs, and in what `/server_info` answered when it was captured.
const KEYS: &[&str] = &[
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
    showing: Server,
    /// Without; its log is a file.
    logging: Server,
    /// Without, and no log: its endpoints are asked.
    asked: Server,
}

impl Bearers {
    /// Starts them.
    pub fn start(place: &Place) -> anyhow::Result<Self> {
        let capture = labelled(place)?;
        let capture = capture.to_str().context("a path that is no text")?;
        let with_environment = |command: &mut std::process::Command| {
            command
                .env("SGLANG_API_KEY", "env-s3cret")
                .env("OPENAI_API_KEY", "env-s3cret")
                .env("CUDA_VISIBLE_DEVICES", "0");
        };
        let common = ["--dp", "2", "--scheduler-cpu", "0", "--cmdline", CMDLINE];
        let showing = [&common[..], &["--growth", "4"]].concat();
        let silent = [&common[..], &["--no-metrics"]].concat();
        let logging = [&silent[..], &["--log", "60"]].concat();
        let log = place.dir.join("bearer.log");
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

    /// All of them.
    pub fn servers(&self) -> [&Server; 3] {
        [&self.showing, &self.logging, &self.asked]
    }
}

/// In no log, label, chart, dimension or error, and in no answer of the host probe there is a key.
pub fn appear_nowhere(scene: &Scene) -> anyhow::Result<()> {
    // Its log is read from the second look on, its endpoints are asked every 15 s, its metrics charted.
    scene.wait_until(Duration::from_secs(60));
    let bearers = &scene.bearers;
    let mut probe = String::new();
    for server in bearers.servers() {
        probe += &all_that_the_probe_says(scene, server)?;
    }
    ensure!(
        probe.contains("Decode batch") && probe.contains("CUDA_VISIBLE_DEVICES"),
        "not the whole of what the probe says: {probe:.2000}"
    );
    scene.newest(&bearers.showing, "token_throughput", "decode")?;
    scene.newest(&bearers.showing, "decode_sum_seq_lens_gauge", "value")?;
    scene.newest(&bearers.logging, "token_throughput", "decode")?;
    scene.newest(&bearers.asked, "requests_in_flight", "running")?;
    let api = scene.instance.api();
    let logs = scene.instance.logs();
    ensure!(
        logs.contains("--enable-metrics") && logs.contains(&bearers.asked.port.to_string()),
        "not the whole of the logs"
    );
    let said = [
        ("the host probe", probe),
        ("the logs", logs),
        ("/api/v1/charts", api.text("/api/v1/charts")?),
        ("allmetrics", api.text("/api/v1/allmetrics?format=json")?),
        (
            "allmetrics for Prometheus",
            api.text("/api/v1/allmetrics?format=prometheus_all_hosts&variables=yes")?,
        ),
        ("the alerts", api.text("/api/v1/alarms?all")?),
        ("the log of alerts", api.text("/api/v1/alarm_log")?),
    ];
    for (place, text) in &said {
        ensure!(text.len() > 100, "{place} says nothing: {text}");
        for key in KEYS {
            let at = text.find(key);
            let around = at.map(|at| text[..at].lines().next_back().unwrap_or_default());
            ensure!(at.is_none(), "{key} in {place}, after {around:?}");
        }
        eprintln!("{place}: {} bytes without a key", text.len());
    }
    Ok(())
}

/// Every request that the probe knows, for every process of `server`.
fn all_that_the_probe_says(scene: &Scene, server: &Server) -> anyhow::Result<String> {
    const ASK: &str = "import socket, sys\n\
        for request in sys.argv[2:]:\n \
        s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1])\n \
        s.sendall((request + '\\n').encode()); print(s.makefile().read())\n";
    let socket = scene.instance.home.join("state/run/rs.d-host-probe.sock");
    // A link of a length that an address has room for.
    let link = format!("/tmp/probe-{}-{}", std::process::id(), server.port);
    let link = PathBuf::from(link);
    std::os::unix::fs::symlink(socket.parent().context("no directory")?, &link)?;
    let pids = server.state()?["pids"].clone();
    let pids = pids.as_object().context("no pids")?.values();
    let pids = pids.filter_map(|pids| pids.as_array()).flatten();
    let begin = begin_of_log(&scene.place)?;
    let mut requests = vec![];
    for pid in pids.filter_map(serde_json::Value::as_i64) {
        let start = Process::new(i32::try_from(pid)?)?.stat()?.starttime;
        for verb in ["listening", "usage", "pss", "place"] {
            requests.push(format!("{verb} {pid}:{start}"));
        }
        // From the beginning of its log.
        for (stdout, stderr) in [("-", "-"), (&*begin, "-"), ("-", &*begin)] {
            requests.push(format!("log {pid}:{start} {stdout},{stderr}"));
        }
    }
    let mut command = scene.place.command(&scene.place.python);
    let output = command
        .args(["-c", ASK])
        .arg(link.join("rs.d-host-probe.sock"))
        .args(requests)
        .output();
    std::fs::remove_file(&link)?;
    let output = output?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The begin of the log, as a cursor of the probe's: device, inode, offset.
fn begin_of_log(place: &Place) -> anyhow::Result<String> {
    let log = std::fs::metadata(place.dir.join("bearer.log"))?;
    Ok(format!("{}:{}:0", log.dev(), log.ino()))
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
