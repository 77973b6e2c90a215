//! The functions of this plugin: tables that a person asks for in the dashboard of an agent from 2.0 on.
//! They read what modules publish, and never ask a driver or a server anything, so that no number of calls
//! costs those anything.

mod gpu_processes;
mod inference_servers;
pub mod power;

use std::time::Duration;

use netdata_plugin::functions::Function;

use crate::modules::Context;

/// How long an answer may take where the caller does not say; the agent's own default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Every function, ready to be called.
pub fn open(context: &Context) -> Vec<Function> {
    vec![
        gpu_processes::function(context),
        inference_servers::function(context),
    ]
}
