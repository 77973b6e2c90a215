//! What the server is doing, and what asking it costs.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::STATE;

/// One of `starting`, `ready`, `no_metrics`, `stalled`, `unreachable` is 1, the others 0. From the process
/// table, the listening sockets, the answer to `/metrics` and the movement of its counters.
pub static SERVER_STATE: Chart = Chart {
    id: "server_state",
    context: "sglang.server_state",
    family: "state",
    title: "State of the server",
    units: "state",
    kind: Kind::Line,
    priority: STATE,
    dims: &[
        Dim::new("starting"),
        Dim::new("ready"),
        Dim::new("no_metrics"),
        Dim::new("stalled"),
        Dim::new("unreachable"),
    ],
    dynamic: None,
};

/// Ends of the server's process within the last `ends_window`, by what it did when it was last looked at.
/// From the process table and the pages before. Goes on for that long after the last process has ended.
pub static SERVER_ENDS: Chart = Chart {
    id: "server_ends",
    context: "sglang.server_ends",
    family: "state",
    title: "How the process ended, within the last hour",
    units: "ends",
    kind: Kind::Stacked,
    priority: STATE + 1,
    dims: &[
        Dim::new("starting"),
        Dim::new("idle"),
        Dim::new("with_requests"),
        Dim::new("stalled"),
        Dim::new("unknown"),
    ],
    dynamic: None,
};

/// Time since the process of a server that does not listen yet began, from /proc: seconds.
pub static STARTING: Chart = Chart {
    id: "starting",
    context: "sglang.starting",
    family: "state",
    title: "Time that the start has taken so far",
    units: "seconds",
    kind: Kind::Line,
    priority: STATE + 2,
    dims: &[Dim::new("elapsed")],
    dynamic: None,
};

/// While it starts: 1 if the GPU memory of its processes grew by 64 MiB since the last look (NVML), or if they had
/// 50 major page faults (/proc/PID/stat).
pub static LOADING: Chart = Chart {
    id: "loading",
    context: "sglang.loading",
    family: "state",
    title: "Signs that weights are loading",
    units: "state",
    kind: Kind::Line,
    priority: STATE + 3,
    dims: &[
        Dim::new("gpu_memory_grows").optional(),
        Dim::new("reads_files"),
    ],
    dynamic: None,
};

/// How long the last answered GET of `/metrics` took, connection included: milliseconds.
pub static SCRAPE: Chart = Chart {
    id: "scrape",
    context: "sglang.scrape",
    family: "scrape",
    title: "Time the server took to answer the scrape",
    units: "milliseconds",
    kind: Kind::Line,
    priority: STATE + 185,
    dims: &[Dim::milli("duration")],
    dynamic: None,
};

/// The interval in use, stretched so that scrapes take at most 0.5 % of wall time: seconds.
pub static SCRAPE_INTERVAL: Chart = Chart {
    id: "scrape_interval",
    context: "sglang.scrape_interval",
    family: "scrape",
    title: "Interval between scrapes",
    units: "seconds",
    kind: Kind::Line,
    priority: STATE + 186,
    dims: &[Dim::new("interval")],
    dynamic: None,
};

/// Time that the last scrape took, over the interval in use: percentage of wall time.
pub static SCRAPE_SHARE: Chart = Chart {
    id: "scrape_share",
    context: "sglang.scrape_share",
    family: "scrape",
    title: "Share of time that the server spends on scrapes",
    units: "percentage",
    kind: Kind::Line,
    priority: STATE + 187,
    dims: &[Dim::milli("share")],
    dynamic: None,
};
