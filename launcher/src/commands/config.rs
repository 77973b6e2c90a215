//! `config`: every setting, its value and where it comes from. Secrets are only said to be set.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{Scene, restart};
use crate::cli::{JsonFlag, StartFlags};
use crate::settings::{KNOWN, Known, Layer};

/// Stands for a secret that is set.
const HIDDEN: &str = "(set, not shown)";

/// A setting as it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    name: &'static str,
    value: String,
    source: String,
}

pub(super) fn run(scene: &Scene, args: &JsonFlag) -> Result<ExitCode> {
    let rows: Vec<Row> = KNOWN.iter().map(|known| row(scene, known)).collect();
    if args.json {
        let json = serde_json::to_string_pretty(&rows).context("writing JSON")?;
        out!("{json}");
    } else {
        let width = |column: fn(&Row) -> usize| rows.iter().map(column).max().unwrap_or(0);
        let (name, value) = (width(|row| row.name.len()), width(|row| row.value.len()));
        for row in &rows {
            out!("{:name$}  {:value$}  {}", row.name, row.value, row.source);
        }
        let remembered = restart::remembered(scene);
        if let Ok(serde_json::Value::Object(flags)) = serde_json::to_value(&remembered) {
            let given: Vec<String> = flags
                .iter()
                .filter(|(_, value)| {
                    !value.is_null() && value.as_array().is_none_or(|a| !a.is_empty())
                })
                .map(|(name, value)| format!("--{} {}", name.replace('_', "-"), plain(value)))
                .collect();
            if !given.is_empty() {
                out!(
                    "\nrestart adds the flags of the last start: {}",
                    given.join(" ")
                );
            }
        }
    }
    // A value that cannot be used is an error here as it is for `start`.
    scene.settings(&StartFlags::default())?;
    Ok(ExitCode::SUCCESS)
}

fn row(scene: &Scene, known: &Known) -> Row {
    let shown = |value: &str| match known.secret {
        true => HIDDEN.to_owned(),
        false => value.chars().filter(|c| !c.is_control()).collect(),
    };
    let (value, source) = match known.name {
        // The flag is on this very command line, and both name where the rest is read from.
        "LAUNCHER_HOME" => (scene.paths.home().display().to_string(), scene.home_from),
        "LAUNCHER_ENV_FILE" => (scene.env_file.display().to_string(), scene.env_file_from),
        name => match scene.layers.find(name) {
            Some((value, Layer::Environment)) => (shown(value), "environment"),
            Some((value, Layer::File)) => (shown(value), "env file"),
            None => (known.default.to_owned(), "default"),
        },
    };
    Row {
        name: known.name,
        value,
        source: source.to_owned(),
    }
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
