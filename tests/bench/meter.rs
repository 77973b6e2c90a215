//! CPU and memory of processes, from `/proc/PID/stat` and `status`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use procfs::process::Process;

/// Processes that count together.
pub struct Group {
    name: &'static str,
    pids: Vec<i32>,
}

impl Group {
    /// `pids` under one name.
    pub fn of(name: &'static str, pids: Vec<i32>) -> Self {
        Self { name, pids }
    }
}

/// What was used up to a moment.
pub struct Sample {
    at: Instant,
    /// By group.
    pub groups: BTreeMap<&'static str, Usage>,
}

/// Sums over a group.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// CPU time since the start, in seconds.
    pub cpu_s: f64,
    /// CPU time by the names of threads, in seconds.
    pub threads: BTreeMap<String, f64>,
    /// Resident memory now, in MiB; pages that are shared count once for each process.
    pub rss_mib: f64,
    /// The highest it was (`VmHWM`).
    pub peak_mib: f64,
    /// Proportional share of resident memory, in MiB.
    pub pss_mib: f64,
    /// Processes that still run.
    pub processes: usize,
}

impl Sample {
    /// Reads every group now.
    pub fn take<const N: usize>(groups: [&Group; N]) -> anyhow::Result<Self> {
        let at = Instant::now();
        let read = |group: &Group| Ok((group.name, usage(group)?));
        let groups = groups
            .into_iter()
            .map(read)
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { at, groups })
    }

    /// Seconds since `earlier`.
    pub fn seconds_since(&self, earlier: &Self) -> f64 {
        self.at.duration_since(earlier.at).as_secs_f64()
    }
}

fn usage(group: &Group) -> anyhow::Result<Usage> {
    let mut sum = Usage::default();
    for &pid in &group.pids {
        // Of an instance's many helpers one may have ended.
        let Ok(stat) = Process::new(pid).and_then(|process| process.stat()) else {
            continue;
        };
        let process = Process::new(pid)?;
        let status = process.status()?;
        let mib = |kib: Option<u64>| kib.unwrap_or(0) as f64 / 1024.0;
        sum.processes += 1;
        sum.cpu_s += seconds(stat.utime + stat.stime);
        sum.rss_mib += mib(status.vmrss);
        sum.peak_mib += mib(status.vmhwm);
        sum.pss_mib += pss_kib(pid).unwrap_or(0) as f64 / 1024.0;
        for task in process.tasks()?.flatten() {
            let Ok(stat) = task.stat() else { continue };
            *sum.threads.entry(stat.comm).or_default() += seconds(stat.utime + stat.stime);
        }
    }
    ensure!(sum.processes > 0, "{} has ended", group.name);
    Ok(sum)
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}

fn pss_kib(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Disk space of a directory.
pub struct Disk {
    dir: PathBuf,
    at: Instant,
    bytes: u64,
}

impl Disk {
    /// What lies below `dir` now.
    pub fn of(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
            at: Instant::now(),
            bytes: bytes_below(dir).unwrap_or(0),
        }
    }

    /// Growth since then, in MiB a day.
    pub fn grown(&self) -> f64 {
        let more = bytes_below(&self.dir)
            .unwrap_or(0)
            .saturating_sub(self.bytes);
        let days = self.at.elapsed().as_secs_f64() / 86_400.0;
        more as f64 / 1_048_576.0 / days
    }
}

fn bytes_below(dir: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut sum = 0;
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() {
            bytes_below(&entry.path()).unwrap_or(0)
        } else {
            metadata.blocks() * 512
        };
    }
    Ok(sum)
}
