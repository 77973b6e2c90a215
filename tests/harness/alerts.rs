//! Alerts: those that the stock files define, and what an agent's log says of each.

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::api::Api;

/// One alert of a stock file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// Context of the charts that it watches.
    pub context: String,
    /// Whom it tells: `sysadmin`, or `silent`.
    pub to: String,
    /// Every key that its definition has.
    pub keys: Vec<String>,
    /// Its whole definition.
    pub text: String,
}

impl Alert {
    /// Whether it tells anybody.
    #[must_use]
    pub fn pages(&self) -> bool {
        self.to != "silent"
    }
}

/// Every alert in the `*.conf` files of `dir`.
///
/// # Errors
/// When a file cannot be read, or an alert has no context or recipient.
pub fn stock(dir: &Path) -> anyhow::Result<Vec<Alert>> {
    let mut alerts = vec![];
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "conf")
        {
            alerts.extend(parse(&std::fs::read_to_string(&path)?));
        }
    }
    for alert in &alerts {
        let whole = !alert.context.is_empty() && !alert.to.is_empty();
        ensure!(whole, "{} lacks a context or a recipient", alert.name);
    }
    Ok(alerts)
}

fn parse(text: &str) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = vec![];
    for line in text.replace("\\\n", " ").lines() {
        let Some((key, value)) = line.split_once(':').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if matches!(key, "template" | "alarm") {
            alerts.push(Alert {
                name: value.to_owned(),
                ..Alert::default()
            });
        }
        if let Some(alert) = alerts.last_mut() {
            match key {
                "on" => value.clone_into(&mut alert.context),
                "to" => value.clone_into(&mut alert.to),
                _ => {}
            }
            alert.keys.push(key.to_owned());
            alert.text += line;
            alert.text.push('\n');
        }
    }
    alerts
}

/// One change of an alert's state on one chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The alert's name.
    pub alert: String,
    /// The chart's id.
    pub chart: String,
    /// State that it left.
    pub from: String,
    /// State that it entered: `CLEAR`, `WARNING`, `CRITICAL`, `UNDEFINED`, `REMOVED`.
    pub to: String,
    /// Unix seconds.
    pub at: i64,
}

impl Change {
    /// Whether it was raised.
    #[must_use]
    pub fn raises(&self) -> bool {
        matches!(self.to.as_str(), "WARNING" | "CRITICAL")
    }

    /// Whether it was taken back after it was raised.
    #[must_use]
    pub fn clears(&self) -> bool {
        self.to == "CLEAR" && matches!(self.from.as_str(), "WARNING" | "CRITICAL")
    }
}

/// The agent's log of alerts, oldest first.
///
/// # Errors
/// When the agent does not answer.
pub fn log(api: &Api) -> anyhow::Result<Vec<Change>> {
    let answer = api.json("/api/v1/alarm_log")?;
    let entries = answer.as_array().context("no list of alerts")?;
    let mut changes: Vec<_> = entries
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let id = entry["unique_id"].as_u64().unwrap_or(0);
            let change = Change {
                alert: text("name"),
                chart: text("chart"),
                from: text("old_status"),
                to: text("status"),
                at: entry["when"].as_i64().unwrap_or(0),
            };
            (id, change)
        })
        .collect();
    changes.sort_by_key(|(id, _)| *id);
    Ok(changes.into_iter().map(|(_, change)| change).collect())
}

/// Names of the alerts that the agent has taken over, with their charts.
///
/// # Errors
/// When the agent does not answer.
pub fn linked(api: &Api) -> anyhow::Result<Vec<(String, String)>> {
    let answer = api.json("/api/v1/alarms?all")?;
    let alarms = answer["alarms"].as_object().context("no alerts")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(alarms
        .values()
        .map(|alarm| (text(&alarm["name"]), text(&alarm["chart"])))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_read_with_lines_that_continue() {
        let text = "# to: nobody\n template: a\n on: x.y\n info: one \\\n   to: two\n to: silent\n\n\
                    alarm: b\non: z.w\nto: sysadmin\n";
        let alerts = parse(text);
        assert_eq!(alerts.len(), 2);
        assert_eq!(
            (alerts[0].name.as_str(), alerts[0].context.as_str()),
            ("a", "x.y")
        );
        assert_eq!(alerts[0].keys, ["template", "on", "info", "to"]);
        assert!(!alerts[0].pages() && alerts[1].pages());
    }
}
