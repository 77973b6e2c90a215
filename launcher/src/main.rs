//! The launcher: Netdata without root, in Apptainer, with the rs.d plugin.

#[macro_use]
mod say;

mod api;
mod ask;
mod checks;
mod child;
mod claim;
mod cli;
mod commands;
mod container;
mod files;
mod image;
mod instance;
mod interrupt;
mod lock;
mod log_files;
mod mounts;
mod netdata_conf;
mod notify;
mod others;
mod parts;
mod paths;
mod pause;
mod ports;
mod process;
mod progress;
mod redact;
mod removal;
mod report;
mod runtime;
mod settings;
mod snapshot;
mod start_log;
mod state_place;
mod streaming;

use std::process::ExitCode;

use clap::Parser;

/// Wrong usage, found by clap or in a setting.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            tell!("error: {error:#}");
            if error.is::<settings::Invalid>() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
