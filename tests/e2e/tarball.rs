//! What `make dist` packs, unpacked by somebody who has neither Rust nor the repository.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::Instance;
use harness::place::Place;
use harness::wait_for;

/// What has to be in it, beside programs and configuration.
const HOLDS: &[&str] = &[
    "SHA256SUMS",
    "bin/launcher",
    "lib/netdata-launcher/rs.d.plugin",
    "lib/netdata-launcher/conf.d/rs.d/sglang.conf",
    "lib/netdata-launcher/conf.d/health.d/sglang.conf",
    "share/bash-completion/completions/launcher",
    "share/zsh/site-functions/_launcher",
    "share/fish/vendor_completions.d/launcher.fish",
    "share/man/man1/launcher.1",
    "share/man/man1/launcher-start.1",
    "share/doc/LICENSE",
    "share/doc/README.md",
    "share/doc/THIRD-PARTY-LICENSES",
];

/// It is complete, its checksums are right, and Netdata with our charts runs from it.
pub fn runs_where_it_is_unpacked(place: &Place) -> anyhow::Result<()> {
    let tarball = std::env::var_os("E2E_TARBALL")
        .context("E2E_TARBALL does not name the tarball; run the tests with `make test`")?;
    let given = Path::new(&tarball).canonicalize()?;
    eprintln!(
        "{} KiB packed",
        std::fs::metadata(&given).context("no tarball")?.len() / 1024
    );
    // The user who unpacks it can read neither the checkout nor what was built there.
    let copy = place.dir.join("unpacked.tar.gz");
    std::fs::copy(&given, &copy)?;
    place.own(&copy)?;
    let dir = place.dir.join("unpacked");
    place.make_dir(&dir)?;
    run(place
        .command("tar")
        .args(["--strip-components=1", "-xzf"])
        .arg(&copy)
        .arg("-C")
        .arg(&dir))?;
    for file in HOLDS {
        let size = std::fs::metadata(dir.join(file)).with_context(|| (*file).to_owned())?;
        ensure!(size.len() > 0, "{file} is empty");
    }
    run(place
        .command("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(&dir))?;
    let licences = std::fs::read_to_string(dir.join("share/doc/THIRD-PARTY-LICENSES"))?;
    ensure!(licences.lines().count() > 30, "{licences}");
    for line in licences.lines() {
        let (name, licence) = line.split_once(": ").unwrap_or_default();
        ensure!(!licence.is_empty(), "no licence: {line:?}");
        ensure!(!name.contains('/'), "a path of the builder's: {line:?}");
    }
    let mut there = place.clone();
    there.dist = dir;
    let instance = Instance::new(&there, "unpacked", &[])?;
    instance.start()?;
    wait_for("the plugin's charts", Duration::from_secs(30), || {
        let values = instance
            .api()
            .series("netdata.rs_d_plugin_resources_memory", 10)?
            .values("rss")?;
        ensure!(values.len() >= 2, "{values:?}");
        Ok(())
    })?;
    instance.stop()?;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat())
    );
    Ok(())
}
