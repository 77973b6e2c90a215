//! Everything that a server can do wrong, at once, each by a server of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::instance::only;
use harness::place::Place;
use harness::server::Server;
use procfs::process::Process;

use crate::decoys::Decoys;
use crate::process::{Plugin, Said, configuration, program};

/// Seconds between scrapes: more of them in the time of a test than by default.
const EVERY: &str = "update_every: 2\n";
/// Longest time until the state of a server is what it should be: a minute without movement is a stall, and
/// intervals are stretched where a scrape takes long.
const KNOWN_WITHIN: Duration = Duration::from_secs(75);
/// How long they go on once all is known.
const GOES_ON: Duration = Duration::from_secs(20);
/// Most that the plugin may ever have held, in KiB.
const MEMORY_KIB: u64 = 20 * 1024;

/// What a server does, how that ends, and the state it is in meanwhile.
struct Misdeed {
    name: &'static str,
    begin: &'static str,
    end: &'static str,
    state: &'static str,
}

const fn misdeed(
    name: &'static str,
    begin: &'static str,
    end: &'static str,
    state: &'static str,
) -> Misdeed {
    Misdeed {
        name,
        begin,
        end,
        state,
    }
}

/// Of servers that die, hang or refuse. The first of each list does nothing wrong.
const REFUSALS: &[Misdeed] = &[
    misdeed("none", "state", "state", "ready"),
    misdeed(RESTART, "restart loading", "listen", "starting"),
    misdeed("stall", "stop-scheduler", "cont-scheduler", "stalled"),
    misdeed("hang", "hang on", "hang off", "unreachable"),
    misdeed("drip", "spoil drip", "spoil off", "unreachable"),
    misdeed("500", "status 500", "status 200", "unreachable"),
    misdeed("404", "status 404", "status 200", "no_metrics"),
    misdeed("redirect", "spoil redirect", "spoil off", "unreachable"),
];

/// Of pages that are too long, too short, or packed.
const LENGTHS: &[Misdeed] = &[
    misdeed("none", "state", "state", "ready"),
    misdeed("truncated", "spoil truncated", "spoil off", "unreachable"),
    misdeed("50 MB", "spoil huge", "spoil off", "unreachable"),
    misdeed("gzip bomb", "spoil bomb", "spoil off", "unreachable"),
    misdeed("gzip", "spoil gzip", "spoil off", "ready"),
];

/// Of pages that say something else.
const CONTENTS: &[Misdeed] = &[
    misdeed("none", "state", "state", "ready"),
    misdeed("web page", "spoil html", "spoil off", "no_metrics"),
    misdeed("binary", "spoil binary", "spoil off", "no_metrics"),
    misdeed("labels", "spoil labels", "spoil off", "ready"),
    misdeed(RANKS, "spoil ranks", "spoil off", "ready"),
];

const RESTART: &str = "restart";
const RANKS: &str = "ranks";

/// Servers that die, hang or refuse, and decoys.
pub fn of_servers(place: &Place) -> anyhow::Result<()> {
    is_their_own(place, "servers", REFUSALS)
}

/// Pages that are too long, too short, or packed.
pub fn of_lengths(place: &Place) -> anyhow::Result<()> {
    is_their_own(place, "lengths", LENGTHS)
}

/// Pages that say something else.
pub fn of_contents(place: &Place) -> anyhow::Result<()> {
    is_their_own(place, "contents", CONTENTS)
}

/// Each server's own state changes, every other chart keeps its tick, memory is bounded, and all recover.
fn is_their_own(place: &Place, name: &str, misdeeds: &[Misdeed]) -> anyhow::Result<()> {
    let options = ["--growth", "4", "--scheduler-cpu", "0"];
    let start = |misdeed: &Misdeed| {
        // Ranks are added to a server that has some.
        let ranked = misdeed.name == RANKS;
        let capture = if ranked { "0.5.23-dp2-auth" } else { "0.5.23" };
        Server::start(place, capture, &options)
    };
    let servers: Vec<_> = misdeeds.iter().map(start).collect::<Result<_, _>>()?;
    let decoys = Decoys::start(place, name)?;
    let named: Vec<_> = servers.iter().collect();
    let conf = format!("{}{EVERY}", only(&named));
    let conf = conf.replacen(
        "include: [",
        &format!("include: ['.*:{}', ", decoys.port),
        1,
    );
    let files = [("sglang.conf", &*conf), ("servers.conf", &only(&named))];
    let dir = configuration(place, name, &files)?;
    let plugin = Plugin::start(place.command(program(place)), &dir)?;
    let state = |said: &Said, server: &Server, state: &str| {
        let chart = format!("sglang_{}.server_state", server.port);
        said.newest(&chart, state).is_some_and(|(_, is)| is == 1)
    };
    let all_are = |which: fn(&Misdeed) -> &str| {
        plugin.wait_for("the states of all servers", KNOWN_WITHIN, || {
            let other: Vec<_> = plugin.said(|said| {
                let all = misdeeds.iter().zip(&servers);
                let other = all.filter(|(misdeed, server)| !state(said, server, which(misdeed)));
                other.map(|(misdeed, _)| misdeed.name).collect()
            });
            ensure!(other.is_empty(), "still otherwise: {other:?}");
            Ok(())
        })
    };
    all_are(|_| "ready")?;
    let began = Instant::now();
    for (misdeed, server) in misdeeds.iter().zip(&servers) {
        server.tell(misdeed.begin).context(misdeed.name)?;
    }
    all_are(|misdeed| misdeed.state)?;
    let known = began.elapsed();
    std::thread::sleep(GOES_ON);
    all_are(|misdeed| misdeed.state)?;
    for (misdeed, server) in misdeeds.iter().zip(&servers) {
        server.tell(misdeed.end).context(misdeed.name)?;
    }
    all_are(|_| "ready")?;
    let ended = Instant::now();
    let most = memory_kib(plugin.pid())?;
    eprintln!(
        "{name}, {} of them: every state known after {:.0} s, all ready again after {:.0} s, at most {:.1} MiB",
        servers.len(),
        known.as_secs_f64(),
        (ended - began).as_secs_f64(),
        most as f64 / 1024.0
    );
    let mut both = misdeeds.iter().zip(&servers);
    let restarted = both
        .find(|(it, _)| it.name == RESTART)
        .map(|(_, server)| server);
    plugin.said(|said| keeps_tick(said, &servers, restarted, began, ended))?;
    let decoy = format!("_{}.", decoys.port);
    let charted = plugin.said(|said| said.values.keys().any(|(chart, _)| chart.contains(&decoy)));
    ensure!(!charted, "a decoy is charted");
    ensure!(decoys.contacts()? == 0, "a decoy's port was contacted");
    for (misdeed, server) in misdeeds.iter().zip(&servers) {
        let (chart, dim) = match misdeed.name {
            RESTART => (format!("server_{}.restarts", server.port), "restarts"),
            RANKS => (
                format!("sglang_{}.dp15_requests_in_flight", server.port),
                "running",
            ),
            _ => continue,
        };
        let newest = plugin.said(|said| said.newest(&chart, dim));
        ensure!(newest.is_some_and(|(_, it)| it > 0), "{chart}: {newest:?}");
    }
    ensure!(
        most <= MEMORY_KIB,
        "{most} KiB of memory at most, {MEMORY_KIB} are allowed"
    );
    Ok(())
}

/// Every chart that is not of a misbehaving server has had a value on each of its ticks.
fn keeps_tick(
    said: &Said,
    servers: &[Server],
    restarted: Option<&Server>,
    began: Instant,
    ended: Instant,
) -> anyhow::Result<()> {
    // What a server says of itself is its own business; its processes are looked at as ever, but for the one that
    // started anew.
    let mut faulty: Vec<_> = servers[1..]
        .iter()
        .map(|server| format!("sglang_{}.", server.port))
        .collect();
    faulty.extend(restarted.map(|server| format!("server_{}.", server.port)));
    let mut charts = BTreeMap::<&str, Vec<Instant>>::new();
    for ((chart, _), values) in &said.values {
        // The simulated GPUs run whatever looks like a scheduler on this machine, other tests' servers as well.
        if chart.ends_with("_process_memory") || chart.ends_with("_held_idle_memory") {
            continue;
        }
        if !faulty.iter().any(|prefix| chart.starts_with(prefix)) {
            let times = values.iter().map(|(at, _)| *at);
            charts.entry(chart).or_default().extend(times);
        }
    }
    let (mut compared, mut late) = (0, vec![]);
    for (chart, mut times) in charts {
        times.sort_unstable();
        let every = said.intervals.get(chart).and_then(|all| all.iter().max());
        let every = Duration::from_secs(*every.with_context(|| chart.to_owned())?);
        // What came or went meanwhile with what it is about has no tick to keep.
        let there = times.first().is_some_and(|at| *at < began);
        times.retain(|at| (began..=ended).contains(at));
        if !there || times.is_empty() {
            continue;
        }
        let edges = [began].into_iter().chain(times).chain([ended]);
        let edges: Vec<_> = edges.collect();
        let pauses = edges.windows(2).map(|two| two[1] - two[0]);
        let longest = pauses.max().unwrap_or_default();
        compared += 1;
        // A tick that is missing makes a pause of two intervals; one that comes late, of less.
        if longest >= 2 * every {
            late.push(format!("{chart}: {longest:?} at {every:?}"));
        }
    }
    eprintln!(
        "{compared} charts of others kept their tick, {} did not",
        late.len()
    );
    ensure!(compared > 150, "only {compared} charts of others");
    ensure!(late.is_empty(), "ticks are missing: {late:#?}");
    Ok(())
}

/// The most that a process has ever held, in KiB.
fn memory_kib(pid: u32) -> anyhow::Result<u64> {
    let status = Process::new(i32::try_from(pid)?)?.status()?;
    status.vmhwm.context("no VmHWM")
}
