//! `rs-gpu-processes`: a row for each process on each GPU. Who may call it is decided as for the agent's own
//! list of processes. Names of users and programs are those that the module nvidia may chart.

use std::sync::Arc;
use std::time::Instant;

use netdata_plugin::functions::column::Column;
use netdata_plugin::functions::table::{Cell, Chart, Row, Severity, View};
use netdata_plugin::functions::{Access, Function, Refusal};

use super::TIMEOUT;
use super::power::is_among;
use crate::gpu_usage::{self, Gpu, Process};
use crate::inference_status::{self, Server};
use crate::modules::Context;

/// In the order of the cells of [`row`].
const COLUMNS: &[Column] = &[
    Column::text("Row", "Index of the GPU, pid and kind")
        .unique()
        .hidden(),
    Column::number("GPU", "Index of the GPU, as nvidia-smi shows it").sticky(),
    Column::number("PID", "Process id, in the host's own numbering").sticky(),
    Column::text("Command", "Name of the program, without arguments").sticky(),
    Column::text(
        "User",
        "Whose process it is; names of other users are not shown",
    ),
    Column::text("Server", "Inference server that the process belongs to"),
    Column::pill(
        "Kind",
        "What the process has on the GPU: a compute or a graphics context",
    ),
    Column::quantity("Memory", "GPU memory that the process holds", "MiB"),
    Column::quantity("SM", "Share of the GPU's multiprocessor time", "%").up_to(100.0),
    Column::text("GPU UUID", "Name of the GPU that survives restarts").hidden(),
];

const VIEW: View = View {
    columns: COLUMNS,
    sorted_by: "Memory",
    charts: &[
        Chart {
            id: "Memory",
            name: "GPU memory",
            columns: &["Memory"],
        },
        Chart {
            id: "SM",
            name: "Multiprocessor time",
            columns: &["SM"],
        },
    ],
    grouped_by: &["GPU", "Server", "Command", "User", "Kind"],
    update_every: 5,
};

/// The function, reading what `context` holds.
pub fn function(context: &Context) -> Function {
    let (gpu_usage, inference) = (
        Arc::clone(&context.gpu_usage),
        Arc::clone(&context.inference),
    );
    Function {
        name: "rs-gpu-processes",
        help: "Processes on this host's NVIDIA GPUs: memory, multiprocessor time, and the inference server \
               that each belongs to.",
        access: Access::PROCESSES,
        timeout: TIMEOUT,
        view: VIEW,
        rows: Box::new(move |_| rows(&gpu_usage, &inference, Instant::now())),
    }
}

fn rows(
    gpu_usage: &gpu_usage::Slot,
    inference: &inference_status::Slot,
    now: Instant,
) -> Result<Vec<Row>, Refusal> {
    let Some(snapshot) = gpu_usage.latest(now) else {
        return Err(Refusal::unavailable(
            "No GPU was read in the last seconds: the state of the job of module nvidia, and the agent's \
             log of its collectors, say why.",
        ));
    };
    let servers = inference.servers(now);
    let servers = servers.as_deref().unwrap_or_default();
    let gpu_of = |process: &Process| {
        let mut gpus = snapshot.gpus.iter();
        gpus.find(|gpu| gpu.uuid == process.gpu_uuid)
    };
    let processes = snapshot.processes.iter();
    Ok(processes
        .filter_map(|process| Some(row(gpu_of(process)?, process, servers)))
        .collect())
}

fn row(gpu: &Gpu, process: &Process, servers: &[Server]) -> Row {
    let mut servers = servers.iter();
    let server = servers.find(|server| is_among(process, &server.processes));
    // Exact up to 8 PiB.
    #[allow(clippy::cast_precision_loss)]
    let memory_mib = process.mem_bytes.map(|bytes| bytes as f64 / 1_048_576.0);
    Row {
        cells: vec![
            Cell::Text(format!(
                "{}:{}:{}",
                gpu.index,
                process.pid,
                process.kind.name()
            )),
            gpu.index.into(),
            process.pid.into(),
            process.name.as_deref().map(str::to_owned).into(),
            process.user.as_deref().map(str::to_owned).into(),
            server.map(|server| server.name.clone()).into(),
            process.kind.name().into(),
            memory_mib.into(),
            process.sm_pct.into(),
            (&*process.gpu_uuid).into(),
        ],
        severity: Severity::Normal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::functions::power::tests::{process, snapshot};
    use crate::inference_status::tests::server;

    #[test]
    fn a_process_is_a_row_for_each_of_its_gpus() {
        let (gpus, inference) = (
            gpu_usage::Slot::default(),
            inference_status::Slot::default(),
        );
        let now = Instant::now();
        inference.list([server("127.0.0.1:30000", 7)], now, Duration::from_secs(3));
        let mut stranger = process(1, 8, None);
        (stranger.name, stranger.user) = (None, None);
        gpus.publish(snapshot(
            2,
            vec![process(0, 7, Some(40.0)), process(1, 7, None), stranger],
        ));
        let rows = rows(&gpus, &inference, Instant::now()).unwrap();
        let [first, second, third] = &rows[..] else {
            panic!("{rows:?}");
        };
        let expected = [
            Cell::from("0:7:compute"),
            0.into(),
            7.into(),
            "python3".into(),
            "marie".into(),
            "127.0.0.1:30000".into(),
            "compute".into(),
            Cell::Quantity(7.0),
            Cell::Quantity(40.0),
            "GPU-0".into(),
        ];
        assert_eq!(first.cells, expected);
        assert_eq!(first.cells.len(), COLUMNS.len());
        assert_eq!(second.cells[0], "1:7:compute".into());
        assert_eq!(second.cells[8], Cell::Unknown);
        assert_eq!(
            third.cells[3..6],
            [Cell::Unknown, Cell::Unknown, Cell::Unknown]
        );
    }

    #[test]
    fn gpus_that_nobody_read_are_no_empty_table() {
        let (gpus, inference) = (
            gpu_usage::Slot::default(),
            inference_status::Slot::default(),
        );
        let now = Instant::now();
        assert_eq!(rows(&gpus, &inference, now).unwrap_err().status, 503);
        gpus.publish(snapshot(1, vec![]));
        assert_eq!(rows(&gpus, &inference, Instant::now()), Ok(vec![]));
    }
}
