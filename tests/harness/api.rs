//! Netdata's own HTTP API, as any client uses it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

/// Longest wait for an answer on loopback.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The agent on a port of loopback.
#[derive(Clone, Debug)]
pub struct Api {
    port: u16,
}

/// A chart's points, oldest first: time in seconds and a value or a gap for each dimension.
#[derive(Clone, Debug)]
pub struct Series {
    /// Names of the dimensions.
    pub dims: Vec<String>,
    /// Time and values.
    pub points: Vec<(i64, Vec<Option<f64>>)>,
}

impl Api {
    /// The agent on `port`.
    #[must_use]
    pub fn on(port: u16) -> Self {
        Self { port }
    }

    /// The answer to `GET path`, as text.
    ///
    /// # Errors
    /// When there is none or it is not a success.
    pub fn text(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .proxy(None);
        let mut answer = config.build().new_agent().get(&url).call().context(url)?;
        Ok(answer
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()?)
    }

    /// The answer to `GET path`, as JSON.
    ///
    /// # Errors
    /// When there is none or it is not JSON.
    pub fn json(&self, path: &str) -> anyhow::Result<Value> {
        let text = self.text(path)?;
        serde_json::from_str(&text).with_context(|| format!("{path}: {text:.200}"))
    }

    /// Every chart, by id.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn charts(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let answer = self.json("/api/v1/charts")?;
        let charts = answer["charts"]
            .as_object()
            .context("no charts in the answer")?;
        Ok(charts
            .iter()
            .map(|(id, chart)| (id.clone(), chart.clone()))
            .collect())
    }

    /// Ids of the charts of a context, sorted.
    ///
    /// # Errors
    /// When the agent does not answer.
    pub fn ids_of(&self, context: &str) -> anyhow::Result<Vec<String>> {
        let charts = self.charts()?;
        let of_context = charts
            .iter()
            .filter(|(_, chart)| chart["context"] == context);
        Ok(of_context.map(|(id, _)| id.clone()).collect())
    }

    /// The last `seconds` of a chart, one point for each of its intervals.
    ///
    /// # Errors
    /// When the agent does not answer or knows no such chart.
    pub fn series(&self, chart: &str, seconds: u64) -> anyhow::Result<Series> {
        self.series_at(&format!("/api/v1/data?chart={chart}"), seconds)
    }

    /// The same, asked for at a path of one's own: that of a host whose charts a parent keeps.
    ///
    /// # Errors
    /// As [`series`](Self::series).
    pub fn series_at(&self, path: &str, seconds: u64) -> anyhow::Result<Series> {
        let path = format!("{path}&after=-{seconds}&format=json&options=seconds");
        let answer = self.json(&path)?;
        let labels = answer["labels"]
            .as_array()
            .with_context(|| format!("{path}: no labels"))?;
        let rows = answer["data"]
            .as_array()
            .with_context(|| format!("{path}: no data"))?;
        let dims = labels
            .iter()
            .skip(1)
            .map(|label| label.as_str().unwrap_or("").to_owned());
        let mut points: Vec<_> = rows
            .iter()
            .filter_map(Value::as_array)
            .filter_map(|row| {
                let values = row.iter().skip(1).map(Value::as_f64).collect();
                Some((row.first()?.as_i64()?, values))
            })
            .collect();
        points.sort_by_key(|(time, _)| *time);
        Ok(Series {
            dims: dims.collect(),
            points,
        })
    }
}

impl Series {
    /// One dimension's points, gaps included.
    ///
    /// # Errors
    /// When the chart has no such dimension.
    pub fn dim(&self, name: &str) -> anyhow::Result<Vec<(i64, Option<f64>)>> {
        let at = self.dims.iter().position(|dim| dim == name);
        let at = at.with_context(|| format!("no dimension {name} among {:?}", self.dims))?;
        Ok(self
            .points
            .iter()
            .map(|(time, values)| (*time, values.get(at).copied().flatten()))
            .collect())
    }

    /// One dimension's values, gaps left out.
    ///
    /// # Errors
    /// When the chart has no such dimension.
    pub fn values(&self, name: &str) -> anyhow::Result<Vec<f64>> {
        Ok(self
            .dim(name)?
            .into_iter()
            .filter_map(|(_, value)| value)
            .collect())
    }
}
