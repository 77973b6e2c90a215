//! Two children and a parent: what the children chart is shown by the parent.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::wait_for;

/// Charts of the machine, of the plugin and of a GPU.
const CONTEXTS: &[&str] = &[
    "system.cpu",
    "netdata.rs_d_job_status",
    "nvidia_smi.gpu_utilization",
];

/// Both children are shown by the parent, under their names and with values.
pub fn parent_and_two_children(place: &Place) -> anyhow::Result<()> {
    let library = place.dist.join("simulated/libnvidia-ml.so.1");
    let library = library.to_str().context("a path that is no text")?;
    let parent = Instance::new(place, "parent", &["--hostname", "parent"])?;
    let children = ["child-1", "child-2"];
    let mut running = vec![];
    for name in children {
        let key = place.dir.join(format!("key-{name}"));
        let key = key.to_str().context("a path that is no text")?.to_owned();
        let outcome = parent.launcher(&["stream", "--accept", &key, "--from", "127.0.0.1"])?;
        ensure!(outcome.code == Some(0), "{}", outcome.text);
        let child = Instance::new(
            place,
            name,
            &["--hostname", name, "--nvml-library", library],
        )?;
        let to = format!("127.0.0.1:{}", parent.port);
        let outcome = child.launcher(&["stream", "--to", &to, "--key-file", &key])?;
        ensure!(outcome.code == Some(0), "{}", outcome.text);
        let secret = std::fs::read_to_string(&key)?;
        ensure!(
            !outcome.text.contains(secret.trim()),
            "the key is shown: {}",
            outcome.text
        );
        running.push(child);
    }
    parent.start()?;
    for child in &running {
        child.start()?;
    }
    for name in children {
        shown(&parent, name)?;
    }
    for child in &running {
        child.stop()?;
    }
    parent.stop()?;
    Ok(())
}

fn shown(parent: &Instance, child: &str) -> anyhow::Result<()> {
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
            for context in CONTEXTS {
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
