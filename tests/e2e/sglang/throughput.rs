//! Tokens over a minute, as the test itself sees the servers count them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::capture::{Capture, agrees};
use harness::server::Server;
use harness::unix_now;

use super::{Scene, VERSIONS};

const MINUTE: Duration = Duration::from_secs(60);
const TOLERANCE: f64 = 0.01;

/// A chart, its dimension, and the counters that it shows: of the moment, and where there are none, of finished
/// requests.
const CHARTED: &[(&str, &str, &[&str])] = &[
    (
        "token_throughput",
        "decode",
        &[
            "realtime_tokens_total{mode=\"decode\"}",
            "generation_tokens_total",
        ],
    ),
    (
        "tokens_finished",
        "generation",
        &["generation_tokens_total"],
    ),
    ("tokens_finished", "prompt", &["prompt_tokens_total"]),
];

/// What was charted of a minute is what the server counted in it, and once all requests have ended, what it counts
/// at the moment of decoding is what it counts when requests end.
pub fn of_a_minute(scene: &Scene) -> anyhow::Result<()> {
    let read = |server: &Server| -> anyhow::Result<(Instant, Capture)> {
        let page = harness::api::Api::on(server.port).text("/metrics")?;
        Ok((Instant::now(), Capture::of(&page, &page)))
    };
    let begun = scene
        .versions
        .iter()
        .map(read)
        .collect::<anyhow::Result<Vec<_>>>()?;
    let from = unix_now()?;
    std::thread::sleep(MINUTE);
    for (server, (at, before)) in scene.versions.iter().zip(begun) {
        let (now, after) = read(server)?;
        let seconds = (now - at).as_secs_f64();
        for (chart, dim, counters) in CHARTED {
            let total = |page: &Capture, counter: &&str| -> Option<f64> {
                let held = page.series_of(counter).map(|series| series.held);
                held.sum::<Option<f64>>().filter(|total| *total > 0.0)
            };
            let counter = counters.iter().find(|it| total(&before, it).is_some());
            let counter = counter.with_context(|| format!("{chart}: no counter"))?;
            let gained = total(&after, counter).zip(total(&before, counter));
            let counted = gained.map_or(f64::NAN, |(after, before)| (after - before) / seconds);
            let lasted = u64::try_from(unix_now()? - from)?;
            let points = scene.points(server, chart, dim, lasted)?;
            ensure!(
                !points.is_empty(),
                "{} {chart} {dim}: no value",
                server.port
            );
            let charted = points.iter().map(|(_, value)| value).sum::<f64>() / points.len() as f64;
            eprintln!(
                "{} {chart} {dim}: charted {charted:.1} tokens/s over a minute, counted {counted:.1}",
                server.capture.display()
            );
            ensure!(
                agrees(charted, counted, TOLERANCE),
                "{} {chart} {dim}: charted {charted}, counted {counted}",
                server.capture.display()
            );
        }
    }
    for (version, server) in VERSIONS.iter().zip(&scene.versions) {
        let path = server.capture.join("metrics_after.txt");
        let page = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let page = Capture::of(&page, &page);
        let total = |selector: &str| -> f64 {
            let held = page.series_of(selector).filter_map(|series| series.held);
            held.sum()
        };
        let (live, finished) = (
            total("realtime_tokens_total{mode=\"decode\"}"),
            total("generation_tokens_total"),
        );
        ensure!(
            live == 0.0 || agrees(live, finished, TOLERANCE),
            "{version}: {live} tokens decoded, {finished} in finished requests"
        );
    }
    Ok(())
}
