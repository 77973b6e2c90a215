//! `restart`: stop, then start with what the last start was given.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use super::{Scene, start, stop};
use crate::cli::StartFlags;
use crate::files;

pub(super) fn run(scene: &Scene, flags: StartFlags) -> Result<ExitCode> {
    let _lock = scene.take("restart")?;
    again(scene, flags)
}

/// The same for a caller that holds the home.
pub(super) fn again(scene: &Scene, flags: StartFlags) -> Result<ExitCode> {
    let flags = flags.or(remembered(scene));
    // What is wrong with the settings, the image or the plugin shows before anything is stopped.
    let mut prepared = start::Prepared::new(scene, &flags)?;
    prepared.try_image(scene)?;
    tell!("{}", stop::end(scene)?);
    prepared.start(scene)
}

fn file(scene: &Scene) -> PathBuf {
    scene.paths.generated("start.json")
}

/// Keeps the flags of a start that succeeded.
pub(super) fn remember(scene: &Scene, flags: &StartFlags) -> Result<()> {
    let json = serde_json::to_vec_pretty(flags).context("keeping the flags for restart")?;
    files::write_private(&file(scene), &json)
}

/// The flags of the last start that succeeded.
pub(super) fn remembered(scene: &Scene) -> StartFlags {
    let Ok(json) = fs::read(file(scene)) else {
        return StartFlags::default();
    };
    serde_json::from_slice(&json).unwrap_or_else(|error| {
        tell!(
            "warning: {}: {error}: the last start's flags are lost",
            file(scene).display()
        );
        StartFlags::default()
    })
}
