//! How long ticks take, from the plugin's own charts.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use harness::api::Api;

/// Percentiles of one job's ticks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// How many.
    pub count: usize,
}

/// Of every job, over the last `seconds`.
pub fn of_all_jobs(api: &Api, seconds: u64) -> anyhow::Result<BTreeMap<String, Ticks>> {
    let mut jobs = BTreeMap::new();
    for id in api.ids_of("netdata.rs_d_job_duration")? {
        let mut values = api.series(&id, seconds)?.values("duration")?;
        values.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let rank = (q * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied()
        };
        let ticks = Ticks {
            p50: at(0.5).with_context(|| format!("{id} has no values"))?,
            p99: at(0.99).with_context(|| format!("{id} has no values"))?,
            count: values.len(),
        };
        jobs.insert(
            id.replace("netdata.rs_d_", "").replace("_duration", ""),
            ticks,
        );
    }
    ensure!(!jobs.is_empty(), "no job tells how long its ticks take");
    Ok(jobs)
}
