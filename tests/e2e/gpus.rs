//! What is charted of the simulated GPUs.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::lab::{GPU_CONTEXTS, Lab};

/// Charts at 1 s have filled a window of 20 s after this long.
const SEVERAL_TICKS: Duration = Duration::from_secs(30);

/// Dimensions that follow the simulated load.
const MOVING: &[(&str, &str)] = &[
    ("nvidia_smi.gpu_utilization", "gpu"),
    ("nvidia_smi.gpu_memory_utilization", "memory"),
    ("nvidia_smi.gpu_power_draw", "power_draw"),
    ("nvidia_smi.gpu_temperature", "temperature"),
    ("nvidia_smi.gpu_clock_freq", "sm"),
    ("nvidia.power", "average"),
];

/// Dimensions that the scenario holds, and their values.
const CONSTANT: &[(&str, &str, f64)] = &[
    ("nvidia.power", "limit", 600.0),
    ("nvidia_smi.gpu_performance_state", "P0", 1.0),
    ("nvidia_smi.gpu_performance_state", "P8", 0.0),
    ("nvidia.gpu_state", "ok", 1.0),
    ("nvidia.gpu_state", "lost", 0.0),
];

/// Moving charts take at least three values in 20 s on each GPU; constant ones equal their source.
pub fn move_or_hold(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(SEVERAL_TICKS);
    let api = lab.instance.api();
    for (context, dim) in MOVING {
        for id in api.ids_of(context)? {
            let mut values = api.series(&id, 20)?.values(dim)?;
            let count = values.len();
            ensure!(count >= 18, "{id} {dim}: {count} values in 20 s");
            values.sort_by(f64::total_cmp);
            values.dedup();
            ensure!(values.len() >= 3, "{id} {dim}: only {values:?} in 20 s");
        }
    }
    for (context, dim, expected) in CONSTANT {
        for id in api.ids_of(context)? {
            let values = api.series(&id, 20)?.values(dim)?;
            ensure!(!values.is_empty(), "{id} {dim}: no values");
            ensure!(
                values.iter().all(|v| v == expected),
                "{id} {dim}: {values:?}, not {expected}"
            );
        }
    }
    let charts = api.charts()?;
    for (id, chart) in charts
        .iter()
        .filter(|(_, c)| c["context"] == "nvidia_smi.gpu_utilization")
    {
        let labels = &chart["chart_labels"];
        let product = labels["product_name"].as_str().unwrap_or("");
        ensure!(
            product.ends_with("(simulated)"),
            "{id}: a simulated GPU is called {product:?}"
        );
        ensure!(labels["source"] == "rs.d", "{id}: labels are {labels}");
    }
    Ok(())
}

/// A record made inside the container names nobody, and plays back to the charts of the GPUs that it is of.
pub fn are_recorded_and_played_back(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(SEVERAL_TICKS);
    let record = lab.instance.home.join("gpus.record");
    let path = record.to_str().context("a path that is no text")?;
    let outcome = lab.instance.launcher(&["doctor", "--record", path])?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let text = std::fs::read_to_string(&record)?;
    ensure!(text.starts_with("nvml-record 1\n"), "{text:.200}");
    println!(
        "a record of four GPUs: {} lines, {} KiB, in {:?}",
        text.lines().count(),
        text.len() / 1024,
        outcome.took
    );
    let charts = lab.instance.api().charts()?;
    let uuids = charts.values().filter_map(|chart| {
        let uuid = chart["chart_labels"]["uuid"].as_str()?;
        uuid.starts_with("GPU-").then(|| uuid.to_owned())
    });
    let mut names: BTreeSet<String> = uuids.collect();
    ensure!(names.len() == 4, "{names:?}");
    let ranks = lab.swinging.state()?;
    let ranks = ranks["pids"]["schedulers"].as_array().context("no ranks")?;
    names.extend(ranks.iter().map(|pid| format!("[{pid},")));
    for name in &names {
        ensure!(!text.contains(name), "{name} is in the record");
    }
    ensure!(
        text.contains("_v3() 0 [5000000,"),
        "no process was recorded"
    );

    let mut plugin = lab
        .place
        .command(lab.place.dist.join("lib/netdata-launcher/rs.d.plugin"));
    let output = plugin
        .args(["--once", "-m", "nvidia"])
        .env("FAKE_NVML_SCENARIO", &record)
        .env("LD_LIBRARY_PATH", lab.place.dist.join("simulated"))
        .output()
        .context("cannot run the plugin")?;
    let played = String::from_utf8_lossy(&output.stdout).into_owned();
    for context in GPU_CONTEXTS {
        let of = |line: &&str| line.starts_with("CHART ") && line.contains(&format!("'{context}'"));
        // One that gains a dimension is defined again.
        let ids = played
            .lines()
            .filter(of)
            .filter_map(|line| line.split(' ').nth(1));
        let count = ids.collect::<BTreeSet<_>>().len();
        ensure!(count == 4, "{count} charts of {context} in {played}");
    }
    Ok(())
}
