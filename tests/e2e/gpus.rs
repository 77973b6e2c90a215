//! What is charted of the simulated GPUs.

use std::time::Duration;

use anyhow::ensure;

use crate::lab::Lab;

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
