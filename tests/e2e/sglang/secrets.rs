//! Keys in every place where a server may have them, and none where we show anything.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::bearers::{Bearers, holds_no_key};
use harness::place::Place;
use harness::server::Server;
use procfs::process::Process;

use super::Scene;

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
        holds_no_key(place, text)?;
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
    let log = std::fs::metadata(Bearers::log(place))?;
    Ok(format!("{}:{}:0", log.dev(), log.ino()))
}
