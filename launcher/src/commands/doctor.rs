//! `doctor`: looks at everything that may keep Netdata or its charts from working, and says what to do.

use std::fs::{self, OpenOptions};
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use super::{Scene, restart};
use crate::checks::{self, Finding, Level, Machine};
use crate::cli::DoctorArgs;
use crate::container::PLUGIN_INSIDE;
use crate::files;
use crate::notify::Channels;
use crate::progress::Progress;
use crate::redact::Redactor;
use crate::streaming;

/// Lines of the log in a report.
const LOG_LINES: usize = 300;

#[derive(Debug, Serialize)]
struct Row {
    id: &'static str,
    what: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

pub(super) fn run(scene: &Scene, args: &DoctorArgs) -> Result<ExitCode> {
    let flags = restart::remembered(scene);
    let progress = Progress::start("looking");
    let machine = Machine::read(
        &scene.paths,
        &scene.proc,
        &scene.layers,
        &flags,
        &scene.instance,
    );
    if let Some(path) = &args.record {
        drop(progress);
        return record(&machine, path);
    }
    let machine = Arc::new(machine);
    let mut rows = vec![];
    for check in checks::all() {
        progress.detail(check.what);
        rows.push(Row {
            id: check.id,
            what: check.what,
            finding: checks::run(check, &machine),
        });
    }
    drop(progress);
    let redactor = Redactor::new(
        &scene.layers,
        &secrets(scene),
        &scene.host,
        &scene.proc.uids(),
    );
    if let Some(path) = &args.report {
        write_report(scene, &rows, &redactor, path)?;
    } else if args.json {
        let json = serde_json::to_string_pretty(&rows).context("writing JSON")?;
        out!("{json}");
    } else {
        let colours = std::io::stdout().is_terminal();
        for row in &rows {
            out!("{}", shown(row, colours));
        }
        let count = |level| rows.iter().filter(|row| row.finding.level == level).count();
        out!(
            "{} checks: {} failed, {} warned",
            rows.len(),
            count(Level::Fail),
            count(Level::Warn)
        );
    }
    let failed = rows.iter().any(|row| row.finding.level == Level::Fail);
    Ok(ExitCode::from(u8::from(failed)))
}

/// Those that are in files of their own: webhooks, passwords, keys of streaming. A file that cannot be read has none
/// that could be shown.
fn secrets(scene: &Scene) -> Vec<String> {
    let channels = Channels::load(&scene.paths).unwrap_or_default();
    let mut secrets = channels.secrets();
    let stream = streaming::own(&scene.paths).unwrap_or_default();
    secrets.extend(streaming::keys(&stream));
    secrets
}

fn shown(row: &Row, colours: bool) -> String {
    let (word, colour) = match row.finding.level {
        Level::Skip => ("SKIP", "2"),
        Level::Pass => ("PASS", "32"),
        Level::Warn => ("WARN", "33"),
        Level::Fail => ("FAIL", "31"),
    };
    let word = if colours {
        format!("\u{1b}[{colour}m{word}\u{1b}[0m")
    } else {
        word.to_owned()
    };
    let mut text = format!("{word}  {}: {}", row.what, row.finding.found);
    if let Some(hint) = &row.finding.hint {
        text += &format!("\n      -> {hint}");
    }
    text
}

/// A file fit for a bug report.
fn write_report(scene: &Scene, rows: &[Row], redactor: &Redactor, path: &Path) -> Result<()> {
    let mut text = format!("launcher {}\n\n", env!("CARGO_PKG_VERSION"));
    for row in rows {
        text += &format!("[{}] {}\n", row.id, shown(row, false));
    }
    text += "\nthe last lines of the log:\n";
    // A log that cannot be read is told by the checks.
    let log = fs::read(scene.paths.log_file()).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        text += line;
        text.push('\n');
    }
    files::write_private(path, redactor.clean(&text).as_bytes())?;
    out!(
        "{} is written: tokens, names of users, the home and the host's name are replaced; read it before you send it",
        path.display()
    );
    Ok(())
}

/// What the driver answers the plugin inside the container; what the plugin says of it goes to the terminal.
fn record(machine: &Machine, path: &Path) -> Result<ExitCode> {
    let Some((runtime, container)) = machine.container() else {
        bail!("there is no image yet, or no runtime: `launcher doctor` says which, and what to do");
    };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let file =
        file.with_context(|| format!("cannot make {}: choose another name", path.display()))?;
    let mut command = runtime.exec(container, &[PLUGIN_INSIDE, "--record-nvml", "-"]);
    let status = command.stdout(file).status();
    if status.context("starting the container")?.success() {
        out!(
            "{} is written: it tells neither users nor serial numbers; read it before you send it",
            path.display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    // What was answered before a failure is worth keeping.
    if fs::metadata(path).is_ok_and(|file| file.len() == 0) {
        fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
    }
    bail!("the driver did not answer to the end: see above; `launcher doctor` looks for the cause")
}
