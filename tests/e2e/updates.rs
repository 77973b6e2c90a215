//! Images from a real registry, and updates: to something newer, to something broken, to nothing.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::registry::{PLAIN, Registry, broken_image};
use harness::{unix_now, wait_for};

/// The image under another digest: what follows the last byte of a SIF is nobody's.
fn newer(place: &Place, instance: &Instance) -> anyhow::Result<PathBuf> {
    let file = instance.home.join("newer.sif");
    std::fs::copy(&place.image, &file)?;
    let mut end = std::fs::OpenOptions::new().append(true).open(&file)?;
    end.write_all(b"newer")?;
    place.own(&file)?;
    Ok(file)
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path that is no text")
}

/// `update` gets the image anew from where it came and restarts only on another one; `shell` opens a shell
/// in the same container.
pub fn restart_on_what_is_newer(place: &Place) -> anyhow::Result<()> {
    let instance = Instance::new(place, "update", &[])?;
    let run = |words: &[&str]| -> anyhow::Result<String> {
        let outcome = instance.launcher(words)?;
        ensure!(
            outcome.code == Some(0),
            "{words:?}: {:?} {}",
            outcome.code,
            outcome.text
        );
        Ok(outcome.text)
    };
    let image = instance.home.join("image.sif");
    run(&["pull", "--image", text(&image)?])?;
    let port = instance.port.to_string();
    run(&["start", "--port", &port, "--listen", "127.0.0.1"])?;
    let first = instance.outer_pid()?;
    let said = run(&["update"])?;
    ensure!(
        said.contains("nothing newer") && instance.outer_pid()? == first,
        "restarted for nothing: {said}"
    );
    std::fs::rename(newer(place, &instance)?, &image)?;
    let said = run(&["update"])?;
    ensure!(said.contains("image    file sha256:"), "{said}");
    ensure!(instance.outer_pid()? != first, "it was not restarted");
    instance
        .api()
        .charts()
        .context("the flags of the start were forgotten")?;
    // It reads no commands here and ends at once.
    run(&["shell"])?;
    instance.stop()?;
    ensure!(
        instance.processes().is_empty(),
        "left behind: {:?}",
        instance.processes()
    );
    Ok(())
}

/// The values of a chart of the system between two times, as the agent has them now.
fn history(instance: &Instance, from: i64, to: i64) -> anyhow::Result<String> {
    let path = format!(
        "/api/v1/data?chart=system.load&after={from}&before={to}&format=json&options=seconds"
    );
    let rows = instance.api().json(&path)?["data"].to_string();
    ensure!(
        rows.len() > 40 && rows.contains('.'),
        "no values from {from} to {to}: {rows}"
    );
    Ok(rows)
}

fn identity(instance: &Instance) -> anyhow::Result<String> {
    let uid = instance.api().json("/api/v1/info")?["uid"].to_string();
    ensure!(uid.len() > 30, "no identity: {uid}");
    Ok(uid)
}

/// From a registry: a start pulls; an image whose Netdata does not come up is taken back, with the history and
/// the identity of before; a newer one that does keeps both; a registry that is down stops nothing.
pub fn broken_is_taken_back(place: &Place) -> anyhow::Result<()> {
    let mut registry = Registry::start(place, "updates")?;
    let instance = Instance::new(place, "broken-update", &[])?;
    registry.push_sif(&place.image, "netdata:stable")?;
    let port = instance.port.to_string();
    let source = format!("oras://127.0.0.1:{}/netdata:stable", registry.port);
    let run = |code: i32, words: &[&str]| -> anyhow::Result<String> {
        let outcome = instance.launcher_with(&[PLAIN], words)?;
        eprintln!(
            "{words:?}: {:?} after {:.1} s\n{}",
            outcome.code,
            outcome.took.as_secs_f64(),
            outcome.text
        );
        ensure!(
            outcome.code == Some(code),
            "{words:?}: {:?} {}",
            outcome.code,
            outcome.text
        );
        Ok(outcome.text)
    };
    run(
        0,
        &[
            "start",
            "--image",
            &source,
            "--port",
            &port,
            "--listen",
            "127.0.0.1",
        ],
    )?;
    // system.load has a value every five seconds.
    let from = unix_now()?;
    let before = wait_for("some history", Duration::from_secs(60), || {
        ensure!(unix_now()? > from + 20, "not yet");
        history(&instance, from, from + 15)
    })?;
    let uid = identity(&instance)?;
    ensure!(
        run(0, &["update"])?.contains("nothing newer"),
        "the same image is called newer"
    );

    let broken = instance.home.join("broken.sif");
    broken_image(place, &broken)?;
    registry.push_sif(&broken, "netdata:stable")?;
    let said = run(1, &["update"])?;
    ensure!(
        said.contains("v1.37.1 -> v99.0.0") && said.contains("does not come up"),
        "{said}"
    );
    ensure!(
        !instance.home.join("state/cache/spoilt").exists(),
        "the databases are the new image's"
    );
    let back = || -> anyhow::Result<()> {
        let now = history(&instance, from, from + 15)?;
        ensure!(now == before, "the history was\n{before}\nand is\n{now}");
        ensure!(identity(&instance)? == uid, "another identity");
        Ok(())
    };
    wait_for(
        "the history after going back",
        Duration::from_secs(30),
        back,
    )?;

    registry.push_sif(&newer(place, &instance)?, "netdata:stable")?;
    let pid = instance.outer_pid()?;
    run(0, &["update"])?;
    ensure!(instance.outer_pid()? != pid, "it was not restarted");
    wait_for("the history after an update", Duration::from_secs(30), back)?;

    registry.stop()?;
    let pid = instance.outer_pid()?;
    let said = run(1, &["update"])?;
    ensure!(said.contains("refuses connections"), "{said}");
    ensure!(
        instance.outer_pid()? == pid,
        "a registry that is down stopped Netdata"
    );
    instance.stop()?;
    Ok(())
}

/// What a pull records is the digest that the registry names; the same tag again is nothing newer.
pub fn digest_and_missing_tag(place: &Place) -> anyhow::Result<()> {
    let registry = Registry::start(place, "digests")?;
    let instance = Instance::new(place, "digests", &[])?;
    let pull = |tag: &str| {
        let source = format!("docker://127.0.0.1:{}/small:{tag}", registry.port);
        instance.launcher_with(&[PLAIN], &["pull", "--image", &source])
    };
    for tag in ["one", "two"] {
        let digest = registry.push_oci("small", tag, tag)?;
        let outcome = pull(tag)?;
        ensure!(outcome.code == Some(0), "{}", outcome.text);
        ensure!(
            outcome.text.contains(&digest[..19]),
            "{digest} is not in {}",
            outcome.text
        );
        let record = std::fs::read_to_string(instance.home.join("netdata.sif.json"))?;
        ensure!(record.contains(&digest), "{digest} is not in {record}");
    }
    let outcome = pull("three")?;
    ensure!(
        outcome.code == Some(1) && outcome.text.contains("no image of that name and tag"),
        "{:?} {}",
        outcome.code,
        outcome.text
    );
    let record = std::fs::read_to_string(instance.home.join("netdata.sif.json"))?;
    ensure!(
        record.contains("small:two"),
        "a failed pull changed the record: {record}"
    );
    Ok(())
}
