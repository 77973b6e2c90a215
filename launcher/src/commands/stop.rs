//! `stop`: ends Netdata and everything it started, however much of it is left.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::{Scene, keep};
use crate::image;
use crate::instance::{Cause, State};
use crate::progress::Progress;

pub(super) fn run(scene: &Scene) -> Result<ExitCode> {
    // A home that was never made has nothing to stop, and is not made for it.
    if !scene.paths.home().exists() {
        out!("Netdata is not running");
        return Ok(ExitCode::SUCCESS);
    }
    let _lock = scene.take("stop")?;
    keep::forget(scene)?;
    out!("{}", end(scene)?);
    Ok(ExitCode::SUCCESS)
}

/// Ends it, and says what there was to end.
pub(super) fn end(scene: &Scene) -> Result<String> {
    let instance = &scene.instance;
    let said = match instance.state()? {
        State::Stopped => return Ok("Netdata is not running".to_owned()),
        State::Elsewhere(record) => bail!(
            "this home's Netdata was started on {}: stop it there\n\
             (if both machines are to have one from this home: LAUNCHER_SHARED_HOME=yes in .env; if that machine is gone, remove {})",
            record.host,
            instance.pid_file().display()
        ),
        State::Running(record) => {
            let _progress = Progress::start("stopping Netdata");
            instance.end(&record)?;
            "Netdata has stopped".to_owned()
        }
        State::Crashed(record, left) => {
            let _progress = Progress::start("ending what a crash left");
            instance.end(&record)?;
            format!(
                "Netdata had died; ended what was left of it ({} processes)",
                left.len()
            )
        }
        State::Gone(_, Cause::Ended) => "Netdata had ended by itself".to_owned(),
        State::Gone(_, Cause::Rebooted) => {
            "Netdata is not running: the machine was restarted since".to_owned()
        }
        State::Gone(_, Cause::Unreadable) => {
            format!(
                "removed {}, which named no process",
                instance.pid_file().display()
            )
        }
    };
    instance.forget()?;
    image::release(&scene.paths);
    Ok(said)
}
