//! `exec` and `shell`: a command in a container with everything bound as for Netdata.

use std::env;
use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result};

use super::{Scene, restart, start};
use crate::cli::ExecArgs;

/// In every image.
const SHELL: &str = "/bin/sh";

/// Runs the command that was given.
pub(super) fn run(scene: &Scene, args: &ExecArgs) -> Result<ExitCode> {
    let argv: Vec<&str> = args.command.iter().map(String::as_str).collect();
    inside(scene, "exec", &argv)
}

/// Runs a shell, to look around in.
pub(super) fn shell(scene: &Scene) -> Result<ExitCode> {
    inside(scene, "shell", &[SHELL])
}

/// Runs `argv` on this terminal with the flags of the last start; its exit code is the command's.
fn inside(scene: &Scene, verb: &str, argv: &[&str]) -> Result<ExitCode> {
    let prepared = {
        let _lock = scene.take(verb)?;
        start::Prepared::new(scene, &restart::remembered(scene))?
    };
    let mut command = prepared.command(scene, argv)?;
    if let Some(terminal) = env::var_os("TERM") {
        command.env("APPTAINERENV_TERM", &terminal);
        command.env("SINGULARITYENV_TERM", &terminal);
    }
    let status = command
        .stdin(Stdio::inherit())
        .status()
        .with_context(|| format!("starting {} in the container", argv.join(" ")))?;
    // One that a signal ended has no code.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
