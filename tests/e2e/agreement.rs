//! Independent readers of the same simulated library: gpustat and nvidia-ml-py.

use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::place::Place;
use harness::unix_now;
use serde_json::Value;

use crate::lab::Lab;

/// Reads with nvidia-ml-py what a person would compare, with the time of each reading.
const READ: &str = r#"
import json, time, pynvml as n
n.nvmlInit()
out = []
for i in range(n.nvmlDeviceGetCount()):
    d = n.nvmlDeviceGetHandleByIndex(i)
    text = lambda v: v.decode() if isinstance(v, bytes) else v
    memory = n.nvmlDeviceGetMemoryInfo(d, version=n.nvmlMemory_v2)
    use = n.nvmlDeviceGetUtilizationRates(d)
    out.append({
        "uuid": text(n.nvmlDeviceGetUUID(d)), "name": text(n.nvmlDeviceGetName(d)), "time": time.time(),
        "gpu": use.gpu, "memory_bus": use.memory, "used": memory.used, "free": memory.free,
        "temperature": n.nvmlDeviceGetTemperature(d, n.NVML_TEMPERATURE_GPU),
        "power": n.nvmlDeviceGetPowerUsage(d) / 1000, "limit": n.nvmlDeviceGetEnforcedPowerLimit(d) / 1000,
        "sm": n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_SM), "mem": n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_MEM),
        "energy": n.nvmlDeviceGetTotalEnergyConsumption(d),
        "held": sum(p.usedGpuMemory or 0 for p in n.nvmlDeviceGetComputeRunningProcesses(d)),
    })
print(json.dumps(out))
"#;

/// Seconds around a reading within which the charted values must enclose it.
const AROUND: i64 = 3;
/// The API rounds what it stores.
const ROUNDING: f64 = 0.01;
/// The agent moves points to full seconds by interpolation, which cuts a peak by a part of its height.
const CUT_PEAKS: f64 = 0.1;

/// What both read is what Netdata says we charted, at the time at which they read it.
pub fn independent_readers(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(40));
    let mut readings = Vec::new();
    for _ in 0..3 {
        let gpus = run_python(&lab.place, &["-c", READ])?;
        let asked = unix_now()?;
        let gpustat = run_python(&lab.place, &["-m", "gpustat", "--json"])?;
        let answered = unix_now()?;
        // Points that enclose the readings have to be stored first.
        std::thread::sleep(Duration::from_secs(6));
        compare(lab, &gpus, &gpustat, asked..=answered)?;
        readings.push(gpus);
    }
    average_power(lab, &readings[0], &readings[2])
}

fn compare(
    lab: &Lab,
    gpus: &Value,
    gpustat: &Value,
    when: RangeInclusive<i64>,
) -> anyhow::Result<()> {
    let gpus = gpus.as_array().context("no list of GPUs")?;
    ensure!(gpus.len() == 4, "nvidia-ml-py sees {} GPUs", gpus.len());
    for gpu in gpus {
        let uuid = gpu["uuid"].as_str().context("no UUID")?.to_lowercase();
        let time = gpu["time"].as_f64().context("no time")? as i64;
        for (chart, dim, key) in [
            ("nvidia_smi.gpu_{}_gpu_utilization", "gpu", "gpu"),
            (
                "nvidia_smi.gpu_{}_memory_utilization",
                "memory",
                "memory_bus",
            ),
            (
                "nvidia_smi.gpu_{}_frame_buffer_memory_usage",
                "used",
                "used",
            ),
            (
                "nvidia_smi.gpu_{}_frame_buffer_memory_usage",
                "free",
                "free",
            ),
            (
                "nvidia_smi.gpu_{}_temperature",
                "temperature",
                "temperature",
            ),
            ("nvidia_smi.gpu_{}_power_draw", "power_draw", "power"),
            ("nvidia.gpu_{}_power", "limit", "limit"),
            ("nvidia_smi.gpu_{}_clock_freq", "sm", "sm"),
            ("nvidia_smi.gpu_{}_clock_freq", "mem", "mem"),
        ] {
            let read = gpu[key].as_f64().with_context(|| format!("no {key}"))?;
            encloses(lab, &chart.replace("{}", &uuid), dim, &(time..=time), read)?;
        }
        let held: f64 = latest_sum(lab, &format!("nvidia.gpu_{uuid}_process_memory"))?;
        let read = gpu["held"].as_f64().context("no held memory")?;
        ensure!(
            (held - read).abs() <= read * 0.05,
            "processes hold {held}, nvidia-ml-py: {read}"
        );
    }
    let listed = gpustat["gpus"]
        .as_array()
        .context("gpustat lists no GPUs")?;
    ensure!(listed.len() == 4, "gpustat sees {} GPUs", listed.len());
    for (gpu, theirs) in gpus.iter().zip(listed) {
        ensure!(gpu["uuid"] == theirs["uuid"], "gpustat sees another order");
        let uuid = gpu["uuid"].as_str().context("no UUID")?.to_lowercase();
        for (chart, dim, key, unit) in [
            (
                "nvidia_smi.gpu_{}_gpu_utilization",
                "gpu",
                "utilization.gpu",
                1.0,
            ),
            (
                "nvidia_smi.gpu_{}_temperature",
                "temperature",
                "temperature.gpu",
                1.0,
            ),
            // gpustat rounds to whole watts.
            ("nvidia.gpu_{}_power", "limit", "enforced.power.limit", 1.0),
        ] {
            let read = theirs[key]
                .as_f64()
                .with_context(|| format!("gpustat: no {key}"))?
                * unit;
            encloses(lab, &chart.replace("{}", &uuid), dim, &when, read)?;
        }
    }
    Ok(())
}

/// The lowest and highest value charted around `when` have `read` between them.
fn encloses(
    lab: &Lab,
    chart: &str,
    dim: &str,
    when: &RangeInclusive<i64>,
    read: f64,
) -> anyhow::Result<()> {
    let points = lab.instance.api().series(chart, 40)?.dim(dim)?;
    let near = points
        .into_iter()
        .filter(|(at, _)| (when.start() - AROUND..=when.end() + AROUND).contains(at));
    let near: Vec<_> = near.filter_map(|(_, value)| value).collect();
    ensure!(
        near.len() >= 3,
        "{chart} {dim}: only {near:?} around {when:?}"
    );
    let low = near.iter().copied().fold(f64::INFINITY, f64::min);
    let high = near.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let slack = ROUNDING + read.abs() * 1e-6 + (high - low) * CUT_PEAKS;
    ensure!(
        (low - slack..=high + slack).contains(&read),
        "{chart} {dim}: charted {low} to {high}, read {read}"
    );
    Ok(())
}

/// The average power we chart from the energy counter is the joules between two readings of others.
fn average_power(lab: &Lab, first: &Value, last: &Value) -> anyhow::Result<()> {
    for (first, last) in first
        .as_array()
        .into_iter()
        .flatten()
        .zip(last.as_array().into_iter().flatten())
    {
        let number = |value: &Value, key: &str| value[key].as_f64().context("not a number");
        let (from, to) = (number(first, "time")?, number(last, "time")?);
        let watts = (number(last, "energy")? - number(first, "energy")?) / 1000.0 / (to - from);
        let uuid = last["uuid"].as_str().context("no UUID")?.to_lowercase();
        let chart = format!("nvidia.gpu_{uuid}_power");
        let points = lab.instance.api().series(&chart, 60)?.dim("average")?;
        // A point stands for the second before it; those at the ends count by their part within.
        let (mut joules, mut seconds) = (0.0, 0.0);
        for (at, value) in points {
            let at = at as f64;
            let overlap = (at.min(to) - (at - 1.0).max(from)).max(0.0);
            joules += value.unwrap_or(0.0) * overlap;
            seconds += value.map_or(0.0, |_| overlap);
        }
        ensure!(
            seconds >= (to - from) * 0.9,
            "{chart}: only {seconds} s of {from} to {to}"
        );
        let charted = joules / seconds;
        eprintln!("{chart}: charted {charted:.2} W on average, {watts:.2} W by the counter");
        ensure!(
            (charted - watts).abs() <= watts * 0.03,
            "{charted} W charted, {watts} W read"
        );
    }
    Ok(())
}

fn latest_sum(lab: &Lab, chart: &str) -> anyhow::Result<f64> {
    let series = lab.instance.api().series(chart, 10)?;
    let row = series
        .points
        .iter()
        .rev()
        .find(|(_, values)| values.iter().any(Option::is_some));
    Ok(row
        .with_context(|| format!("{chart} has no values"))?
        .1
        .iter()
        .flatten()
        .sum())
}

/// Runs the interpreter on the simulated library and reads its output as JSON.
fn run_python(place: &Place, words: &[&str]) -> anyhow::Result<Value> {
    let output = Command::new(&place.python)
        .args(words)
        .env("LD_LIBRARY_PATH", place.dist.join("simulated"))
        .output()
        .with_context(|| place.python.display().to_string())?;
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    serde_json::from_str(&text).with_context(|| format!("{words:?}: {text:.300} {errors:.600}"))
}
