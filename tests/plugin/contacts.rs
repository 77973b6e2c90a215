//! Whom the plugin connects to, as the kernel saw it: every `connect` of every thread, traced.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use harness::instance::only;
use harness::place::Place;
use harness::server::Server;

use crate::decoys::Decoys;
use crate::process::{Plugin, configuration, program};

/// Scrapes every second, and two rounds of asking for the load, which come every 15 s.
const WATCHED: Duration = Duration::from_secs(35);
/// What a server without metrics and without a log may be asked for.
const LOADS: &[&str] = &[
    "/metrics",
    "/v1/loads",
    "/get_load",
    "/server_info",
    "/get_server_info",
];

/// Only the servers' own ports, there only pages of metrics and of loads, and the host probe's socket.
pub fn are_expected(place: &Place) -> anyhow::Result<()> {
    let quiet = ["--scheduler-cpu", "0"];
    let start =
        |capture, more: &[&str]| Server::start(place, capture, &[&quiet[..], more].concat());
    let servers = [
        start("0.5.23", &["--tp", "4"])?,
        start("0.5.23-dp2-auth", &["--dp", "2", "--api-key", "k"])?,
        start("0.5.23", &[])?,
        start("0.5.12", &["--no-metrics"])?,
        start("0.4.6.post5", &["--no-metrics"])?,
        start("0.5.12", &["--loading"])?,
    ];
    // Sends whoever asks on to another host.
    servers[2].tell("spoil redirect")?;
    let decoys = Decoys::start(place, "contacts")?;
    // Other programs' ports that a curious one might try: a router's metrics, Ollama, Netdata, the driver's exporter.
    // The trace tells whether it does; others on this machine may.
    let tempting: Vec<_> = [29_000, 11_434, 19_999, 9_400, 8_000, 8_080, 30_000]
        .into_iter()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .collect();
    let seen: Vec<_> = servers.iter().collect();
    let conf = only(&seen);
    let fast = format!("{conf}update_every: 1\n");
    let conf = [("sglang.conf", &*fast), ("servers.conf", &*conf)];
    let conf = conf.map(|(name, text)| {
        let decoy = format!("include: ['.*:{}', ", decoys.port);
        (name, text.replacen("include: [", &decoy, 1))
    });
    let conf: Vec<_> = conf.iter().map(|(name, text)| (*name, &**text)).collect();
    let dir = configuration(place, "contacts", &conf)?;
    let trace = dir.join("trace");
    let mut command = place.command(strace()?);
    command.args([
        "-f",
        "-qq",
        "-e",
        "trace=connect",
        "-e",
        "signal=none",
        "-o",
    ]);
    command.arg(&trace).arg(program(place));
    let mut plugin = Plugin::start(command, &dir)?;
    std::thread::sleep(WATCHED);
    let log = plugin.log();
    plugin.end()?;
    let trace = std::fs::read_to_string(&trace).unwrap_or_default();
    if let Some(refusal) = log.lines().find(|line| line.starts_with("strace: ")) {
        bail!("strace may not trace here, so that nothing can be said: {refusal}");
    }
    let mut ports = BTreeSet::new();
    let mut connects = 0;
    for line in trace.lines().filter(|line| line.contains("connect(")) {
        connects += 1;
        match contact(line) {
            Contact::Port(port) => _ = ports.insert(port),
            Contact::Socket(path) if path == dir.join("rs.d-host-probe.sock").to_string_lossy() => {
            }
            _ => bail!("an unexpected contact: {line}"),
        }
    }
    ensure!(
        connects > 0,
        "nothing was traced: {trace:.1000} {log:.1000}"
    );
    let listening: BTreeSet<_> = servers[..5].iter().map(|server| server.port).collect();
    ensure!(
        ports == listening,
        "contacted {ports:?}, the servers listen on {listening:?}"
    );
    let mut requests = 0;
    for (i, server) in servers[..5].iter().enumerate() {
        let asked = server.requests()?;
        let asked = asked.as_object().context("no counts of requests")?;
        let may = if i < 3 { &LOADS[..1] } else { LOADS };
        let other = asked.keys().find(|path| !may.contains(&path.as_str()));
        ensure!(other.is_none(), "{other:?} was asked for: {asked:?}");
        ensure!(asked.contains_key("/metrics"), "not asked for metrics");
        requests += asked
            .values()
            .filter_map(serde_json::Value::as_u64)
            .sum::<u64>();
        let state = server.state()?;
        ensure!(
            state["scheduler_connections"].as_u64() == Some(0),
            "a scheduler's port was contacted: {state}"
        );
    }
    let load = servers[3].requests()?;
    ensure!(
        load["/v1/loads"].as_u64() > Some(0),
        "no load was asked for: {load}"
    );
    ensure!(decoys.contacts()? == 0, "a decoy's port was contacted");
    eprintln!(
        "{connects} connects in {} s, {requests} requests, all to the ports {ports:?}; {} other ports watched",
        WATCHED.as_secs(),
        tempting.len()
    );
    Ok(())
}

/// Whom a traced line is about.
#[derive(Debug, PartialEq)]
enum Contact {
    /// A port of 127.0.0.1.
    Port(u16),
    /// A socket in the file system.
    Socket(String),
    Other,
}

fn contact(line: &str) -> Contact {
    let between = |from: &str, to: &str| {
        let (_, rest) = line.split_once(from)?;
        Some(rest.split_once(to)?.0)
    };
    if line.contains("sa_family=AF_INET,") && line.contains("inet_addr(\"127.0.0.1\")") {
        let port = between("sin_port=htons(", ")").and_then(|port| port.parse().ok());
        return port.map_or(Contact::Other, Contact::Port);
    }
    match between("sun_path=\"", "\"") {
        Some(path) => Contact::Socket(path.to_owned()),
        None => Contact::Other,
    }
}

fn strace() -> anyhow::Result<&'static str> {
    let works = Command::new("strace").arg("-V").output();
    ensure!(
        works.is_ok_and(|output| output.status.success()),
        "strace is missing, so that nothing can be said: `scripts/setup --tests` installs it"
    );
    Ok("strace")
}
