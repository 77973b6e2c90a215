//! The commands the main process obeys, one line each.

use std::sync::Arc;

use clap::ValueEnum;

use super::Server;
use crate::cli::parse_growth;
use crate::replay::{Gauges, Page};

/// Obeys one command; the reply is one line.
///
/// # Errors
/// If the command or its argument is unknown.
pub fn execute(server: &Arc<Server>, line: &str) -> Result<String, String> {
    let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
    let argument = argument.trim();
    match verb {
        "withhold" if argument.is_empty() => return Err("withhold what? give a prefix".into()),
        "withhold" => server.faults.withhold.add(argument),
        "restore" => server.faults.withhold.restore(argument)?,
        "set" => server.faults.set.set(argument)?,
        "slow" => server.faults.slow.set(argument)?,
        "spoil" => server.faults.spoil.set(argument)?,
        "status" => server.faults.status.set(argument)?,
        "hang" => server.faults.hang.set(on_off(argument)?),
        "page" => server.scene().page = Page::from_str(argument, false)?,
        "gauges" => server.scene().gauges = Gauges::from_str(argument, false)?,
        "growth" => {
            let growth = parse_growth(argument)?;
            let mut scene = server.scene();
            scene.load.set_growth(server.elapsed(), growth);
        }
        "late" => {
            let late = on_off(argument)?;
            let mut scene = server.scene();
            scene.load.set_late(server.elapsed(), late);
        }
        "prefill" => {
            let on = on_off(argument)?;
            let now = server.elapsed();
            let mut scene = server.scene();
            scene.prefill_since = on.then(|| scene.load.progress(now));
        }
        "listen" => server.listen()?,
        // Sent by the supervisor around stopping and continuing the schedulers.
        "engine" => {
            let paused = !on_off(argument)?;
            let mut scene = server.scene();
            scene.load.set_paused(server.elapsed(), paused);
        }
        "requests" => return Ok(server.requests().to_string()),
        "state" => return Ok(server.describe().to_string()),
        _ => return Err(format!("unknown command `{verb}`")),
    }
    Ok("ok".to_owned())
}

fn on_off(argument: &str) -> Result<bool, String> {
    match argument {
        "on" => Ok(true),
        "off" => Ok(false),
        other => Err(format!("`{other}` is neither on nor off")),
    }
}
