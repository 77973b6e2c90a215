//! How long the launcher's commands take. Runs before all other tests, when nothing else loads the machine.

use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;

/// From the command to charts with data, where there is an image.
const START: Duration = Duration::from_secs(6);
const STATUS: Duration = Duration::from_millis(150);
const STOP: Duration = Duration::from_secs(5);
/// The best counts: what other programs of the machine take is none of ours.
const STATUSES: usize = 7;
/// On a machine that is busy throughout, more often.
const ROUNDS: RangeInclusive<usize> = 2..=6;

/// Start, status and stop keep within their times, with four GPUs.
pub fn are_kept(place: &Place) -> anyhow::Result<()> {
    let library = place.dist.join("simulated/libnvidia-ml.so.1");
    let library = library.to_str().context("a path that is no text")?;
    let instance = Instance::new(place, "timings", &["--nvml-library", library])?;
    let (mut starts, mut statuses, mut stops) = (vec![], vec![], vec![]);
    for round in 1..=*ROUNDS.end() {
        starts.push(instance.start()?.took);
        let charts = instance.api().charts()?;
        let filled = charts.values().any(|chart| {
            chart["context"] == "nvidia_smi.gpu_utilization"
                && chart["last_entry"].as_i64().is_some_and(|at| at > 0)
        });
        ensure!(filled, "start ended before the GPUs' charts held data");
        for _ in 0..STATUSES {
            let outcome = instance.launcher(&["status"])?;
            ensure!(
                outcome.code == Some(0) && outcome.text.contains("GPU 3"),
                "{}",
                outcome.text
            );
            statuses.push(outcome.took);
        }
        stops.push(instance.stop()?.took);
        let met = [(&starts, START), (&statuses, STATUS), (&stops, STOP)]
            .iter()
            .all(|(all, limit)| all.iter().any(|took| took <= limit));
        if met && round >= *ROUNDS.start() {
            break;
        }
    }
    for (what, all, limit) in [
        ("start", starts, START),
        ("status", statuses, STATUS),
        ("stop", stops, STOP),
    ] {
        let best = all.iter().min().context("nothing was measured")?;
        let worst = all.iter().max().context("nothing was measured")?;
        eprintln!("{what}: {best:.2?} to {worst:.2?} (limit {limit:?})");
        ensure!(*best <= limit, "{what} took {best:.2?}");
    }
    Ok(())
}
