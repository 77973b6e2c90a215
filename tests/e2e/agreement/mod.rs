//! Independent readers of the same simulated library, each with every value that it and we both tell:
//! nvidia-ml-py, gpustat, nvitop, nvitop-exporter, and nvtop in a terminal of its own.

mod bracket;
mod processes;
mod tables;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use harness::place::{Place, free_port};
use harness::unix_now;
use serde_json::Value;

use crate::lab::Lab;
use tables::Compared;

/// How long each reads: long enough for several points of what is charted every five seconds, and for one of what is
/// charted every ten.
const SECONDS: &str = "40";

/// One who reads for a while.
struct Reader {
    name: &'static str,
    script: &'static str,
    compared: &'static [Compared],
}

const READERS: [Reader; 4] = [
    Reader {
        name: "nvidia-ml-py",
        script: include_str!("read_nvml.py"),
        compared: tables::NVML,
    },
    Reader {
        name: "nvitop",
        script: include_str!("read_nvitop.py"),
        compared: tables::NVITOP,
    },
    Reader {
        name: "nvitop-exporter",
        script: include_str!("read_exporter.py"),
        compared: tables::EXPORTER,
    },
    Reader {
        name: "nvtop",
        script: include_str!("read_nvtop.py"),
        compared: tables::NVTOP,
    },
];

/// What all of them read is what Netdata says we charted, at the time at which they read it.
pub fn independent_readers(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(Duration::from_secs(40));
    let port = free_port()?.to_string();
    let nvtop = lab.place.python.with_file_name("nvtop");
    ensure!(
        nvtop.exists(),
        "{} is missing; `make test` makes it",
        nvtop.display()
    );
    let nvtop = nvtop.to_str().context("a path that is no text")?;
    let (read, gpustat, when) = std::thread::scope(|scope| {
        let running = READERS.each_ref().map(|reader| {
            let more = match reader.name {
                "nvitop-exporter" => &port,
                "nvtop" => nvtop,
                _ => "",
            };
            let words = ["-c", reader.script, SECONDS, more];
            scope.spawn(move || run_python(&lab.place, &words))
        });
        std::thread::sleep(Duration::from_secs(4));
        let asked = unix_now()?;
        let gpustat = run_python(&lab.place, &["-m", "gpustat", "--json"])?;
        let when = asked..=unix_now()?;
        let read = running
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a reader panicked"))?)
            .collect::<anyhow::Result<Vec<_>>>()?;
        anyhow::Ok((read, gpustat, when))
    })?;
    // Points that enclose the readings have to be stored first.
    std::thread::sleep(Duration::from_secs(6));
    let uuids = uuids(&read[0])?;
    ensure!(uuids.len() == 4, "nvidia-ml-py sees {uuids:?}");
    for (reader, gpus) in READERS.iter().zip(&read) {
        agrees(lab, reader, gpus, &uuids)?;
    }
    let listed = gpustat["gpus"]
        .as_array()
        .context("gpustat lists no GPUs")?;
    ensure!(listed.len() == 4, "gpustat sees {} GPUs", listed.len());
    for (uuid, theirs) in uuids.iter().zip(listed) {
        let same = theirs["uuid"].as_str().map(str::to_lowercase);
        ensure!(same.as_ref() == Some(uuid), "gpustat sees another order");
        for compared in tables::GPUSTAT {
            let key = compared.key;
            let value = theirs[key].as_f64();
            let value = value.with_context(|| format!("gpustat: no {key}"))?;
            bracket::enclose(lab, uuid, compared, &when, value)?;
        }
    }
    for (gpu, uuid) in read[0].as_array().context("no GPUs")?.iter().zip(&uuids) {
        let readings = gpu["readings"].as_array().context("no readings")?;
        average_power(lab, uuid, readings)?;
    }
    Ok(())
}

fn uuids(gpus: &Value) -> anyhow::Result<Vec<String>> {
    let gpus = gpus.as_array().context("no list of GPUs")?;
    gpus.iter()
        .map(|gpu| Some(gpu["uuid"].as_str()?.to_lowercase()))
        .collect::<Option<_>>()
        .context("a GPU without UUID")
}

/// Compares all that one of them read of the four GPUs.
fn agrees(lab: &Lab, reader: &Reader, gpus: &Value, uuids: &[String]) -> anyhow::Result<()> {
    let name = reader.name;
    let gpus = gpus.as_array().context("no list of GPUs")?;
    ensure!(gpus.len() == uuids.len(), "{name} sees {} GPUs", gpus.len());
    let (mut points, mut holders) = (0, 0);
    let mut values = BTreeMap::<_, usize>::new();
    for gpu in gpus {
        let uuid = match (gpu["uuid"].as_str(), gpu["index"].as_u64()) {
            (Some(uuid), _) => uuid.to_lowercase(),
            (_, Some(index)) => uuids[index as usize].clone(),
            _ => anyhow::bail!("{name}: a GPU without UUID or index"),
        };
        let readings = gpu["readings"].as_array().context("no readings")?;
        for compared in reader.compared {
            let chart = compared.chart.replace("{}", &uuid);
            let Some(read) = bracket::read(readings, compared.key) else {
                continue;
            };
            let charted = bracket::points(lab, &chart, compared.dims)?;
            let what = format!("{name} {}, {chart} {:?}", compared.key, compared.dims);
            points += bracket::lie_within(&what, &charted, &read, compared.step, 0.0)?;
            *values.entry(compared.key).or_default() += 1;
        }
        holders += processes::agree(lab, name, &uuid, readings)?;
    }
    // An exporter that is asked while it takes stock leaves out a process for once, which is then not compared.
    let least = uuids.len() - 1;
    ensure!(holders >= least, "{name} saw {holders} processes");
    for compared in reader.compared {
        let gpus = values.get(compared.key).copied().unwrap_or(0);
        ensure!(gpus >= 3, "{name} tells {} of {gpus} GPUs", compared.key);
    }
    let values: usize = values.values().sum();
    eprintln!("{name}: {values} values and {holders} holders of memory agree, {points} points");
    Ok(())
}

/// The average power we chart from the energy counter is the joules between two readings of others.
fn average_power(lab: &Lab, uuid: &str, readings: &[Value]) -> anyhow::Result<()> {
    let energy = bracket::read(readings, "energy").context("no energy")?;
    let (Some((from, before)), Some((to, after))) = (energy.first(), energy.last()) else {
        anyhow::bail!("no readings");
    };
    let watts = (after - before) / 1000.0 / (to - from);
    let chart = format!("nvidia.gpu_{uuid}_power");
    // A point stands for the second before it; those at the ends count by their part within.
    let (mut joules, mut seconds) = (0.0, 0.0);
    for (at, value) in bracket::points(lab, &chart, &["average"])? {
        let overlap = (at.min(*to) - (at - 1.0).max(*from)).max(0.0);
        joules += value * overlap;
        seconds += overlap;
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
    let script = words.last().map_or("", |words| words);
    serde_json::from_str(&text).with_context(|| format!("{script}: {text:.300} {errors:.900}"))
}
