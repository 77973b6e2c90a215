//! `rs-inference-servers`: a row for each inference server of this host. Anybody who may see the charts may
//! call it: it shows what they show. Command lines are never shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use netdata_plugin::functions::column::Column;
use netdata_plugin::functions::table::{Cell, Chart, Row, Severity, View};
use netdata_plugin::functions::{Access, Function, Refusal};

use super::TIMEOUT;
use super::power::used_by;
use crate::gpu_usage::{self, Snapshot};
use crate::inference_status::{self, Reading, Server, Urgency};
use crate::modules::Context;

/// In the order of [`row`].
const COLUMNS: &[Column] = &[
    Column::text("Server", "Address on which it listens")
        .unique()
        .sticky(),
    Column::pill("Engine", "Program that serves the model"),
    Column::text("Model", "Name of the model"),
    Column::text(
        "Version",
        "Version of the engine, as far as its metrics tell",
    ),
    Column::text(
        "User",
        "Whose server it is; names of other users are not shown",
    ),
    Column::pill("State", "What it is doing, as in the chart of its state"),
    Column::quantity("Running", "Requests that are worked on", "requests"),
    Column::quantity("Queued", "Requests that wait", "requests"),
    Column::quantity("Tokens", "Tokens generated", "tokens/s"),
    Column::quantity(
        "TTFT p99",
        "Time to the first token that 99 of 100 requests stay below",
        "ms",
    ),
    Column::quantity("KV cache", "Part of the KV cache that requests hold", "%").up_to(100.0),
    Column::text("GPUs", "Indexes of the GPUs that its processes are on"),
    Column::quantity("Power", "Power of those GPUs that is its own", "W"),
    Column::pill(
        "Share",
        "Where the power comes from: exclusive (nobody else is on these GPUs), estimate (by share of \
         multiprocessor time), none",
    ),
    Column::text("Metrics", "Why metrics are missing, and how to get them").wrapped(),
];

const VIEW: View = View {
    columns: COLUMNS,
    sorted_by: "Server",
    charts: &[
        Chart {
            id: "Tokens",
            name: "Tokens generated",
            columns: &["Tokens"],
        },
        Chart {
            id: "Requests",
            name: "Requests",
            columns: &["Running", "Queued"],
        },
        Chart {
            id: "Power",
            name: "Power",
            columns: &["Power"],
        },
    ],
    grouped_by: &["Server", "Model", "Engine", "State", "User"],
    update_every: 5,
};

/// The function, reading what `context` holds.
pub fn function(context: &Context) -> Function {
    let (inference, gpu_usage) = (
        Arc::clone(&context.inference),
        Arc::clone(&context.gpu_usage),
    );
    Function {
        name: "rs-inference-servers",
        help: "Inference servers on this host: state, load, latency, GPUs and power, and how to get the \
               metrics of those that have none.",
        access: Access::ANYBODY,
        timeout: TIMEOUT,
        view: VIEW,
        rows: Box::new(move |_| rows(&inference, &gpu_usage, Instant::now())),
    }
}

fn rows(
    inference: &inference_status::Slot,
    gpu_usage: &gpu_usage::Slot,
    now: Instant,
) -> Result<Vec<Row>, Refusal> {
    let (servers, readings) = (inference.servers(now), inference.readings(now));
    if servers.is_none() && readings.is_empty() {
        return Err(Refusal::unavailable(
            "Nobody has looked for inference servers in the last seconds: the module servers does, if \
             rs.d.conf does not switch it off.",
        ));
    }
    let gpus = gpu_usage.latest(now);
    let known: BTreeMap<&str, &Server> = servers
        .iter()
        .flat_map(|servers| servers.iter())
        .map(|server| (server.name.as_str(), server))
        .collect();
    let names: BTreeSet<&str> = known
        .keys()
        .copied()
        .chain(readings.keys().map(String::as_str))
        .collect();
    let row = |name| {
        row(
            name,
            known.get(name).copied(),
            readings.get(name),
            gpus.as_deref(),
        )
    };
    Ok(names.into_iter().map(row).collect())
}

fn row(
    name: &str,
    server: Option<&Server>,
    reading: Option<&Reading>,
    gpus: Option<&Snapshot>,
) -> Row {
    let engine = server
        .map(|it| it.engine)
        .or(reading.map(|it| it.engine))
        .unwrap_or_default();
    let model = server
        .and_then(|it| it.model.clone())
        .or_else(|| reading.and_then(|it| it.model.clone()));
    let used = server
        .zip(gpus)
        .and_then(|(it, gpus)| used_by(&it.processes, gpus));
    let indexes = used.as_ref().map(|used| {
        let indexes: Vec<_> = used.gpus.iter().map(u32::to_string).collect();
        indexes.join(", ")
    });
    let said = |number: fn(&Reading) -> Option<f64>| Cell::from(reading.and_then(number));
    Row {
        cells: vec![
            name.into(),
            engine.into(),
            model.into(),
            reading.and_then(|it| it.version.clone()).into(),
            server.map(|it| it.user.clone()).into(),
            reading.map_or("running", |it| it.state).into(),
            said(|it| it.running),
            said(|it| it.queued),
            said(|it| it.tokens_per_second),
            said(|it| it.ttft_p99_ms),
            said(|it| it.kv_cache_pct),
            indexes.into(),
            used.as_ref().and_then(|used| used.watts).into(),
            used.map(|used| used.share.name().to_owned()).into(),
            match reading {
                Some(reading) => reading.missing.clone(),
                None => Some(unread(engine)),
            }
            .into(),
        ],
        severity: reading.map_or(Severity::Normal, |it| severity(it.urgency)),
    }
}

/// Why nothing is known of a server but its processes.
fn unread(engine: &str) -> String {
    match engine {
        "sglang" => {
            "They were not read yet, or rs.d.conf switches the module sglang off.".to_owned()
        }
        _ => format!(
            "{engine} is not asked for its metrics by itself: only its processes are known."
        ),
    }
}

fn severity(urgency: Urgency) -> Severity {
    match urgency {
        Urgency::Normal => Severity::Normal,
        Urgency::Notice => Severity::Notice,
        Urgency::Warning => Severity::Warning,
        Urgency::Error => Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::functions::power::tests::{process, snapshot};
    use crate::inference_status::tests::{reading, server};

    const EVERY: Duration = Duration::from_secs(3);

    fn cell<'a>(row: &'a Row, id: &str) -> &'a Cell {
        let index = COLUMNS.iter().position(|column| column.id == id);
        &row.cells[index.expect("a column")]
    }

    fn text(row: &Row, id: &str) -> String {
        match cell(row, id) {
            Cell::Text(text) => text.clone(),
            other => panic!("{id} is {other:?}"),
        }
    }

    #[test]
    fn a_server_is_one_row_of_what_its_processes_metrics_and_gpus_say() {
        let (inference, gpus) = (
            inference_status::Slot::default(),
            gpu_usage::Slot::default(),
        );
        gpus.publish(snapshot(2, vec![process(0, 7, None), process(1, 7, None)]));
        let now = Instant::now();
        inference.list([server("127.0.0.1:30000", 7)], now, EVERY);
        inference.read("127.0.0.1:30000", reading(now));
        let rows = rows(&inference, &gpus, now).unwrap();
        let [row] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!(row.cells.len(), COLUMNS.len());
        assert_eq!(text(row, "Model"), "Qwen3-0.6B");
        assert_eq!(text(row, "Version"), "0.5.18 or newer");
        assert_eq!(text(row, "State"), "ready");
        assert_eq!(text(row, "GPUs"), "0, 1");
        assert_eq!(cell(row, "Power"), &Cell::Quantity(400.0));
        assert_eq!(cell(row, "Tokens"), &Cell::Quantity(512.5));
        assert_eq!(cell(row, "Metrics"), &Cell::Unknown);
    }

    #[test]
    fn a_server_without_metrics_says_why_and_how_to_get_them() {
        let (inference, gpus) = (
            inference_status::Slot::default(),
            gpu_usage::Slot::default(),
        );
        let now = Instant::now();
        let mut other = server("127.0.0.1:8000", 8);
        other.engine = "vllm";
        inference.list([server("127.0.0.1:30000", 7), other], now, EVERY);
        let mut silent = reading(now);
        silent.state = "no_metrics";
        silent.urgency = Urgency::Notice;
        silent.missing = Some("Add --enable-metrics.".to_owned());
        inference.read("127.0.0.1:30000", silent);
        let rows = rows(&inference, &gpus, now).unwrap();
        assert_eq!(text(&rows[0], "Metrics"), "Add --enable-metrics.");
        assert_eq!(rows[0].severity, Severity::Notice);
        assert_eq!(text(&rows[1], "State"), "running");
        assert!(text(&rows[1], "Metrics").contains("vllm"));
        assert_eq!(cell(&rows[1], "Running"), &Cell::Unknown);
        assert_eq!(cell(&rows[1], "Power"), &Cell::Unknown);
    }

    #[test]
    fn nobody_who_looked_is_no_empty_table() {
        let (inference, gpus) = (
            inference_status::Slot::default(),
            gpu_usage::Slot::default(),
        );
        let now = Instant::now();
        assert_eq!(rows(&inference, &gpus, now).unwrap_err().status, 503);
        inference.list([], now, EVERY);
        assert_eq!(rows(&inference, &gpus, now), Ok(vec![]));
    }
}
