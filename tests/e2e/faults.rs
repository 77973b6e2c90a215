//! What a machine does to a running instance: any of its processes is killed, its clock jumps.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// `kill -9` of each kind of process in the tree, one a start: `status` answers, `stop` leaves nothing behind.
pub fn each_process_killed(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "each", &[])?;
    instance.start()?;
    wait_for("the plugins", Duration::from_secs(30), || {
        let comms = comms(&instance);
        let all = ["rs.d.plugin", "apps.plugin", "squashfuse_ll"];
        ensure!(
            all.iter().all(|comm| comms.contains(*comm)),
            "only {comms:?}"
        );
        Ok(())
    })?;
    let kinds = comms(&instance);
    ensure!(kinds.len() >= 5, "only {kinds:?}");
    for kind in &kinds {
        if instance.processes().is_empty() {
            instance.start()?;
        }
        let victim = instance
            .processes()
            .into_iter()
            .find(|known| known.comm == *kind);
        // Some live for a moment only.
        let Some(victim) = victim else { continue };
        if kill(Pid::from_raw(victim.pid), Signal::SIGKILL).is_err() {
            continue;
        }
        let status = instance.launcher(&["status"])?;
        ensure!(status.code.is_some(), "status died after the end of {kind}");
        let stopped = instance.stop()?;
        let left = instance.processes();
        eprintln!(
            "{kind} killed: status {:?}, {}",
            status.code,
            stopped.text.lines().next().unwrap_or_default()
        );
        ensure!(
            left.is_empty(),
            "after the end of {kind}: {left:?}\n{}",
            stopped.text
        );
    }
    Ok(())
}

fn comms(instance: &Instance) -> BTreeSet<String> {
    instance
        .processes()
        .into_iter()
        .map(|known| known.comm)
        .collect()
}

/// The launcher's clock is two days ahead, then two days behind: it knows what runs all the same, and ends it.
pub fn clock_jumps(place: &Place) -> anyhow::Result<()> {
    let given = std::env::var_os("E2E_FAKETIME")
        .context("E2E_FAKETIME does not name libfaketime.so.1; run the tests with `make test`")?;
    let library = place.dir.join("libfaketime.so.1");
    std::fs::copy(&given, &library).with_context(|| given.display().to_string())?;
    place.own(&library)?;
    let library = library.to_str().context("a path that is no text")?;
    let at = |by: &'static str| {
        [
            ("LD_PRELOAD", library),
            ("FAKETIME", by),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    };
    // The test can fail: the time is another one.
    let shown = place.command("date").envs(at("-20d")).arg("+%s").output()?;
    let shown: i64 = String::from_utf8_lossy(&shown.stdout).trim().parse()?;
    ensure!(
        shown < harness::unix_now()? - 86_400,
        "the clock did not jump: {shown}"
    );
    let instance = Instance::new(place, "clock", &[])?;
    for by in ["+2d", "-2d"] {
        instance.start()?;
        let pid = instance.outer_pid()?;
        let status = instance.launcher_with(&at(by), &["status"])?;
        ensure!(
            status.code == Some(0),
            "{by}: {:?} {}",
            status.code,
            status.text
        );
        let uptime = status.text.lines().next().unwrap_or_default();
        ensure!(
            !uptime.contains(" d ") && !uptime.contains(" h "),
            "{by}: {uptime}"
        );
        let again = instance.launcher_with(&at(by), &["start", "--beside-another"])?;
        ensure!(
            again.code == Some(0)
                && again.text.contains("already running")
                && instance.outer_pid()? == pid,
            "{by}: {}",
            again.text
        );
        let stopped = instance.launcher_with(&at(by), &["stop"])?;
        ensure!(
            stopped.code == Some(0) && instance.processes().is_empty(),
            "{by}: {}",
            stopped.text
        );
    }
    Ok(())
}
