//! A counter that goes away and comes back.

use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::capture::Capture;
use harness::unix_now;

use crate::lab::{GROWTH, Lab};

/// Scrapes from which the counter is missing.
const SCRAPES: u64 = 10;
/// Seconds between two scrapes, unless the server takes so long over them that they are stretched.
const INTERVAL: f64 = 5.0;
/// Where other tests' instances keep the server so busy that scrapes are far apart, fewer of them have to do.
const WITHHELD_AT_MOST: Duration = Duration::from_secs(180);

/// The decode counter is missing from ten scrapes: it is a gap meanwhile, and what comes back is its rate.
pub fn returns_without_spike(lab: &Lab) -> anyhow::Result<()> {
    let capture = Capture::read(&lab.steady.capture)?;
    let rate = GROWTH * capture.rate(&["sglang:realtime_tokens_total{", "mode=\"decode\""]);
    // The test of exact agreement looks at the first two minutes.
    lab.wait_until(Duration::from_secs(150));
    let chart = Lab::chart_of(&lab.steady, "token_throughput");
    let before = lab.instance.api().series(&chart, 130)?.values("decode")?;
    ensure!(!before.is_empty(), "no decode rate before it was withheld");
    let id = Lab::chart_of(&lab.steady, "scrape_interval");
    let longest = |seconds| -> anyhow::Result<f64> {
        let intervals = lab.instance.api().series(&id, seconds)?;
        let intervals = intervals.values("interval")?.into_iter();
        Ok(intervals.fold(INTERVAL, f64::max).ceil())
    };
    // Labels come in any order: the whole family is withheld.
    lab.steady.tell("withhold sglang:realtime_tokens_total")?;
    let from = unix_now()?;
    let began = Instant::now();
    loop {
        std::thread::sleep(Duration::from_secs(5));
        let enough = Duration::from_secs_f64(SCRAPES as f64 * longest(130)?);
        if began.elapsed() >= enough.min(WITHHELD_AT_MOST) {
            break;
        }
    }
    lab.steady.tell("restore sglang:realtime_tokens_total")?;
    let to = unix_now()?;
    std::thread::sleep(Duration::from_secs_f64(6.0 * longest(130)?).min(WITHHELD_AT_MOST));
    let window = 2 * WITHHELD_AT_MOST.as_secs();
    let points = lab.instance.api().series(&chart, window)?.dim("decode")?;
    let between = |from: i64, to: i64| {
        let within = points.iter().filter(move |(at, _)| (from..to).contains(at));
        within.filter_map(|(at, value)| Some((*at, (*value)?)))
    };
    // What was scraped last before may be stored an interval later, and be a point of a coarser grid where the
    // interval has been stretched meanwhile.
    let longest = longest(window)? as i64;
    let gap_from = from + 3 * longest;
    ensure!(
        gap_from + 2 * longest < to,
        "scrapes every {longest} s are too rare for this test"
    );
    let meanwhile: Vec<_> = between(gap_from, to).collect();
    ensure!(
        meanwhile.is_empty(),
        "values while there was no counter ({from} to {to}, every {longest} s): {meanwhile:?} of {points:?}"
    );
    let after: Vec<_> = between(to, i64::MAX).map(|(_, value)| value).collect();
    let highest = after.iter().copied().fold(f64::NAN, f64::max);
    eprintln!(
        "rate {rate:.1}, highest after the return {highest:.1}, of {} values",
        after.len()
    );
    ensure!(!after.is_empty(), "it did not come back: {after:?}");
    ensure!(
        highest <= rate * 1.05,
        "{highest} after the return, the rate is {rate}"
    );
    Ok(())
}
