//! Independent readers of the same simulated library: gpustat and nvidia-ml-py.

use std::ops::RangeInclusive;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use harness::place::Place;
use harness::unix_now;
use serde_json::Value;

use crate::lab::Lab;

/// Reads with nvidia-ml-py what a person would compare, four times a second for ten seconds.
const READ: &str = r#"
import json, time, pynvml as n
n.nvmlInit()
text = lambda v: v.decode() if isinstance(v, bytes) else v
def read(d):
    memory = n.nvmlDeviceGetMemoryInfo(d, version=n.nvmlMemory_v2)
    use = n.nvmlDeviceGetUtilizationRates(d)
    return {
        "time": time.time(),
        "gpu": use.gpu, "memory_bus": use.memory, "used": memory.used, "free": memory.free,
        "temperature": n.nvmlDeviceGetTemperature(d, n.NVML_TEMPERATURE_GPU),
        "power": n.nvmlDeviceGetPowerUsage(d) / 1000, "limit": n.nvmlDeviceGetEnforcedPowerLimit(d) / 1000,
        "sm": n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_SM), "mem": n.nvmlDeviceGetClockInfo(d, n.NVML_CLOCK_MEM),
        "energy": n.nvmlDeviceGetTotalEnergyConsumption(d),
        "held": sum(p.usedGpuMemory or 0 for p in n.nvmlDeviceGetComputeRunningProcesses(d)),
    }
devices = [n.nvmlDeviceGetHandleByIndex(i) for i in range(n.nvmlDeviceGetCount())]
out = [{"uuid": text(n.nvmlDeviceGetUUID(d)), "readings": []} for d in devices]
for _ in range(40):
    for gpu, d in zip(out, devices):
        gpu["readings"].append(read(d))
    time.sleep(0.25)
print(json.dumps(out))
"#;

/// A chart, its dimension, the reading's name, and the step in which it is read.
const COMPARED: &[(&str, &str, &str, f64)] = &[
    ("nvidia_smi.gpu_{}_gpu_utilization", "gpu", "gpu", 1.0),
    (
        "nvidia_smi.gpu_{}_memory_utilization",
        "memory",
        "memory_bus",
        1.0,
    ),
    (
        "nvidia_smi.gpu_{}_frame_buffer_memory_usage",
        "used",
        "used",
        1.0,
    ),
    (
        "nvidia_smi.gpu_{}_frame_buffer_memory_usage",
        "free",
        "free",
        1.0,
    ),
    (
        "nvidia_smi.gpu_{}_temperature",
        "temperature",
        "temperature",
        1.0,
    ),
    ("nvidia_smi.gpu_{}_power_draw", "power_draw", "power", 0.01),
    ("nvidia.gpu_{}_power", "limit", "limit", 0.01),
    ("nvidia_smi.gpu_{}_clock_freq", "sm", "sm", 1.0),
    ("nvidia_smi.gpu_{}_clock_freq", "mem", "mem", 1.0),
];

/// The same for what gpustat prints.
const GPUSTAT: &[(&str, &str, &str, f64)] = &[
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
];

/// A point is interpolated from readings up to this long before and after it: one interval, and a tick that
/// came late on a busy machine.
const AROUND_S: f64 = 2.5;
/// Four readings a second miss a peak of the simulated load by at most this part of its height.
const MISSED_PEAK: f64 = 0.02;
/// Points one second apart, each interpolated between two readings, cut a peak of the load's fastest wave
/// (5.3 s) by up to 0.31 of its amplitude, the half of its height.
const CUT_PEAK: f64 = 0.16;

/// What both read is what Netdata says we charted, at the time at which they read it.
pub fn independent_readers(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(40));
    let (gpus, gpustat, when) = std::thread::scope(|scope| {
        let dense = scope.spawn(|| run_python(&lab.place, &["-c", READ]));
        std::thread::sleep(Duration::from_secs(4));
        let asked = unix_now()?;
        let gpustat = run_python(&lab.place, &["-m", "gpustat", "--json"])?;
        let when = asked..=unix_now()?;
        let dense = dense.join().map_err(|_| anyhow!("the reader panicked"))?;
        anyhow::Ok((dense?, gpustat, when))
    })?;
    // Points that enclose the readings have to be stored first.
    std::thread::sleep(Duration::from_secs(6));
    let gpus = gpus.as_array().context("no list of GPUs")?;
    ensure!(gpus.len() == 4, "nvidia-ml-py sees {} GPUs", gpus.len());
    let listed = gpustat["gpus"]
        .as_array()
        .context("gpustat lists no GPUs")?;
    ensure!(listed.len() == 4, "gpustat sees {} GPUs", listed.len());
    for (gpu, theirs) in gpus.iter().zip(listed) {
        ensure!(gpu["uuid"] == theirs["uuid"], "gpustat sees another order");
        let uuid = gpu["uuid"].as_str().context("no UUID")?.to_lowercase();
        let readings = gpu["readings"].as_array().context("no readings")?;
        for (chart, dim, key, step) in COMPARED {
            points_lie_within(lab, &chart.replace("{}", &uuid), dim, readings, key, *step)?;
        }
        for (chart, dim, key, step) in GPUSTAT {
            let read = theirs[key]
                .as_f64()
                .with_context(|| format!("gpustat: no {key}"))?;
            points_enclose(lab, &chart.replace("{}", &uuid), dim, &when, read, *step)?;
        }
        let last = readings.last().context("no readings")?;
        let held: f64 = latest_sum(lab, &format!("nvidia.gpu_{uuid}_process_memory"))?;
        let read = last["held"].as_f64().context("no held memory")?;
        ensure!(
            (held - read).abs() <= read * 0.05,
            "processes hold {held}, nvidia-ml-py: {read}"
        );
        average_power(lab, &uuid, &readings[0], last)?;
    }
    Ok(())
}

/// Every point charted while somebody else read lies between what they read around it.
fn points_lie_within(
    lab: &Lab,
    chart: &str,
    dim: &str,
    readings: &[Value],
    key: &str,
    step: f64,
) -> anyhow::Result<()> {
    let readings: Vec<(f64, f64)> = readings
        .iter()
        .map(|reading| Some((reading["time"].as_f64()?, reading[key].as_f64()?)))
        .collect::<Option<_>>()
        .with_context(|| format!("a reading without {key}"))?;
    let (first, last) = (readings[0].0, readings[readings.len() - 1].0);
    let mut compared = 0;
    for (at, value) in lab.instance.api().series(chart, 60)?.dim(dim)? {
        let at = at as f64;
        let (Some(value), true) = (value, at - AROUND_S >= first && at + AROUND_S <= last) else {
            continue;
        };
        let near = readings.iter().filter(|(t, _)| (t - at).abs() <= AROUND_S);
        let (low, high) = near.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, v)| {
            (low.min(*v), high.max(*v))
        });
        let slack = step + high.abs() * 1e-6 + (high - low) * MISSED_PEAK;
        ensure!(
            (low - slack..=high + slack).contains(&value),
            "{chart} {dim}: charted {value} at {at}, nvidia-ml-py read {low} to {high}"
        );
        compared += 1;
    }
    ensure!(compared >= 3, "{chart} {dim}: only {compared} points");
    Ok(())
}

/// The lowest and highest value charted around `when` have `read` between them.
fn points_enclose(
    lab: &Lab,
    chart: &str,
    dim: &str,
    when: &RangeInclusive<i64>,
    read: f64,
    step: f64,
) -> anyhow::Result<()> {
    let (from, to) = (
        *when.start() as f64 - AROUND_S,
        *when.end() as f64 + AROUND_S,
    );
    let points = lab.instance.api().series(chart, 60)?.dim(dim)?;
    let near: Vec<_> = points
        .into_iter()
        .filter(|(at, _)| (from..=to).contains(&(*at as f64)))
        .filter_map(|(_, value)| value)
        .collect();
    ensure!(
        near.len() >= 3,
        "{chart} {dim}: only {near:?} around {when:?}"
    );
    let low = near.iter().copied().fold(f64::INFINITY, f64::min);
    let high = near.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let slack = step + read.abs() * 1e-6 + (high - low) * CUT_PEAK;
    ensure!(
        (low - slack..=high + slack).contains(&read),
        "{chart} {dim}: charted {low} to {high}, gpustat read {read}"
    );
    Ok(())
}

/// The average power we chart from the energy counter is the joules between two readings of others.
fn average_power(lab: &Lab, uuid: &str, first: &Value, last: &Value) -> anyhow::Result<()> {
    let number = |value: &Value, key: &str| value[key].as_f64().context("not a number");
    let (from, to) = (number(first, "time")?, number(last, "time")?);
    let watts = (number(last, "energy")? - number(first, "energy")?) / 1000.0 / (to - from);
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
