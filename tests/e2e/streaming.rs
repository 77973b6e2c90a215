//! Two children and a parent: what the children chart is shown by the parent.

use std::os::unix::fs::PermissionsExt as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::server::Server;
use harness::{unix_now, wait_for};

/// Charts of the machine, of the plugin and of a GPU.
const CONTEXTS: &[&str] = &[
    "system.cpu",
    "netdata.rs_d_job_status",
    "nvidia_smi.gpu_utilization",
];
/// Of a server.
const SERVER: &str = "sglang.token_throughput";
/// What a child cut off goes on with, every second.
const KEPT: &str = "netdata.rs_d_plugin_resources_memory";
/// Time without a parent.
const CUT_OFF: Duration = Duration::from_secs(20);
/// Netdata tries again every few seconds, and then brings the past.
const BACK_WITHIN: Duration = Duration::from_secs(120);

/// Both children are shown by the parent, under their names and with values; and what a child charted while there
/// was no parent, the parent has when it is back.
pub fn parent_and_two_children(place: &Place) -> anyhow::Result<()> {
    let server = Server::start(place, "0.5.23", &["--growth", "4"])?;
    let parent = Instance::new(place, "parent", &["--hostname", "parent"])?;
    let children = [
        child(place, &parent, "child-1", &[])?,
        child(place, &parent, "child-2", &[])?,
    ];
    children[0].sees(&[&server])?;
    parent.start()?;
    for child in &children {
        child.start()?;
    }
    shown(&parent, "child-1", &[CONTEXTS, &[SERVER]].concat())?;
    shown(&parent, "child-2", CONTEXTS)?;

    parent.stop()?;
    let from = unix_now()?;
    sleep(CUT_OFF);
    let to = unix_now()?;
    parent.start()?;
    wait_for("what was missed", BACK_WITHIN, || {
        let window = u64::try_from(unix_now()? - from + 5)?;
        let own = children[0].api().series(KEPT, window)?.dim("rss")?;
        let path = format!("/host/child-1/api/v1/data?chart={KEPT}");
        let there = parent.api().series_at(&path, window)?.dim("rss")?;
        let missed: Vec<_> = own
            .iter()
            .filter(|(at, value)| (from..to).contains(at) && value.is_some())
            .collect();
        ensure!(
            missed.len() + 3 > CUT_OFF.as_secs() as usize,
            "the child itself has only {} points",
            missed.len()
        );
        let lost: Vec<_> = missed
            .into_iter()
            .filter(|point| !there.contains(point))
            .collect();
        ensure!(lost.is_empty(), "the parent has not {lost:?}: {there:?}");
        Ok(())
    })?;
    for child in &children {
        child.stop()?;
    }
    parent.stop()?;
    Ok(())
}

/// The same through TLS, with a certificate that the launcher made.
pub fn encrypted(place: &Place) -> anyhow::Result<()> {
    let parent = Instance::new(place, "tls-parent", &["--hostname", "tls-parent"])?;
    let child = child(place, &parent, "tls-child", &["--tls"])?;
    let conf = child.home.join("state/config/stream.conf");
    let conf = std::fs::read_to_string(conf)?;
    ensure!(conf.contains(":SSL\n"), "it would not encrypt");
    let key = parent.home.join("state/config/ssl/key.pem");
    let mode = std::fs::metadata(&key)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the key's mode is {mode:o}");
    parent.start()?;
    child.start()?;
    shown(&parent, "tls-child", CONTEXTS)?;
    child.stop()?;
    parent.stop()?;
    Ok(())
}

/// A child of `parent`, not started yet, and the parent's file for it.
fn child(place: &Place, parent: &Instance, name: &str, tls: &[&str]) -> anyhow::Result<Instance> {
    let library = place.dist.join("simulated/libnvidia-ml.so.1");
    let library = library.to_str().context("a path that is no text")?;
    let key = place.dir.join(format!("key-{name}"));
    let key = key.to_str().context("a path that is no text")?.to_owned();
    let accept = ["stream", "--accept", &key, "--from", "127.0.0.1"];
    let outcome = parent.launcher(&[&accept, tls].concat())?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let child = Instance::new(
        place,
        name,
        &["--hostname", name, "--nvml-library", library],
    )?;
    let to = format!("127.0.0.1:{}", parent.port);
    let outcome = child.launcher(&[&["stream", "--to", &to, "--key-file", &key], tls].concat())?;
    ensure!(outcome.code == Some(0), "{}", outcome.text);
    let secret = std::fs::read_to_string(&key)?;
    ensure!(
        !outcome.text.contains(secret.trim()),
        "the key is shown: {}",
        outcome.text
    );
    Ok(child)
}

fn shown(parent: &Instance, child: &str, contexts: &[&str]) -> anyhow::Result<()> {
    wait_for(
        &format!("{child} on the parent"),
        Duration::from_secs(180),
        || {
            let charts = parent.api().json(&format!("/host/{child}/api/v1/charts"))?;
            ensure!(
                charts["hostname"] == child,
                "the parent does not know {child}"
            );
            let charts = charts["charts"].as_object().context("no charts")?;
            for context in contexts {
                let found = charts
                    .iter()
                    .find(|(_, chart)| chart["context"] == *context);
                let (id, _) = found.with_context(|| format!("no {context}"))?;
                let data = parent.api().json(&format!(
                    "/host/{child}/api/v1/data?chart={id}&after=-10&options=unaligned"
                ))?;
                let rows = data["data"].as_array().context("no data")?;
                let filled = rows.iter().any(|row| {
                    row.as_array()
                        .is_some_and(|row| row[1..].iter().any(|value| !value.is_null()))
                });
                ensure!(filled, "{id} of {child} has no values");
            }
            Ok(())
        },
    )
}
