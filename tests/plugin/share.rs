//! How much of a server's time our scrapes take, at defaults: by the clock of whoever listens, and as it is charted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::instance::only;
use harness::place::Place;
use harness::server::Server;

use crate::process::{Plugin, configuration, program};

/// Milliseconds that pages take longer than they do, and the seconds between scrapes that are then to be expected.
/// A page of 9 to 45 ms is usual, one of 86 to 233 ms was seen on a busy machine.
const SLOW: [(u64, u64); 3] = [(0, 5), (40, 8), (80, 16)];
/// Percentage of wall time.
const SHARE: f64 = 0.5;
/// Three scrapes at the first interval, and what starts and the machine's load add.
const KNOWN_WITHIN: Duration = Duration::from_secs(90);
/// Several scrapes even of the slowest page.
const WATCHED: Duration = Duration::from_secs(100);
/// A single scrape may take longer on a busy machine than those that the interval is chosen by.
const LATE: f64 = 1.25;

/// The captured page and pages that take long are scraped so that it is kept.
pub fn is_kept(place: &Place) -> anyhow::Result<()> {
    let start = |(ms, _): &(u64, u64)| -> anyhow::Result<Server> {
        let server = Server::start(place, "0.5.23", &["--scheduler-cpu", "0"])?;
        server.tell(&format!("slow {ms}"))?;
        Ok(server)
    };
    let servers: Vec<_> = SLOW.iter().map(start).collect::<Result<_, _>>()?;
    let conf = only(&servers.iter().collect::<Vec<_>>());
    let files = [("sglang.conf", &*conf), ("servers.conf", &*conf)];
    let dir = configuration(place, "share", &files)?;
    let plugin = Plugin::start(place.command(program(place)), &dir)?;
    let charted = |server: &Server, chart: &str, dim: &str| -> Vec<(Instant, f64)> {
        let key = (format!("sglang_{}.{chart}", server.port), dim.to_owned());
        let values = plugin.said(|said| said.values.get(&key).cloned().unwrap_or_default());
        let values = values.into_iter();
        values.map(|(at, it)| (at, it as f64)).collect()
    };
    let thousandths = |server: &Server, chart: &str, dim: &str| -> Vec<(Instant, f64)> {
        let values = charted(server, chart, dim).into_iter();
        values.map(|(at, it)| (at, it / 1e3)).collect()
    };
    plugin.wait_for("the intervals", KNOWN_WITHIN, || {
        for ((_, expected), server) in SLOW.iter().zip(&servers) {
            let newest = charted(server, "scrape_interval", "interval");
            let newest = newest.last().context("no interval")?.1;
            ensure!(newest >= *expected as f64, "{newest} s, not {expected}");
        }
        Ok(())
    })?;
    let from = Instant::now();
    std::thread::sleep(WATCHED);
    for ((ms, _), server) in SLOW.iter().zip(&servers) {
        let since = |values: Vec<(Instant, f64)>| -> Vec<(Instant, f64)> {
            values.into_iter().filter(|(at, _)| *at >= from).collect()
        };
        let scrapes = since(thousandths(server, "scrape", "duration"));
        let shares = since(thousandths(server, "scrape_share", "share"));
        ensure!(scrapes.len() >= 3, "{ms} ms: {} scrapes", scrapes.len());
        ensure!(scrapes.len() == shares.len(), "{ms} ms: {shares:?}");
        let least = *ms as f64;
        let short = scrapes.iter().find(|(_, took)| *took < least);
        ensure!(short.is_none(), "{ms} ms: {short:?} is what a scrape took");
        // What the scrapes between the first and the last took, of the time between them.
        let took: f64 = scrapes[1..].iter().map(|(_, ms)| ms / 1e3).sum();
        let seconds = scrapes[scrapes.len() - 1].0 - scrapes[0].0;
        let share = 100.0 * took / seconds.as_secs_f64();
        let told = shares.iter().map(|(_, share)| share).sum::<f64>() / shares.len() as f64;
        let interval = charted(server, "scrape_interval", "interval");
        let interval = interval.last().context("no interval")?.1;
        eprintln!(
            "a page that takes {ms} ms longer: {} scrapes in {:.0} s, {share:.2} % of the time by the clock, {told:.2} % \
             as charted, every {interval} s",
            scrapes.len(),
            seconds.as_secs_f64()
        );
        for share in [share, told] {
            ensure!(share <= SHARE * LATE, "{ms} ms: {share:.2} % of its time");
        }
        ensure!((share - told).abs() <= 0.1, "{share} and {told} %");
    }
    Ok(())
}
