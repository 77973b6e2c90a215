//! What processes hold and do, by the title under which we chart them; others tell it by pid.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use procfs::process::Process;
use serde_json::Value;

use super::bracket::{self, PROCESSES_EVERY_S, Points};
use crate::lab::Lab;

/// The driver's samples of SM time are averaged over an interval, one reads the newest of them.
const SM_STEP: f64 = 2.0;

/// Compares memory and SM time of every title that was there all the time. Says how many there were.
pub fn agree(lab: &Lab, reader: &str, uuid: &str, readings: &[Value]) -> anyhow::Result<usize> {
    let titles = titles(readings);
    let mut agreed = 0;
    for title in titles.values().collect::<BTreeSet<_>>() {
        let sums = |key: &str| -> Vec<(f64, f64)> {
            let sum = |reading: &Value| {
                let rows = reading["processes"].as_object()?.iter();
                let of = rows.filter(|(pid, _)| titles.get(*pid) == Some(title));
                let values: Option<Vec<_>> = of.map(|(_, row)| row[key].as_f64()).collect();
                let values = values.filter(|values| !values.is_empty())?;
                Some((reading["time"].as_f64()?, values.iter().sum()))
            };
            readings.iter().filter_map(sum).collect()
        };
        let memory = sums("memory");
        if memory.len() < readings.len() {
            // It came or went meanwhile, with a test beside this one.
            continue;
        }
        let what = format!("{reader}: {title} on {uuid}");
        let chart = format!("nvidia.gpu_{uuid}_process_memory");
        let charted = charted(lab, &chart, title)?;
        bracket::lie_within(&what, &charted, &memory, 1_048_576.0, PROCESSES_EVERY_S)?;
        let sm = sums("sm");
        if sm.len() == readings.len() {
            let chart = format!("nvidia.gpu_{uuid}_process_utilization");
            let charted = self::charted(lab, &chart, title)?;
            bracket::lie_within(&what, &charted, &sm, SM_STEP, PROCESSES_EVERY_S)?;
        }
        agreed += 1;
    }
    Ok(agreed)
}

/// The titles of the pids read: as they were then, where the reader tells it, or as they are if they still run.
fn titles(readings: &[Value]) -> BTreeMap<String, String> {
    let mut titles = BTreeMap::new();
    let rows = readings
        .iter()
        .filter_map(|reading| reading["processes"].as_object());
    for (pid, row) in rows.flatten() {
        if titles.contains_key(pid) {
            continue;
        }
        let now = || {
            let words = Process::new(pid.parse().ok()?).ok()?.cmdline().ok()?;
            Some(words.first()?.split(' ').next()?.to_owned())
        };
        if let Some(title) = row["title"].as_str().map(str::to_owned).or_else(now) {
            titles.insert(pid.clone(), title);
        }
    }
    titles
}

/// The sum of a title's dimensions, one for each user.
fn charted(lab: &Lab, chart: &str, title: &str) -> anyhow::Result<Points> {
    let prefix = format!("{title} (");
    let dims = lab.instance.api().series(chart, 10)?.dims;
    let dims: Vec<_> = dims
        .iter()
        .filter(|dim| dim.starts_with(&prefix))
        .map(String::as_str)
        .collect();
    dims.first()
        .with_context(|| format!("{chart} does not chart {title}"))?;
    bracket::points(lab, chart, &dims)
}
