//! GPUs and servers at a glance, from the charts that the plugin makes of them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::api::{Chart, Latest, PLUGIN};

/// A value older than this is none.
const FRESH_SECONDS: i64 = 30;
/// A name longer than this is cut: it is somebody's path or prompt.
const NAME: usize = 60;

/// One GPU, as its charts show it now.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Gpu {
    /// The driver's number.
    pub index: String,
    /// Product name.
    pub product: String,
    /// ok, lost, reset_required or stale.
    pub state: Option<String>,
    /// Per cent.
    pub utilization: Option<f64>,
    /// Bytes.
    pub memory_used: Option<f64>,
    /// Bytes.
    pub memory_free: Option<f64>,
    /// Watts.
    pub power: Option<f64>,
    /// Degrees Celsius.
    pub temperature: Option<f64>,
}

/// One inference server, as its charts show it now.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Server {
    /// Host and port.
    pub server: String,
    /// What it serves.
    pub model: Option<String>,
    /// As in `sglang.server_state`.
    pub state: Option<String>,
    /// Requests in the batch.
    pub running: Option<f64>,
    /// Requests that wait.
    pub queued: Option<f64>,
    /// Tokens generated a second.
    pub decode: Option<f64>,
    /// Per cent of the KV cache in use.
    pub kv_cache: Option<f64>,
}

/// Every GPU that is charted.
pub fn gpus(charts: &[Chart], latest: &Latest) -> Vec<Gpu> {
    let mut gpus: Vec<Gpu> = ours(charts, "nvidia_smi.gpu_utilization")
        .map(|chart| {
            let value = |suffix: &str, dim: &str| {
                let id = chart.id.replace("gpu_utilization", suffix);
                newest(latest, &id, dim)
            };
            let state = chart.id.replace("nvidia_smi.", "nvidia.");
            Gpu {
                index: label(chart, "index").unwrap_or_default(),
                product: label(chart, "product_name").unwrap_or_else(|| "NVIDIA GPU".to_owned()),
                state: active(latest, &state.replace("gpu_utilization", "gpu_state")),
                utilization: newest(latest, &chart.id, "gpu"),
                memory_used: value("frame_buffer_memory_usage", "used"),
                memory_free: value("frame_buffer_memory_usage", "free"),
                power: value("power_draw", "power_draw"),
                temperature: value("temperature", "temperature"),
            }
        })
        .collect();
    gpus.sort_by_key(|gpu| (gpu.index.len(), gpu.index.clone()));
    gpus
}

/// Every SGLang server that is charted.
pub fn servers(charts: &[Chart], latest: &Latest) -> Vec<Server> {
    let mut servers: Vec<Server> = ours(charts, "sglang.server_state")
        .map(|chart| {
            let kind = chart.id.split('.').next().unwrap_or(&chart.id);
            let value = |name: &str, dim: &str| newest(latest, &format!("{kind}.{name}"), dim);
            Server {
                server: label(chart, "server").unwrap_or_else(|| plain(kind)),
                model: label(chart, "model"),
                state: active(latest, &chart.id),
                running: value("requests_in_flight", "running"),
                queued: value("requests_in_flight", "queued"),
                decode: value("token_throughput", "decode"),
                kv_cache: value("kv_cache_usage", "usage"),
            }
        })
        .collect();
    servers.sort_by(|a, b| a.server.cmp(&b.server));
    servers
}

/// What a start may still wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Everything is charted.
    Nothing,
    /// Servers, of which there may be none.
    Servers,
    /// GPUs, of which some are expected.
    Gpus,
}

/// What is not charted yet.
pub fn awaited(charts: &[Chart], gpus_expected: bool) -> Awaited {
    let some = |context| ours(charts, context).next().is_some();
    if gpus_expected && !some("nvidia_smi.gpu_utilization") {
        Awaited::Gpus
    } else if !some("sglang.server_state") {
        Awaited::Servers
    } else {
        Awaited::Nothing
    }
}

/// What is not charted, and what to do about it.
pub fn missing(charts: &[Chart], latest: &Latest, servers: &[Server]) -> Vec<String> {
    let mut missing = vec![];
    for chart in ours(charts, "netdata.rs_d_job_status") {
        let job = label(chart, "job").unwrap_or_default();
        let module = label(chart, "module").unwrap_or_default();
        let state = active(latest, &chart.id);
        if let Some(state) = state.filter(|state| state == "failing" || state == "stuck") {
            missing.push(format!(
                "{module} {job} is {state}: launcher logs --plugin says why"
            ));
        }
    }
    for server in servers {
        let why = match server.state.as_deref() {
            Some("no_metrics") => "shows no metrics: start it with --enable-metrics",
            Some("stalled") => "has work and does not move: look at its log and its GPUs",
            Some("unreachable") => "does not answer: launcher logs --plugin says why",
            _ => continue,
        };
        missing.push(format!("{} {why}", server.server));
    }
    missing
}

fn ours<'a>(charts: &'a [Chart], context: &'a str) -> impl Iterator<Item = &'a Chart> {
    charts
        .iter()
        .filter(move |chart| chart.plugin == PLUGIN && chart.context == context)
}

fn label(chart: &Chart, name: &str) -> Option<String> {
    chart.labels.get(name).map(|value| plain(value))
}

fn newest(latest: &Latest, id: &str, dim: &str) -> Option<f64> {
    let values = latest.get(id)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let age = i64::try_from(now).ok()? - values.last_updated;
    (age <= FRESH_SECONDS).then_some(())?;
    values.dimensions.get(dim)?.value
}

/// The dimension of a state chart that is 1.
fn active(latest: &Latest, id: &str) -> Option<String> {
    let states = latest.get(id)?.dimensions.keys();
    let mut active = states.filter(|dim| newest(latest, id, dim) == Some(1.0));
    active.next().map(|state| plain(state))
}

/// Model names and the like come from outside: no control characters reach the terminal.
pub fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(NAME)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(id: &str, context: &str, labels: &[(&str, &str)]) -> Chart {
        Chart {
            id: id.to_owned(),
            context: context.to_owned(),
            plugin: PLUGIN.to_owned(),
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..Chart::default()
        }
    }

    fn latest(age: i64, values: &[(&str, &str, f64)]) -> Latest {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut latest = Latest::new();
        for (id, dim, value) in values {
            let values = latest.entry((*id).to_owned()).or_default();
            values.last_updated = i64::try_from(now.as_secs()).unwrap() - age;
            let value = crate::api::Latests {
                value: Some(*value),
            };
            values.dimensions.insert((*dim).to_owned(), value);
        }
        latest
    }

    #[test]
    fn a_gpu_shows_what_its_charts_say() {
        let charts = [chart(
            "nvidia_smi.gpu_u1_gpu_utilization",
            "nvidia_smi.gpu_utilization",
            &[("index", "0"), ("product_name", "H200\u{1b}[2J")],
        )];
        let values = [
            ("nvidia_smi.gpu_u1_gpu_utilization", "gpu", 87.0),
            ("nvidia_smi.gpu_u1_power_draw", "power_draw", 431.0),
            ("nvidia.gpu_u1_gpu_state", "ok", 1.0),
            ("nvidia.gpu_u1_gpu_state", "lost", 0.0),
        ];
        let gpus = gpus(&charts, &latest(1, &values));
        assert_eq!(gpus[0].product, "H200[2J");
        assert_eq!(gpus[0].state.as_deref(), Some("ok"));
        assert_eq!(
            (gpus[0].utilization, gpus[0].power),
            (Some(87.0), Some(431.0))
        );
        assert_eq!(gpus[0].temperature, None, "unknown is not 0");
    }

    #[test]
    fn a_start_waits_for_gpus_where_some_are_expected_and_for_servers() {
        let gpu = chart("nvidia_smi.a", "nvidia_smi.gpu_utilization", &[]);
        let server = || chart("sglang_1.a", "sglang.server_state", &[]);
        assert_eq!(awaited(&[], true), Awaited::Gpus);
        assert_eq!(awaited(&[], false), Awaited::Servers);
        assert_eq!(awaited(&[server()], true), Awaited::Gpus);
        assert_eq!(awaited(&[server()], false), Awaited::Nothing);
        assert_eq!(awaited(&[gpu, server()], true), Awaited::Nothing);
    }

    #[test]
    fn an_old_value_is_none() {
        let charts = [chart("sglang_1.server_state", "sglang.server_state", &[])];
        let values = [("sglang_1.server_state", "ready", 1.0)];
        assert_eq!(servers(&charts, &latest(60, &values))[0].state, None);
        let fresh = &servers(&charts, &latest(5, &values))[0];
        assert_eq!(fresh.state.as_deref(), Some("ready"));
        assert_eq!(
            fresh.server, "sglang_1",
            "without a label it has its charts' name"
        );
    }

    #[test]
    fn a_server_without_metrics_says_what_to_do() {
        let server = Server {
            server: "127.0.0.1:30000".to_owned(),
            state: Some("no_metrics".to_owned()),
            ..Server::default()
        };
        let missing = missing(&[], &Latest::new(), &[server]);
        assert!(missing[0].contains("--enable-metrics"), "{missing:?}");
    }
}
