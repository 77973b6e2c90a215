//! The charts of a server's processes: from `/proc/PID/stat`, and from what the host probe reads outside.

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

/// `rss`, pages, as bytes, and `Pss` of `/proc/PID/smaps_rollup`, KiB, as bytes, each summed over the processes
/// of a role. One chart for each role.
pub const PROCESS_MEMORY: Chart = Chart {
    id: "process_memory",
    context: "inference.process_memory",
    family: "processes",
    title: "Memory of server processes, by role",
    units: "B",
    kind: Kind::Line,
    priority: PRIORITY + 1,
    dims: &[Dim::new("resident"), Dim::new("pss").optional()],
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
        Dim::new("worker").optional(),
        Dim::new("router").optional(),
        Dim::new("helper").optional(),
    ],
    dynamic: None,
};

/// The same as `process_cpu` of the busiest process of a role whose processes run Python, which uses one core at
/// most: main, tokenizer workers, detokenizer. One chart for each.
pub const SINGLE_CORE_USE: Chart = Chart {
    id: "single_core_use",
    context: "inference.single_core_use",
    family: "processes",
    title: "CPU used by the busiest process, of the one core it can use",
    units: "percentage",
    kind: Kind::Line,
    priority: PRIORITY + 3,
    dims: &[Dim::milli("busiest")],
    dynamic: None,
};

/// `num_threads`, summed over the processes of a role. One chart for each role.
pub const PROCESS_THREADS: Chart = Chart {
    id: "process_threads",
    context: "inference.process_threads",
    family: "processes",
    title: "Threads of server processes, by role",
    units: "threads",
    kind: Kind::Line,
    priority: PRIORITY + 4,
    dims: &[Dim::new("threads")],
    dynamic: None,
};

/// Entries of `/proc/PID/fd`, summed over the processes of a role. One chart for each role.
pub const OPEN_FILES: Chart = Chart {
    id: "open_files",
    context: "inference.open_files",
    family: "processes",
    title: "Open files of server processes, by role",
    units: "files",
    kind: Kind::Line,
    priority: PRIORITY + 5,
    dims: &[Dim::new("open")],
    dynamic: None,
};

/// `read_bytes` and `write_bytes` of `/proc/PID/io`, bytes, as their rates, summed over the processes of a role. One
/// chart for each role.
pub const PROCESS_IO: Chart = Chart {
    id: "process_io",
    context: "inference.process_io",
    family: "processes",
    title: "Disk I/O of server processes, by role",
    units: "B/s",
    kind: Kind::Area,
    priority: PRIORITY + 6,
    dims: &[Dim::new("reads"), Dim::new("writes").below_zero()],
    dynamic: None,
};

/// `minflt` and `majflt`, as their rates, summed over the processes of a role. One chart for each role.
pub const PAGE_FAULTS: Chart = Chart {
    id: "page_faults",
    context: "inference.page_faults",
    family: "processes",
    title: "Page faults of server processes, by role",
    units: "faults/s",
    kind: Kind::Line,
    priority: PRIORITY + 7,
    dims: &[Dim::milli("minor"), Dim::milli("major")],
    dynamic: None,
};

/// How often the main process on an address was found to be another one. One chart for each server.
pub const RESTARTS: Chart = Chart {
    id: "restarts",
    context: "inference.restarts",
    family: "processes",
    title: "Restarts of the server",
    units: "restarts",
    kind: Kind::Line,
    priority: PRIORITY + 8,
    dims: &[Dim::new("restarts")],
    dynamic: None,
};
