//! A server that dies under load and comes back on the same port.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::capture::Capture;
use harness::{unix_now, wait_for};

use super::{GROWTH, LONGEST_INTERVALS, Scene};

/// Several intervals of the scrapes, so that at least one of them falls into it.
const DOWN: Duration = Duration::from_secs(20);

/// Where it was down there is a gap, before and after it the load's rate, nowhere a spike or a negative value, and
/// it has one restart more.
pub fn is_a_gap_and_a_count(scene: &Scene) -> anyhow::Result<()> {
    let server = &scene.killed;
    let capture = Capture::read(&server.capture)?.at_growth(GROWTH);
    let rates = [
        (
            "token_throughput",
            "decode",
            "realtime_tokens_total{mode=\"decode\"}",
        ),
        (
            "token_throughput",
            "prefill_compute",
            "realtime_tokens_total{mode=\"prefill_compute\"}",
        ),
        ("tokens_finished", "generation", "generation_tokens_total"),
        ("requests", "finished", "num_requests_total"),
        ("evictions", "evicted", "evicted_tokens_total"),
    ];
    let began = unix_now()?;
    let restarts = format!("server_{}.restarts", server.port);
    let restarts = || -> anyhow::Result<f64> {
        let values = scene
            .instance
            .api()
            .series(&restarts, 30)?
            .values("restarts")?;
        values.last().copied().context("no count of restarts")
    };
    wait_for("a rate", Duration::from_secs(LONGEST_INTERVALS), || {
        scene.newest(server, "token_throughput", "decode")
    })?;
    let before = restarts()?;
    server.tell("kill")?;
    let killed = unix_now()?;
    std::thread::sleep(DOWN);
    server.tell("restart")?;
    let back = unix_now()?;
    wait_for(
        "its rate",
        Duration::from_secs(2 * LONGEST_INTERVALS),
        || {
            let (at, _) = scene.newest(server, "token_throughput", "decode")?;
            ensure!(at > back + 10, "the newest value is {} s old", back - at);
            Ok(())
        },
    )?;
    let count = restarts()?;
    ensure!(
        count == before + 1.0,
        "{before} restarts before it, {count} after it"
    );
    let interval = scene.newest(server, "scrape_interval", "interval")?.1;
    for (chart, dim, metric) in rates {
        let rate = capture.gain(metric).context(metric)?;
        let seconds = u64::try_from(unix_now()? - began)? + 60;
        let points = scene.points(server, chart, dim, seconds)?;
        let wrong = points
            .iter()
            .find(|(_, value)| *value < 0.0 || *value > rate * 1.05);
        ensure!(
            wrong.is_none(),
            "{chart} {dim}: {wrong:?}, and its rate is {rate}"
        );
        // A scrape just before it died may be stored an interval later.
        let down = points
            .iter()
            .filter(|(at, _)| (killed + interval as i64 + 1..=back).contains(at))
            .count();
        ensure!(down == 0, "{chart} {dim}: {down} values while it was down");
        let (first, last) = (points[0].0, points[points.len() - 1].0);
        ensure!(
            first <= killed && last > back,
            "{chart} {dim}: values from {first} to {last} only, it was down from {killed} to {back}"
        );
        eprintln!(
            "{chart} {dim}: rate {rate:.1}, {} values, highest {:.1}, none from {killed} to {back}",
            points.len(),
            points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
        );
    }
    let ends = scene.newest(server, "server_ends", "with_requests")?.1;
    ensure!(ends == 1.0, "{ends} ends with requests");
    Ok(())
}
