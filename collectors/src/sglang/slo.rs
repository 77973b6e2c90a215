//! The user's own thresholds for latencies, and the share of requests that keep to them. A histogram can be
//! asked at its buckets' bounds only: a threshold is moved to the nearest one, and labels say so.

use std::num::NonZeroU32;
use std::time::Duration;

use netdata_plugin::chart::Instance;
use serde::{Deserialize, Deserializer, de};

use crate::histogram::window::Window;

/// Share of requests in per cent that shall keep to a threshold, if only thresholds are configured.
const OBJECTIVE: f64 = 99.0;

/// The windows of the usual alert on fast burn: together they tell of 2 % of a month's budget within an hour,
/// and that it goes on.
const BURN_SHORT: Duration = Duration::from_secs(300);
const BURN_LONG: Duration = Duration::from_secs(3600);

/// Thresholds in milliseconds, each optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slo {
    /// Of the time to first token.
    #[serde(deserialize_with = "positive")]
    pub ttft_ms: Option<f64>,
    /// Of the inter-token latency.
    #[serde(deserialize_with = "positive")]
    pub itl_ms: Option<f64>,
    /// Of whole requests.
    #[serde(deserialize_with = "positive")]
    pub e2e_ms: Option<f64>,
    /// Share of requests that shall keep to them: per cent.
    #[serde(deserialize_with = "percentage")]
    pub objective: Option<f64>,
    /// Seconds of the short window over which the error budget must burn for an alert.
    pub burn_short: Option<NonZeroU32>,
    /// Seconds of the long one.
    pub burn_long: Option<NonZeroU32>,
}

/// The latencies that may have a threshold: dimension, and label of the bound in use.
pub const LATENCIES: [(&str, &str); 3] = [
    ("ttft", "ttft_edge_ms"),
    ("itl", "itl_edge_ms"),
    ("e2e", "e2e_edge_ms"),
];

/// The bounds in use, in seconds, in the order of [`LATENCIES`]; `None` without a threshold or before a page
/// has shown the buckets.
pub type Edges = [Option<f64>; 3];

impl Slo {
    /// These, and where they are silent, the `general` ones.
    #[cfg_attr(not(test), allow(dead_code))] // Until jobs have options of their own.
    #[must_use]
    pub fn or(self, general: Self) -> Self {
        Self {
            ttft_ms: self.ttft_ms.or(general.ttft_ms),
            itl_ms: self.itl_ms.or(general.itl_ms),
            e2e_ms: self.e2e_ms.or(general.e2e_ms),
            objective: self.objective.or(general.objective),
            burn_short: self.burn_short.or(general.burn_short),
            burn_long: self.burn_long.or(general.burn_long),
        }
    }

    /// The objective in force: per cent.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.objective.unwrap_or(OBJECTIVE)
    }

    /// The short and the long window of the burn rate.
    #[must_use]
    pub fn burn_windows(&self) -> [Duration; 2] {
        let seconds = |own: Option<NonZeroU32>, default| {
            own.map_or(default, |own| Duration::from_secs(own.get().into()))
        };
        let short = seconds(self.burn_short, BURN_SHORT);
        [short, seconds(self.burn_long, BURN_LONG).max(short)]
    }

    /// The thresholds in milliseconds, in the order of [`LATENCIES`].
    fn thresholds(&self) -> [Option<f64>; 3] {
        [self.ttft_ms, self.itl_ms, self.e2e_ms]
    }

    /// The bucket bounds nearest to the thresholds.
    #[must_use]
    pub fn edges(&self, windows: [&Window; 3]) -> Edges {
        let thresholds = self.thresholds();
        std::array::from_fn(|i| windows[i].edge(thresholds[i]? / 1e3))
    }

    /// Adds the bounds as labels, and the thresholds and the objective as variables for alerts.
    #[must_use]
    pub fn describe(&self, mut instance: Instance, edges: &Edges) -> Instance {
        let names = ["ttft_ms", "itl_ms", "e2e_ms"];
        for (i, threshold) in self.thresholds().into_iter().enumerate() {
            let (Some(threshold), Some(edge)) = (threshold, edges[i]) else {
                continue;
            };
            instance = instance
                .label(names[i], threshold.to_string())
                .label(LATENCIES[i].1, milliseconds(edge))
                .variable(names[i], threshold);
        }
        instance.variable("objective", self.objective())
    }
}

/// Milliseconds to the microsecond: 0.1 s is not exactly a tenth.
fn milliseconds(seconds: f64) -> String {
    ((seconds * 1e6).round() / 1e3).to_string()
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let ok = |ms: &f64| ms.is_finite() && *ms > 0.0;
    number(from, ok, "must be milliseconds above 0")
}

fn percentage<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let ok = |share: &f64| *share > 0.0 && *share <= 100.0;
    number(from, ok, "must be a percentage above 0 and up to 100")
}

fn number<'de, D: Deserializer<'de>>(
    from: D,
    ok: impl Fn(&f64) -> bool,
    otherwise: &str,
) -> Result<Option<f64>, D::Error> {
    let number = Option::<f64>::deserialize(from)?;
    match number {
        Some(number) if !ok(&number) => Err(de::Error::custom(otherwise)),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jobs_own_thresholds_go_before_the_general_ones() {
        let general = Slo {
            ttft_ms: Some(500.0),
            e2e_ms: Some(9000.0),
            ..Slo::default()
        };
        let own = Slo {
            ttft_ms: Some(200.0),
            objective: Some(95.0),
            ..Slo::default()
        };
        let expected = Slo {
            ttft_ms: Some(200.0),
            itl_ms: None,
            e2e_ms: Some(9000.0),
            objective: Some(95.0),
            ..Slo::default()
        };
        assert_eq!(own.or(general), expected);
    }

    #[test]
    fn the_bound_in_use_is_a_label_and_the_users_number_a_variable() {
        let slo = Slo {
            itl_ms: Some(45.0),
            ..Slo::default()
        };
        let edges = [None, Some(0.04), None];
        let instance = slo.describe(Instance::new("sglang_1", ""), &edges);
        let labels: Vec<_> = instance
            .labels
            .iter()
            .map(|label| (&*label.key, &*label.value))
            .collect();
        assert_eq!(labels, [("itl_ms", "45"), ("itl_edge_ms", "40")]);
        assert_eq!(instance.variables, [("itl_ms", 45.0), ("objective", 99.0)]);
    }
}
