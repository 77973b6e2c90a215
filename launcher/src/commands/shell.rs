//! `shell`: a shell in the container, with everything bound as for Netdata, to look around in.

use std::env;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};

use super::{Scene, restart, start};

/// In every image.
const SHELL: &str = "/bin/sh";

pub(super) fn run(scene: &Scene) -> Result<ExitCode> {
    let prepared = {
        let _lock = scene.take("shell")?;
        start::Prepared::new(scene, &restart::remembered(scene))?
    };
    let mut command = prepared.command(scene, &[SHELL])?;
    if let Some(terminal) = env::var_os("TERM") {
        command.env("APPTAINERENV_TERM", &terminal);
        command.env("SINGULARITYENV_TERM", &terminal);
    }
    let status = command
        .stdin(Stdio::inherit())
        .status()
        .context("starting a shell in the container")?;
    // What the last command in the shell returned; a shell that a signal ended has none.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
