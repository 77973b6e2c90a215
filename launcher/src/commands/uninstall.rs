//! `uninstall`: stops Netdata and removes everything the launcher made: what is left is what was there before
//! the first start, and files that the user put into the home.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::service::Service;
use super::{Scene, stop};
use crate::cli::UninstallArgs;
use crate::paths::Paths;
use crate::removal::Removal;
use crate::snapshot;
use crate::state_place;

/// History and identity, and the user's own configuration.
const DATA: [&str; 3] = ["lib", "cache", "config"];

pub(super) fn run(scene: &Scene, args: &UninstallArgs) -> Result<ExitCode> {
    let paths = &scene.paths;
    let mut removal = Removal::new(args.dry_run);
    if paths.home().exists() {
        let _lock = scene.take("uninstall")?;
        if !args.dry_run {
            out!("{}", stop::end(scene)?);
            Service::of(scene)?.remove_quietly()?;
        }
        let above = fs::read_to_string(paths.made_for_home()).unwrap_or_default();
        remove_home(paths, args.keep_data, &mut removal)?;
        // The lock is the last file of ours; its holder may unlink it.
        removal.take(&paths.lock_file(), "lock")?;
        removal.take_empty(paths.home());
        for dir in above.lines().rev().map(PathBuf::from) {
            if paths.home().starts_with(&dir) {
                removal.take_empty(&dir);
            }
        }
    }
    removal.take_downloads(&Paths::cache_dir()?)?;
    if !args.dry_run && paths.home().exists() {
        out!("left alone: {}", left(paths).join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn remove_home(paths: &Paths, keep_data: bool, removal: &mut Removal) -> Result<()> {
    removal.take(&paths.workspace(), "left by a pull that was killed")?;
    removal.take(&paths.image(), "image")?;
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
        return removal.take(&paths.state_in_home(), "state, history and configuration");
    }
    for dir in elsewhere.into_iter().chain([paths.state_in_home()]) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let kept = DATA.iter().any(|kept| name == *kept) || state_place::is_note(&name);
            if !kept {
                removal.take(&entry.path(), "state")?;
            }
        }
    }
    Ok(())
}

/// What is still in the home.
fn left(paths: &Paths) -> Vec<String> {
    let entries = fs::read_dir(paths.home()).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}
