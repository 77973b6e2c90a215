//! The figures, and whether they are within the limits.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::latency::Ticks;
use crate::meter::{Sample, Usage};

/// Percent of one core that the plugin may use.
const CPU_PCT: f64 = 0.5;
/// MiB that it may ever have resident.
const PEAK_MIB: f64 = 12.0;
/// How many times as cheap as nvitop-exporter the GPU part is at least, in CPU.
const THAN_NVITOP: f64 = 20.0;
/// How many times as cheap as Prometheus the server part is at least, in CPU and in memory.
const THAN_PROMETHEUS: f64 = 5.0;

/// Names that threads of the GPU part begin with.
const GPU_THREADS: &[&str] = &["nvidia", "nvml", "xid"];

/// All figures.
pub struct Report<'a> {
    latency: &'a BTreeMap<String, Ticks>,
    plugin: Cost,
    gpu_cpu_pct: f64,
    threads: Vec<(String, f64)>,
    nvitop: Cost,
    prometheus: Cost,
    whole: Cost,
    whole_pss_mib: f64,
    disk_mib_a_day: f64,
    allocations_a_second: f64,
}

#[derive(Clone, Copy)]
struct Cost {
    cpu_pct: f64,
    rss_mib: f64,
    peak_mib: f64,
}

impl<'a> Report<'a> {
    /// From what was used before and after.
    pub fn new(
        before: &Sample,
        after: &Sample,
        latency: &'a BTreeMap<String, Ticks>,
        disk_mib_a_day: f64,
        allocations_a_second: f64,
    ) -> Self {
        let seconds = after.seconds_since(before);
        let of = |sample: &Sample, name: &str| -> Usage {
            sample.groups.get(name).cloned().unwrap_or_default()
        };
        let cost = |name: &str| {
            let (before, after) = (of(before, name), of(after, name));
            Cost {
                cpu_pct: 100.0 * (after.cpu_s - before.cpu_s) / seconds,
                rss_mib: after.rss_mib,
                peak_mib: after.peak_mib,
            }
        };
        let (earlier, later) = (of(before, "rs.d.plugin"), of(after, "rs.d.plugin"));
        let threads: Vec<_> = later
            .threads
            .iter()
            .map(|(name, cpu_s)| {
                let before = earlier.threads.get(name).copied().unwrap_or(0.0);
                (name.clone(), 100.0 * (cpu_s - before) / seconds)
            })
            .collect();
        let of_gpus = |name: &str| GPU_THREADS.iter().any(|prefix| name.starts_with(prefix));
        let gpu_cpu_pct = threads
            .iter()
            .filter(|(name, _)| of_gpus(name))
            .map(|(_, pct)| pct)
            .sum();
        Self {
            latency,
            plugin: cost("rs.d.plugin"),
            gpu_cpu_pct,
            threads,
            nvitop: cost("nvitop-exporter"),
            prometheus: cost("prometheus"),
            whole: cost("netdata and its plugins"),
            whole_pss_mib: of(after, "netdata and its plugins").pss_mib,
            disk_mib_a_day,
            allocations_a_second,
        }
    }

    /// Everything that is not the GPU part: the servers' and what both share.
    fn server_cpu_pct(&self) -> f64 {
        self.plugin.cpu_pct - self.gpu_cpu_pct
    }

    /// Prints them.
    pub fn print(&self) {
        let line = |name: &str, cost: Cost| {
            println!(
                "{name:<26} {:>9.3} {:>9.1} {:>9.1}",
                cost.cpu_pct, cost.rss_mib, cost.peak_mib
            );
        };
        println!(
            "{:<26} {:>9} {:>9} {:>9}",
            "", "CPU %", "RSS MiB", "peak MiB"
        );
        line("rs.d.plugin", self.plugin);
        println!("{:<26} {:>9.3}", "  GPU part", self.gpu_cpu_pct);
        println!("{:<26} {:>9.3}", "  server part", self.server_cpu_pct());
        for (name, pct) in &self.threads {
            println!("{:<26} {pct:>9.3}", format!("    {name}"));
        }
        line("nvitop-exporter", self.nvitop);
        line("prometheus", self.prometheus);
        line("netdata and its plugins", self.whole);
        println!(
            "{:<26} {:.1} MiB resident with shared pages counted once, {:.0} MiB of disk a day at this rate",
            "", self.whole_pss_mib, self.disk_mib_a_day
        );
        println!("ticks, milliseconds             p50       p99     count");
        for (job, ticks) in self.latency {
            println!(
                "{job:<26} {:>9.3} {:>9.3} {:>9}",
                ticks.p50, ticks.p99, ticks.count
            );
        }
        // Each second: four servers, one job for the GPUs, one for processes, and the plugin itself.
        println!(
            "allocations: {:.0} a second, {:.0} a tick",
            self.allocations_a_second,
            self.allocations_a_second / 7.0
        );
    }

    /// Fails with every limit that was missed.
    pub fn judge(&self) -> anyhow::Result<()> {
        let nvitop = self.nvitop.cpu_pct / self.gpu_cpu_pct;
        let cpu = self.prometheus.cpu_pct / self.server_cpu_pct();
        let memory = self.prometheus.peak_mib / self.plugin.peak_mib;
        println!(
            "GPU part {nvitop:.1} times cheaper than nvitop-exporter; server part {cpu:.1} times cheaper than \
             Prometheus in CPU, {memory:.1} times in memory"
        );
        let limits = [
            (
                self.plugin.cpu_pct <= CPU_PCT,
                format!("CPU above {CPU_PCT} % of a core"),
            ),
            (
                self.plugin.peak_mib <= PEAK_MIB,
                format!("memory above {PEAK_MIB} MiB"),
            ),
            (
                nvitop >= THAN_NVITOP,
                format!("GPU part not {THAN_NVITOP} times cheaper"),
            ),
            (
                cpu >= THAN_PROMETHEUS,
                format!("server part not {THAN_PROMETHEUS} times cheaper in CPU"),
            ),
            (
                memory >= THAN_PROMETHEUS,
                format!("not {THAN_PROMETHEUS} times cheaper in memory"),
            ),
        ];
        let missed: Vec<_> = limits
            .iter()
            .filter(|(met, _)| !met)
            .map(|(_, what)| what.as_str())
            .collect();
        ensure!(missed.is_empty(), "limits missed: {}", missed.join("; "));
        Ok(())
    }
}
