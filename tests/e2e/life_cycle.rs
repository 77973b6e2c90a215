//! Starting and stopping, also after somebody killed things, and pid files that lie.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Within this time a started instance has all its processes.
const SETTLES_WITHIN: Duration = Duration::from_secs(15);

/// Starts `instance`, lets `harm` do something to it, stops it, and looks that nothing of it is left; then
/// does it again without harm.
fn round(
    instance: &Instance,
    harm: impl Fn(&Instance) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let before = instance.processes();
    ensure!(before.is_empty(), "not a clean beginning: {before:?}");
    instance.start()?;
    wait_for("the plugin", SETTLES_WITHIN, || instance.plugin_pid())?;
    let running = instance.processes();
    for comm in ["netdata", "rs.d.plugin", "apps.plugin"] {
        ensure!(
            running.iter().any(|known| known.comm == comm),
            "{comm} does not run: {running:?}"
        );
    }
    harm(instance)?;
    let outcome = instance.stop()?;
    let after = instance.processes();
    eprintln!(
        "{} processes; stop took {:.1} s",
        running.len(),
        outcome.took.as_secs_f64()
    );
    ensure!(after == before, "left behind: {after:?}\n{}", outcome.text);
    instance.start()?;
    ensure!(
        !instance.processes().is_empty(),
        "the second start started nothing"
    );
    instance.stop()?;
    ensure!(
        instance.processes() == before,
        "left behind: {:?}",
        instance.processes()
    );
    Ok(())
}

fn murder(pid: i32) -> anyhow::Result<()> {
    kill(Pid::from_raw(pid), Signal::SIGKILL).context("cannot kill it")?;
    wait_for("its death", Duration::from_secs(5), || {
        let stat = procfs::process::Process::new(pid).and_then(|process| process.stat());
        ensure!(
            stat.is_err() || stat.is_ok_and(|stat| stat.state == 'Z'),
            "{pid} lives"
        );
        Ok(())
    })
}

/// A plain start and stop.
pub fn stop_leaves_nothing(place: &Place) -> anyhow::Result<()> {
    round(&Instance::new(place, "plain", &[])?, |_| Ok(()))
}

/// `kill -9` of the process whose pid is recorded.
pub fn outer_killed(place: &Place) -> anyhow::Result<()> {
    round(&Instance::new(place, "outer", &[])?, |instance| {
        murder(instance.outer_pid()?)
    })
}

/// `kill -9` of netdata.
pub fn netdata_killed(place: &Place) -> anyhow::Result<()> {
    round(&Instance::new(place, "netdata", &[])?, |instance| {
        murder(instance.netdata_pid()?)
    })
}

/// A second `start` says that it runs, a second `stop` that it does not; `status` tells both by its code.
pub fn said_twice(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "twice", &[])?;
    ensure!(
        instance.launcher(&["status"])?.code == Some(1),
        "running before the start"
    );
    instance.start()?;
    let pid = instance.outer_pid()?;
    let running = instance.processes();
    let again = instance.start()?;
    ensure!(
        instance.outer_pid()? == pid,
        "the second start started another one"
    );
    ensure!(
        again.took < Duration::from_secs(5),
        "the second start took {:?}",
        again.took
    );
    let netdatas = |all: &std::collections::BTreeSet<harness::processes::Known>| {
        all.iter().filter(|known| known.comm == "netdata").count()
    };
    ensure!(
        netdatas(&instance.processes()) == netdatas(&running),
        "a second netdata runs"
    );
    let status = instance.launcher(&["status"])?;
    ensure!(
        status.code == Some(0),
        "status: {:?} {}",
        status.code,
        status.text
    );
    ensure!(
        status.text.contains(&instance.port.to_string()),
        "no URL in {}",
        status.text
    );
    let logs = instance.launcher(&["logs", "-n", "1000"])?;
    ensure!(
        logs.code == Some(0) && logs.text.contains("rs.d"),
        "logs: {}",
        logs.text
    );
    instance.stop()?;
    instance.stop()?;
    ensure!(
        instance.processes().is_empty(),
        "left behind: {:?}",
        instance.processes()
    );
    Ok(())
}

/// The pid of a stale pid file now belongs to somebody else: they are left alone, and `start` starts.
pub fn foreign_pid(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "foreign", &[])?;
    instance.start()?;
    let pid = instance.outer_pid()?;
    let pid_file = instance.home.join("netdata.pid");
    let text = std::fs::read_to_string(&pid_file)?;
    instance.stop()?;
    let mut bystander = place
        .command("sleep")
        .arg("120")
        .stdin(Stdio::null())
        .spawn()?;
    let outcome = (|| {
        place.write(
            &pid_file,
            &text.replace(&pid.to_string(), &bystander.id().to_string()),
        )?;
        std::fs::set_permissions(&pid_file, std::fs::Permissions::from_mode(0o600))?;
        instance.stop()?;
        ensure!(
            bystander.try_wait()?.is_none(),
            "stop killed a foreign process"
        );
        place.write(
            &pid_file,
            &text.replace(&pid.to_string(), &bystander.id().to_string()),
        )?;
        ensure!(
            instance.launcher(&["status"])?.code == Some(1),
            "status takes it for ours"
        );
        instance.start()?;
        ensure!(
            bystander.try_wait()?.is_none(),
            "start killed a foreign process"
        );
        instance.stop()?;
        ensure!(
            bystander.try_wait()?.is_none(),
            "stop killed a foreign process"
        );
        Ok(())
    })();
    bystander.kill()?;
    bystander.wait()?;
    outcome
}

/// A pid file of an earlier boot: its pid and session mean nothing now.
pub fn reboot(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "reboot", &[])?;
    instance.start()?;
    let pid_file = instance.home.join("netdata.pid");
    let text = std::fs::read_to_string(&pid_file)?;
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let boot_id = boot_id.trim();
    ensure!(
        text.contains(boot_id),
        "the pid file does not hold the boot id: {text}"
    );
    instance.stop()?;
    // Everything else in the file is of a process that lives and looks like ours; only the boot differs.
    let other = Instance::new(place, "other-boot", &[])?;
    other.start()?;
    let theirs = std::fs::read_to_string(other.home.join("netdata.pid"))?;
    place.write(
        &pid_file,
        &theirs.replace(boot_id, "00000000-0000-4000-8000-000000000000"),
    )?;
    ensure!(
        instance.launcher(&["status"])?.code == Some(1),
        "status takes it for running"
    );
    instance.launcher(&["stop"])?;
    ensure!(
        other.netdata_pid().is_ok(),
        "stop followed a pid file of another boot"
    );
    instance.start()?;
    instance.stop()?;
    other.stop()?;
    Ok(())
}

/// In the foreground it ends what it started on TERM, with 0; and when Netdata dies it says so, with 1.
pub fn foreground(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "foreground", &["--foreground"])?;
    for (killed, expected) in [(false, Some(0)), (true, Some(1))] {
        let mut launcher = instance.spawn_start()?;
        wait_for("the plugin", Duration::from_secs(60), || {
            instance.plugin_pid()
        })?;
        wait_for("a complete start", Duration::from_secs(60), || {
            ensure!(
                instance.home.join("state/generated/start.json").exists(),
                "not yet"
            );
            Ok(())
        })?;
        if killed {
            murder(instance.outer_pid()?)?;
        } else {
            kill(Pid::from_raw(launcher.id().cast_signed()), Signal::SIGTERM)?;
        }
        let code = wait_for("its end", Duration::from_secs(40), || {
            launcher.try_wait()?.context("it goes on")
        })?;
        ensure!(
            code.code() == expected,
            "killed: {killed}, exit code {code}"
        );
        ensure!(
            instance.processes().is_empty(),
            "left behind: {:?}",
            instance.processes()
        );
        let _ = std::fs::remove_file(instance.home.join("state/generated/start.json"));
    }
    Ok(())
}
