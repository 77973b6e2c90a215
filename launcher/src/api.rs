//! Netdata's web API, over loopback only.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use ureq::Agent;

/// The plugin's name in the charts it makes.
pub const PLUGIN: &str = "rs.d";

const PATIENCE: Duration = Duration::from_secs(3);
/// The list of all charts takes 1 to 3 MB on a machine with many disks and containers.
const MAX_BYTES: u64 = 64 << 20;

/// A running Netdata.
#[derive(Debug)]
pub struct Api {
    agent: Agent,
    base: String,
}

/// A chart, as far as the launcher is interested.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Chart {
    /// Id, of the form `type.name`.
    pub id: String,
    /// What is measured, the same for all charts of a kind.
    pub context: String,
    /// Who made it.
    pub plugin: String,
    /// Time of the oldest value kept, in seconds since 1970.
    pub first_entry: i64,
    /// Time of the last value, in seconds since 1970.
    pub last_entry: i64,
    /// Labels.
    #[serde(alias = "chart_labels")]
    pub labels: BTreeMap<String, String>,
}

/// Netdata's list of charts, with its version.
#[derive(Debug, Deserialize)]
pub struct Listing {
    /// Of the agent, like `v1.37.1`.
    #[serde(default)]
    pub version: String,
    /// Every chart.
    #[serde(deserialize_with = "values")]
    pub charts: Vec<Chart>,
}

/// The keys are the charts' ids, which they hold themselves.
fn values<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Chart>, D::Error> {
    BTreeMap::<String, Chart>::deserialize(from).map(|map| map.into_values().collect())
}

impl Api {
    /// The one on this address.
    pub fn new(ip: IpAddr, port: u16) -> Self {
        Self::with_patience(ip, port, PATIENCE)
    }

    /// The same, waiting no longer than `patience` for each answer.
    pub fn with_patience(ip: IpAddr, port: u16, patience: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(patience))
            .max_redirects(0)
            .proxy(None)
            .build();
        let base = format!("http://{}", SocketAddr::new(ip, port));
        Self {
            agent: config.into(),
            base,
        }
    }

    /// Every chart there is now.
    pub fn charts(&self) -> Result<Listing> {
        parse(&self.text("/api/v1/charts")?)
    }

    /// The newest values of the charts whose ids match one of the patterns, which are parted by blanks.
    pub fn latest(&self, patterns: &str) -> Result<Latest> {
        let filter = patterns.replace(' ', "%20");
        let text = self.text(&format!(
            "/api/v1/allmetrics?format=json&help=no&filter={filter}"
        ))?;
        serde_json::from_str(&text).context("reading Netdata's newest values")
    }

    /// The alerts that are raised now.
    pub fn raised(&self) -> Result<Vec<Alert>> {
        let text = self.text("/api/v1/alarms")?;
        let alarms: Alarms = serde_json::from_str(&text).context("reading Netdata's alerts")?;
        Ok(alarms.alarms.into_values().collect())
    }

    /// What the agent says of itself.
    pub fn info(&self) -> Result<Info> {
        serde_json::from_str(&self.text("/api/v1/info")?).context("reading Netdata's state")
    }

    fn text(&self, path: &str) -> Result<String> {
        self.agent
            .get(format!("{}{path}", self.base))
            .call()
            .and_then(|mut answer| {
                answer
                    .body_mut()
                    .with_config()
                    .limit(MAX_BYTES)
                    .read_to_string()
            })
            .with_context(|| {
                let path = path.split('?').next().unwrap_or_default();
                format!("asking Netdata for {path}")
            })
    }
}

/// Newest values by chart id.
pub type Latest = BTreeMap<String, Values>;

/// The newest values of one chart.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Values {
    /// Seconds since 1970.
    pub last_updated: i64,
    /// By dimension id.
    pub dimensions: BTreeMap<String, Latests>,
}

/// One dimension's newest value.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Latests {
    /// None is a gap.
    pub value: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Alarms {
    #[serde(default)]
    alarms: BTreeMap<String, Alert>,
}

/// An alert that is raised.
#[derive(Debug, Default, Deserialize, serde::Serialize)]
#[serde(default)]
pub struct Alert {
    /// Its name.
    pub name: String,
    /// The chart it is about.
    pub chart: String,
    /// WARNING or CRITICAL.
    pub status: String,
}

/// The agent, as far as the launcher is interested.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Info {
    /// Of the agent, like `v1.37.1`.
    pub version: String,
    /// Whether it may connect to Netdata Cloud.
    pub cloud_enabled: bool,
    /// Whether it belongs to a space there.
    pub agent_claimed: bool,
    /// Whether it is connected now.
    pub aclk_available: bool,
}

fn parse(text: &str) -> Result<Listing> {
    serde_json::from_str(text).context("reading Netdata's list of charts")
}

/// When the plugin's newest value was taken, in seconds since 1970. None before its first.
pub fn newest_of_plugin(charts: &[Chart]) -> Option<i64> {
    let ours = charts
        .iter()
        .filter(|chart| chart.plugin == PLUGIN && chart.last_entry > 0);
    ours.map(|chart| chart.last_entry).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_value_is_that_of_the_plugins_own_charts() {
        let listing = parse(
            r#"{"hostname":"a","version":"v1.37.1","charts":{
            "system.cpu":{"id":"system.cpu","plugin":"proc.plugin","last_entry":99},
            "netdata.a":{"id":"netdata.a","plugin":"rs.d","last_entry":41,"more":[1]},
            "netdata.b":{"id":"netdata.b","plugin":"rs.d","last_entry":40}}}"#,
        )
        .unwrap();
        let charts = listing.charts;
        assert_eq!(listing.version, "v1.37.1");
        assert_eq!(newest_of_plugin(&charts), Some(41));
        assert_eq!(newest_of_plugin(&charts[2..]), None);
    }

    #[test]
    fn an_answer_of_something_else_is_an_error() {
        assert!(parse("<html>").is_err());
        assert!(parse("{}").is_err());
    }
}
