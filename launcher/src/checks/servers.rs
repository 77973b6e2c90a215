//! The inference servers on this machine: as Netdata charts them or, where it does not run, as the plugin finds them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::{Check, Finding, Machine};
use crate::ask::ask;
use crate::parts::Parts;

/// It looks for a few seconds, and asks each server once.
const LOOKING: Duration = Duration::from_secs(20);
/// In the plugin's output, of a server's chart.
const STATE: &str = ".server_state";

pub(super) const CHECKS: &[Check] = &[Check {
    id: "servers",
    what: "SGLang servers, and their metrics",
    run: servers,
}];

fn servers(machine: &Machine) -> Finding {
    let Some(report) = &machine.report else {
        return found_by_the_plugin(machine);
    };
    let silent = report
        .servers
        .iter()
        .filter(|server| server.state.as_deref() == Some("no_metrics"))
        .map(|server| server.server.clone());
    let log = fs::read(machine.paths.log_file()).unwrap_or_default();
    finding(
        report.servers.len(),
        &silent.collect::<Vec<_>>(),
        &String::from_utf8_lossy(&log),
    )
}

fn found_by_the_plugin(machine: &Machine) -> Finding {
    let parts = machine.settings.as_ref().map(Parts::find);
    let Some(Ok(parts)) = parts else {
        return Finding::skip("see the plugin and the settings");
    };
    let mut command = Command::new(parts.plugin);
    command.args(["--once", "-m", "sglang"]).current_dir("/");
    let Some(answer) = ask(command, LOOKING) else {
        return Finding::warn(
            format!("the plugin does not end within {} s", LOOKING.as_secs()),
            "a server or /proc may hang",
        );
    };
    let (count, silent) = states(&answer.text);
    finding(count, &silent, &answer.text)
}

/// How many servers the plugin's output charts, and the addresses of those without metrics at its last look.
fn states(text: &str) -> (usize, Vec<String>) {
    let mut chart = "";
    // By chart: the server that its label names, and whether it has no metrics.
    let mut servers: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["CHART" | "BEGIN", id, ..] => {
                chart = id;
                if words[0] == "BEGIN" && id.ends_with(STATE) {
                    servers.entry(id).or_insert((id, false)).1 = false;
                }
            }
            ["CLABEL", "'server'", name, ..] if chart.ends_with(STATE) => {
                servers.insert(chart, (name.trim_matches('\''), false));
            }
            ["SET", "'no_metrics'", "=", "1"] => {
                if let Some(server) = servers.get_mut(chart) {
                    server.1 = true;
                }
            }
            _ => {}
        }
    }
    let silent = servers.values().filter(|(_, silent)| *silent);
    let silent = silent.map(|(name, _)| (*name).to_owned()).collect();
    (servers.len(), silent)
}

/// `said` holds the plugin's own lines, which name the change to each server's command line.
fn finding(count: usize, silent: &[String], said: &str) -> Finding {
    let Some(first) = silent.first() else {
        return Finding::pass(format!("{count}"));
    };
    let advice = advice(said, first);
    Finding::warn(
        format!("{count}, without metrics: {}", silent.join(", ")),
        advice.map_or_else(
            || "add --enable-metrics to their command line and start them again".to_owned(),
            |advice| format!("{first}: {advice}"),
        ),
    )
}

/// What the plugin last said to do about a server without metrics.
fn advice<'a>(said: &'a str, server: &str) -> Option<&'a str> {
    let named = format!("{server} has no metrics");
    let line = said.lines().rfind(|line| line.contains(&named))?;
    let (_, advice) = line.split_once("For the rest ")?;
    advice.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_metrics_is_named_by_its_label() {
        let of = |port: u16, dim: &str| {
            format!(
                "CHART sglang_{port}.server_state '' 'State'\nCLABEL 'server' '127.0.0.1:{port}' 1\nCLABEL_COMMIT\n\
                 BEGIN sglang_{port}.server_state\nSET 'ready' = 0\nSET '{dim}' = 1\nEND\n"
            )
        };
        // It looks twice.
        let text =
            of(1, "no_metrics") + &of(2, "no_metrics") + &of(1, "ready") + &of(2, "no_metrics");
        let (count, silent) = states(&text);
        assert_eq!((count, silent), (2, vec!["127.0.0.1:2".to_owned()]));
        assert_eq!(states(""), (0, vec![]));
        let said = "time=1 level=warning msg=\"127.0.0.1:2 has no metrics: only its state. For the rest add \
                    --enable-metrics and start it again\" plugin=rs.d\n";
        let finding = finding(count, &["127.0.0.1:2".to_owned()], said);
        assert_eq!(
            finding.hint.unwrap(),
            "127.0.0.1:2: add --enable-metrics and start it again"
        );
    }
}
