//! A stand-in for an SGLang server: it replays a capture over HTTP and looks like the real thing in
//! /proc. `run` supervises; the server and its helpers are this same program, started anew with the
//! titles of the real ones and their part in an environment variable.

mod cli;
mod control;
mod faults;
mod http;
mod replay;
mod server;
mod supervisor;
mod tree;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Verb};

fn main() -> ExitCode {
    let outcome = match tree::role_from_environment() {
        Ok(Some(role)) => tree::play(role),
        Ok(None) => match Cli::parse().verb {
            Verb::Run(args) => supervisor::run(&args),
            Verb::Control { socket, command } => control::ask(&socket, &command.join(" ")),
        },
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fake-sglang: {error:#}");
            ExitCode::FAILURE
        }
    }
}
