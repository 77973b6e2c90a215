//! What is a stall and what is none.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::server::Server;
use harness::{unix_now, wait_for};

use super::{LONGEST_INTERVALS, Scene};

/// How long what is left of a load is held.
const HELD: Duration = Duration::from_secs(120);
/// Two scrapes even where they are a minute apart.
const TWO_SCRAPES: Duration = Duration::from_secs(LONGEST_INTERVALS);
/// A minute without movement, and two looks at the processes.
const STALLED_WITHIN: Duration = Duration::from_secs(75);

/// The pages of a load, then the page 12 s after its end, held: its gauges still speak of requests, and nothing
/// moves. Never a stall.
pub fn gauges_left_behind(scene: &Scene) -> anyhow::Result<()> {
    let from = unix_now()?;
    for page in ["t10", "after"] {
        let mut asked = vec![];
        for server in &scene.ending {
            scraped_since(server, 0)?;
            server.tell(&format!("page {page}"))?;
            asked.push(scrapes(server)?);
        }
        for (server, before) in scene.ending.iter().zip(asked) {
            // One may be under way.
            scraped_since(server, before + 1)?;
        }
    }
    std::thread::sleep(HELD);
    for server in &scene.ending {
        let (_, running) = scene
            .newest(server, "requests_in_flight", "running")
            .unwrap_or_default();
        let states = never_stalled(scene, server, from)?;
        eprintln!(
            "{}: never stalled in {states} states, running last charted as {running}",
            server.capture.display()
        );
        ensure!(
            scene.newest(server, "server_state", "ready")?.1 == 1.0,
            "it is not ready"
        );
    }
    Ok(())
}

/// Scheduler processes are stopped under load: that is a stall, soon, and over when they go on.
pub fn stopped_schedulers(scene: &Scene) -> anyhow::Result<()> {
    for server in &scene.stopping {
        wait_for("its load", TWO_SCRAPES, || {
            let (_, decode) = scene.newest(server, "token_throughput", "decode")?;
            ensure!(decode > 0.0, "no token");
            Ok(())
        })?;
        server.tell("stop-scheduler")?;
    }
    let stopped = Instant::now();
    let state = |server: &Server, state: &str| scene.newest(server, "server_state", state);
    for server in &scene.stopping {
        let left = STALLED_WITHIN.saturating_sub(stopped.elapsed());
        wait_for("word of the stall", left, || {
            ensure!(
                state(server, "stalled")?.1 == 1.0,
                "{} is not stalled",
                server.capture.display()
            );
            Ok(())
        })?;
        eprintln!(
            "{}: stalled at most {:.1} s after its scheduler was stopped",
            server.capture.display(),
            stopped.elapsed().as_secs_f64()
        );
    }
    for server in &scene.stopping {
        server.tell("cont-scheduler")?;
    }
    for server in &scene.stopping {
        wait_for("its movement", TWO_SCRAPES, || {
            ensure!(
                state(server, "stalled")?.1 == 0.0 && state(server, "ready")?.1 == 1.0,
                "still stalled"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// A prompt that takes minutes to compute, a model that takes minutes to load, a server that is stopped once its
/// load has ended.
pub fn benign_stillness(scene: &Scene) -> anyhow::Result<()> {
    let from = unix_now()?;
    let ready = |server: &Server| scene.newest(server, "server_state", "ready");
    let both = [&scene.prefilling, &scene.planned];
    wait_for("both servers", TWO_SCRAPES, || {
        both.iter().try_for_each(|server| ready(server).map(drop))
    })?;
    scene.prefilling.tell("prefill on")?;
    scene.planned.tell("page after")?;
    let before = scrapes(&scene.planned)?;
    scraped_since(&scene.planned, before + 1)?;
    scene.planned.tell("kill")?;
    std::thread::sleep(HELD);
    for server in [&scene.prefilling, &scene.loading, &scene.planned] {
        never_stalled(scene, server, from)?;
    }
    let decode = scene
        .newest(&scene.prefilling, "token_throughput", "decode")?
        .1;
    let compute = scene
        .newest(&scene.prefilling, "token_throughput", "prefill_compute")?
        .1;
    ensure!(
        decode == 0.0 && compute > 0.0,
        "no long prefill was played: {decode} and {compute} tokens/s"
    );
    ensure!(ready(&scene.prefilling)?.1 == 1.0, "it is not ready");
    let states = ["starting", "ready", "no_metrics", "stalled", "unreachable"];
    let states = states.map(|state| (state, scene.newest(&scene.loading, "server_state", state)));
    ensure!(
        matches!(states[0], (_, Ok((_, 1.0)))),
        "port {} loads, and is not starting: {states:?}",
        scene.loading.port
    );
    let ends = |dim| scene.newest(&scene.planned, "server_ends", dim);
    ensure!(
        ends("idle")?.1 == 1.0 && ends("with_requests")?.1 == 0.0 && ends("stalled")?.1 == 0.0,
        "a planned stop is not told as one"
    );
    Ok(())
}

/// Number of states since `from`, none of which is a stall.
fn never_stalled(scene: &Scene, server: &Server, from: i64) -> anyhow::Result<usize> {
    let seconds = u64::try_from(unix_now()? - from)?;
    let stalled = scene.points(server, "server_state", "stalled", seconds)?;
    ensure!(!stalled.is_empty(), "no state of port {}", server.port);
    let told = stalled.iter().find(|(_, value)| *value != 0.0);
    ensure!(
        told.is_none(),
        "{} is said to be stalled: {told:?}",
        server.capture.display()
    );
    Ok(stalled.len())
}

fn scrapes(server: &Server) -> anyhow::Result<u64> {
    Ok(server.requests()?["/metrics"].as_u64().unwrap_or(0))
}

/// Waits until it was scraped more than `count` times.
fn scraped_since(server: &Server, count: u64) -> anyhow::Result<()> {
    wait_for("a scrape", TWO_SCRAPES, || {
        let now = scrapes(server)?;
        ensure!(now > count, "{now} scrapes");
        Ok(())
    })
    .with_context(|| server.capture.display().to_string())
}
