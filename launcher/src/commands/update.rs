//! `update`: gets the newest image of the same source, and restarts what runs on the old one.

use std::process::ExitCode;

use anyhow::Result;

use super::{Scene, pull, restart};
use crate::cli::{PullArgs, StartFlags};
use crate::instance::State;

pub(super) fn run(scene: &Scene, args: &PullArgs) -> Result<ExitCode> {
    let _lock = scene.take("update")?;
    // The image in use stays until the new one is whole.
    pull::get(scene, args)?;
    if matches!(scene.instance.state()?, State::Running(_)) {
        return restart::again(scene, StartFlags::default());
    }
    out!("Netdata is not running: launcher start");
    Ok(ExitCode::SUCCESS)
}
