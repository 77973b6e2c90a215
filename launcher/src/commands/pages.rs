//! `completions` and `man`: made from the command line's own description.

use std::fs;
use std::io;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs, ManArgs};

/// Prints the script for one shell.
pub(super) fn completions(args: &CompletionsArgs) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "launcher", &mut script);
    // Nobody reading it is no error (`launcher completions bash | head`).
    let _ = io::Write::write_all(&mut io::stdout(), &script);
    Ok(ExitCode::SUCCESS)
}

/// Writes launcher.1 and a page for each verb.
pub(super) fn manual(args: &ManArgs) -> Result<ExitCode> {
    let writing = || format!("writing manual pages into {}", args.dir.display());
    fs::create_dir_all(&args.dir).with_context(writing)?;
    clap_mangen::generate_to(Cli::command(), &args.dir).with_context(writing)?;
    out!(
        "manual pages are in {0} (man -l {0}/launcher.1)",
        args.dir.display()
    );
    Ok(ExitCode::SUCCESS)
}
