//! What the plugin says about itself, from its first tick on: an agent that hears nothing for two minutes
//! kills a plugin, and an operator must see which job fails.

use std::sync::Arc;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::chart::{Chart, Dim, Instance, Kind};
use crate::frame::Frame;
use crate::runner::Status;

/// CPU time used by all threads (`getrusage`), in thousandths of one core.
static CPU: Chart = Chart {
    id: "rs_d_plugin_resources_cpu",
    context: "netdata.rs_d_plugin_resources_cpu",
    family: "rs.d",
    title: "CPU used by rs.d",
    units: "milliseconds/s",
    kind: Kind::Stacked,
    priority: 146_000,
    dims: &[
        Dim::new("user").incremental(),
        Dim::new("system").incremental(),
    ],
    dynamic: None,
};

/// Resident memory (`/proc/self/statm`).
static MEMORY: Chart = Chart {
    id: "rs_d_plugin_resources_memory",
    context: "netdata.rs_d_plugin_resources_memory",
    family: "rs.d",
    title: "Memory used by rs.d",
    units: "MiB",
    kind: Kind::Area,
    priority: 146_001,
    dims: &[Dim::milli("rss")],
    dynamic: None,
};

/// Exactly one of these is 1. `failing`: it worked before. `waiting`: it has not worked yet, as for GPUs where
/// there are none. `stuck`: its tick has been under way for far longer than its interval.
static STATUS: Chart = Chart {
    id: "status",
    context: "netdata.rs_d_job_status",
    family: "rs.d",
    title: "State of a job",
    units: "state",
    kind: Kind::Line,
    priority: 146_010,
    dims: &[
        Dim::new("ok"),
        Dim::new("failing"),
        Dim::new("stuck"),
        Dim::new("waiting"),
    ],
    dynamic: None,
};

/// Time that the last tick took, from reading to writing.
static DURATION: Chart = Chart {
    id: "duration",
    context: "netdata.rs_d_job_duration",
    family: "rs.d",
    title: "Duration of the tick of a job",
    units: "milliseconds",
    kind: Kind::Line,
    priority: 146_011,
    dims: &[Dim::milli("duration")],
    dynamic: None,
};

/// Charts and dimensions that the agent now knows from a job.
static CHARTS: Chart = Chart {
    id: "charts",
    context: "netdata.rs_d_job_charts",
    family: "rs.d",
    title: "Charts and dimensions of a job",
    units: "count",
    kind: Kind::Line,
    priority: 146_012,
    dims: &[Dim::new("charts"), Dim::new("dimensions")],
    dynamic: None,
};

/// Labels and id of the plugin's own charts.
pub(crate) fn plugin_instance() -> Arc<Instance> {
    Arc::new(Instance::new("netdata", ""))
}

/// Labels and id of a job's charts.
pub(crate) fn job_instance(module: &str, job: &str) -> Arc<Instance> {
    let prefix = format!("rs_d_{module}_{job}_");
    Arc::new(
        Instance::new("netdata", &prefix)
            .label("module", module)
            .label("job", job),
    )
}

/// Records CPU and memory.
pub(crate) fn record_plugin(frame: &mut Frame, instance: &Arc<Instance>) {
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        frame
            .chart(&CPU, instance)
            .set("user", usage.user_time().num_milliseconds() as f64)
            .set("system", usage.system_time().num_milliseconds() as f64);
    }
    let statm = procfs::process::Process::myself()
        .and_then(|process| process.statm())
        .ok();
    let rss = statm.map(|statm| (statm.resident * procfs::page_size()) as f64 / 1_048_576.0);
    frame.chart(&MEMORY, instance).set("rss", rss);
}

/// Records how a job fares. `stuck`, and whether it ever `worked`, is the supervisor's judgement.
pub(crate) fn record_job(
    frame: &mut Frame,
    instance: &Arc<Instance>,
    status: &Status,
    stuck: bool,
    worked: bool,
) {
    // The very first tick may be the one that hangs.
    let state = match status.ok {
        _ if stuck => Some("stuck"),
        Some(true) => Some("ok"),
        Some(false) if worked => Some("failing"),
        Some(false) => Some("waiting"),
        None => None,
    };
    let mut chart = frame.chart(&STATUS, instance);
    for dim in STATUS.dims {
        let is = |state| f64::from(u8::from(state == dim.id));
        chart.set(dim.id, state.map(is));
    }
    // While a tick is under way for longer than the last one took, its age says more.
    let running = status
        .busy_since
        .map(|since| Instant::now().duration_since(since));
    let duration = status.duration.max(running.filter(|_| stuck));
    frame
        .chart(&DURATION, instance)
        .set("duration", duration.map(|d| d.as_secs_f64() * 1000.0));
    frame
        .chart(&CHARTS, instance)
        .set("charts", status.defined.0 as f64)
        .set("dimensions", status.defined.1 as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_in_one_state_and_one_that_never_worked_waits() {
        let instance = job_instance("nvidia", "gpus");
        for (ok, stuck, worked, state) in [
            (None, false, false, vec![]),
            (None, true, false, vec!["stuck"]),
            (Some(false), false, false, vec!["waiting"]),
            (Some(true), false, true, vec!["ok"]),
            (Some(false), false, true, vec!["failing"]),
            (Some(true), true, true, vec!["stuck"]),
        ] {
            let mut frame = Frame::default();
            let status = Status {
                ok,
                ..Status::default()
            };
            record_job(&mut frame, &instance, &status, stuck, worked);
            let states = STATUS.dims.iter().map(|dim| dim.id);
            let is = |state: &&str| frame.value(&instance, &STATUS, state) == Some(1.0);
            assert_eq!(states.filter(is).collect::<Vec<_>>(), state);
        }
    }
}
