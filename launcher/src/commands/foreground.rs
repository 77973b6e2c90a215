//! `start`, and staying with what it started: for service managers and batch jobs.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use nix::unistd::getppid;

use super::{Scene, keep, start, stop};
use crate::cli::StartArgs;
use crate::instance::{Record, State};
use crate::interrupt;

/// How soon the end of Netdata, or of the job, is noticed.
const POLL: Duration = Duration::from_millis(200);

pub(super) fn start(scene: &Scene, args: &StartArgs) -> Result<ExitCode> {
    if args.keep {
        return keep::run(scene, &args.flags);
    }
    // Before the start: the script may end while it lasts.
    let parent = args.until_job_ends.then(getppid);
    let code = start::run(scene, &args.flags)?;
    if !args.foreground && parent.is_none() {
        return Ok(code);
    }
    let State::Running(record) = scene.instance.state()? else {
        return ended(scene);
    };
    while scene.instance.leader(&record) {
        let orphaned = parent.is_some_and(|parent| parent != getppid());
        if interrupt::is_set() || orphaned {
            interrupt::clear();
            let _lock = scene.take("stop")?;
            out!("{}", stop::end(scene)?);
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(POLL);
    }
    gone(scene, &record)
}

/// It is gone. `stop` and `restart` hold the home meanwhile, and take the pid file away.
fn gone(scene: &Scene, record: &Record) -> Result<ExitCode> {
    let Some(_lock) = scene.settled("start")? else {
        return Ok(ExitCode::SUCCESS);
    };
    match scene.instance.state()? {
        State::Stopped => Ok(ExitCode::SUCCESS),
        // Somebody has started it anew: that one is theirs.
        State::Running(newer) if newer != *record => Ok(ExitCode::SUCCESS),
        _ => ended(scene),
    }
}

fn ended(scene: &Scene) -> Result<ExitCode> {
    tell!("{}", stop::end(scene)?);
    tell!("error: Netdata has ended by itself: launcher logs");
    Ok(ExitCode::FAILURE)
}
