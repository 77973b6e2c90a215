//! `uninstall`: stops Netdata and removes everything the launcher made: what is left is what was there before
//! the first start, and files that the user put into the home.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::service::Service;
use super::{Scene, keep, stop};
use crate::cli::UninstallArgs;
use crate::paths::{MACHINE, Paths};
use crate::removal::Removal;
use crate::snapshot;
use crate::state_place;

/// History and identity, and the user's own configuration.
const DATA: [&str; 3] = ["lib", "cache", "config"];

pub(super) fn run(scene: &Scene, args: &UninstallArgs) -> Result<ExitCode> {
    let paths = &scene.paths;
    let mut removal = Removal::new(args.dry_run);
    let others = state_place::others(paths, &scene.host);
    if paths.home().exists() {
        let _lock = scene.take("uninstall")?;
        if let Some((host, file)) = runs_elsewhere(scene) {
            bail!(
                "Netdata runs from this home on {host} too: launcher stop there first\n\
                 (if that machine is gone, remove {})",
                file.display()
            );
        }
        if !args.dry_run {
            keep::forget(scene)?;
            out!("{}", stop::end(scene)?);
            Service::of(scene)?.remove_quietly()?;
        }
        let above = fs::read_to_string(paths.made_for_home()).unwrap_or_default();
        remove_home(paths, args.keep_data, &mut removal)?;
        // The lock is the last file of ours; its holder may unlink it.
        removal.take(&paths.lock_file(), "lock")?;
        removal.take_empty(paths.home());
        for dir in paths.home().ancestors().skip(1) {
            if above.lines().any(|made| Path::new(made) == dir) {
                removal.take_empty(dir);
            }
        }
    }
    for (host, place) in others {
        out!("history and identity of {host} are in {place} there: remove them there");
    }
    removal.take_downloads(&Paths::cache_dir()?)?;
    if !args.dry_run && paths.home().exists() {
        out!("left alone: {}", left(paths).join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn remove_home(paths: &Paths, keep_data: bool, removal: &mut Removal) -> Result<()> {
    removal.take(&paths.workspace(), "left by a pull that was killed")?;
    for image in of_machines(paths, "sif").collect::<Vec<_>>() {
        removal.take(&image, "image")?;
    }
    removal.take(&paths.image_record(), "where the image came from")?;
    for (_, kept) in snapshot::images(paths) {
        removal.take(&kept, "from before an update")?;
    }
    removal.take(&paths.pid_file(), "pid file")?;
    removal.take(&paths.home().join("logs"), "logs")?;
    let elsewhere = (paths.state() != paths.state_in_home()).then(|| paths.state());
    if !keep_data {
        if let Some(elsewhere) = elsewhere {
            removal.take(&elsewhere, "state and history")?;
            // Of all homes of this user.
            if let Some(dir) = elsewhere.parent().filter(|dir| state_place::is_ours(dir)) {
                removal.take_empty(dir);
            }
        }
        return removal.take(&paths.shared_state(), "state, history and configuration");
    }
    let in_home = [paths.state_in_home(), paths.shared_state()];
    for dir in elsewhere.into_iter().chain(in_home) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let machines = name.as_encoded_bytes().starts_with(MACHINE.as_bytes());
            let kept =
                DATA.iter().any(|kept| name == *kept) || state_place::is_note(&name) || machines;
            if !kept {
                removal.take(&entry.path(), "state")?;
            }
        }
    }
    Ok(())
}

/// Another machine that runs something from this home, by its pid file.
fn runs_elsewhere(scene: &Scene) -> Option<(String, PathBuf)> {
    let own = scene.paths.pid_file();
    let files = of_machines(&scene.paths, "pid").filter(|file| *file != own);
    let mut hosts = files.filter_map(|file| {
        let text = fs::read_to_string(&file).ok()?;
        let host = text.lines().find_map(|line| line.strip_prefix("host="))?;
        (host != scene.host).then(|| (host.to_owned(), file))
    });
    hosts.next()
}

/// Files of the home that each machine may have one of: `netdata-HOST.EXTENSION`, and the one without a name.
fn of_machines(paths: &Paths, extension: &str) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(paths.home()).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(move |path| {
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        path.extension().is_some_and(|found| found == extension)
            && (stem == "netdata" || stem.starts_with("netdata-"))
    })
}

/// What is still in the home.
fn left(paths: &Paths) -> Vec<String> {
    let entries = fs::read_dir(paths.home()).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}
