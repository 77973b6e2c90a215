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
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
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
        let text = self
            .agent
            .get(format!("{}/api/v1/charts", self.base))
            .call()
            .and_then(|mut answer| {
                answer
                    .body_mut()
                    .with_config()
                    .limit(MAX_BYTES)
                    .read_to_string()
            })
            .context("asking Netdata for its charts")?;
        parse(&text)
    }
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
