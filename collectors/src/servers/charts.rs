//! The charts of a server's processes. All come from one read of `/proc/PID/stat` for each process.

use netdata_plugin::chart::{Chart, Dim, Kind};

/// Position of the first chart; the others follow in the order of this file.
const PRIORITY: u32 = 70_400;

/// `utime` and `stime`, clock ticks, as their rates: per cent of one core, summed over the processes of a
/// role. One chart for each role.
pub const PROCESS_CPU: Chart = Chart {
    id: "process_cpu",
    context: "inference.process_cpu",
    family: "processes",
    title: "CPU used by server processes, by role",
    units: "percentage",
    kind: Kind::Stacked,
    priority: PRIORITY,
    dims: &[Dim::milli("user"), Dim::milli("system")],
    dynamic: None,
};

/// `rss`, pages, as bytes, summed over the processes of a role. One chart for each role.
pub const PROCESS_MEMORY: Chart = Chart {
    id: "process_memory",
    context: "inference.process_memory",
    family: "processes",
    title: "Resident memory of server processes, by role",
    units: "B",
    kind: Kind::Line,
    priority: PRIORITY + 1,
    dims: &[Dim::new("resident")],
    dynamic: None,
};

/// Living processes of each role that the server has had. One chart for each server.
pub const PROCESSES: Chart = Chart {
    id: "processes",
    context: "inference.processes",
    family: "processes",
    title: "Server processes, by role",
    units: "processes",
    kind: Kind::Stacked,
    priority: PRIORITY + 2,
    dims: &[
        Dim::new("main").optional(),
        Dim::new("scheduler").optional(),
        Dim::new("detokenizer").optional(),
        Dim::new("dp_controller").optional(),
        Dim::new("tokenizer_worker").optional(),
        Dim::new("router").optional(),
        Dim::new("helper").optional(),
    ],
    dynamic: None,
};
