//! Alerts of the real Netdata, told to a receiver on loopback by the launcher's sender inside the container.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::watch::Watch;

const SECRET: &str = "T0PS3CRETHOOK";

/// On for 15 s, off for 15 s.
const PLUGIN: &str = "#!/bin/sh\n\
    echo \"CHART toggle.value '' 'A toggle' on toggle toggle.value line 1 1\"\n\
    echo \"DIMENSION on '' absolute 1 1\"\n\
    while :; do printf 'BEGIN toggle.value\\nSET on = %d\\nEND\\n' $(( $(date +%s) / 15 % 2 )); sleep 1; done\n";

const ALERT: &str = "alarm: toggled\n   on: toggle.value\n calc: $on\nevery: 1s\n warn: $this > 0\n   to: sysadmin\n info: somebody toggled it\n";

/// Raised, cleared and raised again, each told once and in its order; no process ever shows the address.
pub fn told_once_and_nowhere_shown(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "notify", &[])?;
    instance.configure(&[
        ("custom-plugins.d/toggle.plugin", PLUGIN),
        ("health.d/toggle.conf", ALERT),
    ])?;
    let plugin = instance
        .home
        .join("state/config/custom-plugins.d/toggle.plugin");
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755))?;
    let (port, messages) = receiver()?;
    let url = place.dir.join("webhook");
    place.write(&url, &format!("http://127.0.0.1:{port}/{SECRET}\n"))?;
    let watch = Watch::begin(&[SECRET]);
    instance.start()?;
    // While it runs: no restart is needed.
    let url = url.to_str().context("a path that is no text")?;
    let outcome = instance.launcher(&["notify", "set", "slack", "--url-file", url])?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let mut told = vec![];
    let until = Instant::now() + Duration::from_secs(180);
    while told.iter().filter(|level| **level == "CLEAR").count() < 2 {
        let left = until.saturating_duration_since(Instant::now());
        let message = messages
            .recv_timeout(left)
            .with_context(|| format!("only {told:?}; {}", last_words(&instance)))?;
        ensure!(message.contains(&format!("POST /{SECRET} ")), "{message}");
        if !message.contains("toggled") {
            continue;
        }
        let level = ["WARNING", "CLEAR"]
            .into_iter()
            .find(|level| message.contains(*level));
        told.push(level.with_context(|| message.clone())?);
        ensure!(message.contains("somebody toggled it"), "{message}");
    }
    eprintln!("told: {told:?}; {} looks at all processes", watch.looks());
    let alternate = told.windows(2).all(|pair| pair[0] != pair[1]);
    ensure!(
        alternate && told[0] == "WARNING",
        "told twice, or the end first: {told:?}"
    );
    watch.end()?;
    ensure!(
        !instance.logs().contains(SECRET),
        "the address is in the log"
    );
    let report = instance.home.join("report");
    let path = report.to_str().context("a path that is no text")?;
    instance.launcher(&["doctor", "--report", path])?;
    let report = std::fs::read_to_string(&report)?;
    ensure!(
        report.len() > 500 && !report.contains(SECRET),
        "the address is in the report"
    );
    instance.stop()?;
    Ok(())
}

fn last_words(instance: &Instance) -> String {
    let logs = instance.logs();
    let lines: Vec<&str> = logs
        .lines()
        .filter(|line| line.contains("toggle"))
        .collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

fn receiver() -> anyhow::Result<(u16, Receiver<String>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let (sender, messages) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = take(&stream, &sender);
        }
    });
    Ok((port, messages))
}

fn take(stream: &TcpStream, sender: &Sender<String>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        text += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    text += &String::from_utf8_lossy(&body);
    // Slow, so that the sender is seen while it waits.
    thread::sleep(Duration::from_secs(1));
    let mut writer = stream;
    writer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let _ = sender.send(text);
    Ok(())
}
