//! A machine without a GPU and without a driver: what `make start` gives there.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;

/// What the user has today, row by row, and the contexts that show it.
const ROWS: &[(&str, &[&str])] = &[
    (
        "CPU usage, overall and per core",
        &["system.cpu", "cpu.cpu"],
    ),
    ("memory utilisation", &["system.ram"]),
    ("disk I/O and file systems", &["system.io", "disk.space"]),
    (
        "network traffic and connections",
        &["system.net", "ipv4.sockstat_sockets"],
    ),
    ("load averages", &["system.load"]),
    (
        "process statistics",
        &["apps.cpu", "apps.mem", "users.cpu", "system.processes"],
    ),
];

/// Netdata runs with system and process charts, a server is found without any configuration, and the missing
/// driver is named once.
pub fn gets_everything_else(place: &Place) -> anyhow::Result<()> {
    let server = Server::start(place, "0.5.23", &["--growth", "4"])?;
    let instance = Instance::as_installed(place, "no-gpu", &["--gpu", "auto"])?;
    let outcome = instance.start()?;
    let api = instance.api();
    for (row, contexts) in ROWS {
        for context in *contexts {
            wait_for(
                &format!("{row}: {context}"),
                Duration::from_secs(40),
                || {
                    let ids = api.ids_of(context)?;
                    let id = ids.first().context("no such chart")?;
                    let series = api.series(id, 10)?;
                    let filled = series
                        .points
                        .iter()
                        .any(|(_, v)| v.iter().any(Option::is_some));
                    ensure!(filled, "{id} has no values");
                    Ok(())
                },
            )?;
        }
    }
    ensure!(
        api.ids_of("nvidia_smi.gpu_utilization")?.is_empty(),
        "a GPU where there is none"
    );
    // There is no configuration at all here: the server is found by itself.
    let found = format!("sglang_{}.token_throughput", server.port);
    wait_for(&found, Duration::from_secs(60), || {
        let decode = api.series(&found, 30)?.values("decode")?;
        ensure!(!decode.is_empty(), "it has no values");
        Ok(())
    })?;
    // Long enough for several tries of the job.
    std::thread::sleep(Duration::from_secs(30).saturating_sub(outcome.took));
    let logs = instance.logs();
    let driver: Vec<_> = logs
        .lines()
        .filter(|line| line.contains("collector=nvidia") && line.contains("level=warning"))
        .collect();
    eprintln!("{driver:#?}");
    ensure!(
        driver.len() == 1,
        "the missing driver is mentioned {} times",
        driver.len()
    );
    ensure!(
        driver[0].to_lowercase().contains("driver"),
        "it is not about a driver: {}",
        driver[0]
    );
    let waiting = api
        .series("netdata.rs_d_nvidia_gpus_status", 5)?
        .values("waiting")?;
    ensure!(
        waiting.last() == Some(&1.0),
        "the job's chart does not say that it waits for a driver: {waiting:?}"
    );
    instance.stop()?;
    Ok(())
}
