//! What an instance costs: CPU and memory of its processes, and disk.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::paths::Paths;
use crate::process::{Proc, Process};
use crate::removal;

/// Less history than this says nothing about a day's.
const LEAST_HISTORY_SECONDS: u64 = 3600;
const DAY_SECONDS: f64 = 86_400.0;

/// The figures.
#[derive(Debug, Default, Serialize)]
pub struct Usage {
    /// Per cent of one core, of all processes together, on average since each started.
    pub cpu_percent: Option<f64>,
    /// The same of the plugin alone.
    pub plugin_cpu_percent: Option<f64>,
    /// Resident memory of all processes, in bytes; pages that they share count for each.
    pub memory_bytes: u64,
    /// The same of the plugin alone.
    pub plugin_memory_bytes: Option<u64>,
    /// What the home takes on disk, in bytes: image, history and logs.
    pub disk_bytes: u64,
    /// What the history takes of it, in bytes.
    pub history_bytes: u64,
    /// How far back values go, in seconds.
    pub history_seconds: Option<u64>,
    /// What a day of history takes at this rate, in bytes; None in the first hour.
    pub history_bytes_a_day: Option<f64>,
}

impl Usage {
    /// Of these processes and of the home; `first_entry` is the time of the oldest value kept.
    pub fn of(paths: &Paths, proc: &Proc, members: &[Process], first_entry: Option<i64>) -> Self {
        let mut usage = Self::default();
        for process in members {
            let Some(used) = proc.usage(process.pid) else {
                continue;
            };
            let age = proc.age_seconds(process).filter(|age| *age > 0);
            let cpu = age.map(|age| used.cpu_seconds / age as f64 * 100.0);
            usage.memory_bytes += used.resident_bytes;
            if let Some(cpu) = cpu {
                *usage.cpu_percent.get_or_insert(0.0) += cpu;
            }
            // The kernel cuts names at 15 bytes.
            if process.comm == "rs.d.plugin" {
                usage.plugin_cpu_percent = cpu;
                usage.plugin_memory_bytes = Some(used.resident_bytes);
            }
        }
        usage.disk_bytes = removal::size(paths.home());
        if paths.state() != paths.state_in_home() {
            usage.disk_bytes += removal::size(&paths.state());
        }
        usage.history_bytes = removal::size(&paths.state_dir("cache"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let first = first_entry.and_then(|at| u64::try_from(at).ok());
        usage.history_seconds = first
            .zip(now.ok())
            .map(|(at, now)| now.as_secs().saturating_sub(at));
        usage.history_bytes_a_day = usage
            .history_seconds
            .filter(|seconds| *seconds >= LEAST_HISTORY_SECONDS)
            .map(|seconds| usage.history_bytes as f64 / seconds as f64 * DAY_SECONDS);
        usage
    }
}
