//! What runs from this home, and other instances on the machine.

use std::time::Duration;

use super::{Check, Finding, Machine};
use crate::claim;
use crate::instance::beside;
use crate::others;
use crate::settings::DEFAULT_PORT;
use crate::start_log::{StartLog, Verdict};

/// It answers within a millisecond.
const PROBE_PATIENCE: Duration = Duration::from_secs(2);

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "netdata",
        what: "Netdata runs",
        run: netdata,
    },
    Check {
        id: "plugin-accepted",
        what: "Netdata runs the plugin",
        run: accepted,
    },
    Check {
        id: "jobs",
        what: "the plugin's jobs collect",
        run: jobs,
    },
    Check {
        id: "host-probe",
        what: "the host probe answers",
        run: host_probe,
    },
    Check {
        id: "cloud",
        what: "Netdata Cloud",
        run: cloud,
    },
    Check {
        id: "other-netdata",
        what: "other Netdata on this machine",
        run: others,
    },
];

fn netdata(machine: &Machine) -> Finding {
    if let Some(why) = machine
        .report
        .as_ref()
        .and_then(|report| report.paused.clone())
    {
        return Finding::fail(why, "make room on that disk");
    }
    match &machine.record {
        Some(record) => Finding::pass(format!("pid {}", record.pid)),
        None => Finding::skip("no: launcher start"),
    }
}

fn accepted(machine: &Machine) -> Finding {
    let Some(report) = &machine.report else {
        return Finding::skip("Netdata is not running");
    };
    if let Some(charts) = report.charts.filter(|charts| *charts > 0) {
        return Finding::pass(format!("{charts} charts"));
    }
    let log = StartLog::new(&machine.paths.log_file(), 0);
    match log.verdict() {
        Some(Verdict::SwitchedOff) => Finding::warn(
            "its configuration switches it off",
            "look at enabled in state/config/rs.d.conf",
        ),
        Some(Verdict::GivenUp) => Finding::fail(
            "Netdata has given it up",
            "launcher logs --plugin says why; then launcher restart",
        ),
        None => Finding::fail("it has no charts", "launcher logs --plugin"),
    }
}

fn jobs(machine: &Machine) -> Finding {
    let Some(report) = &machine.report else {
        return Finding::skip("Netdata is not running");
    };
    match report
        .missing
        .iter()
        .find(|line| line.contains("launcher logs"))
    {
        None => Finding::pass("yes"),
        Some(line) => Finding::warn(line.clone(), "launcher logs --plugin"),
    }
}

fn cloud(machine: &Machine) -> Finding {
    let token = machine.layers.get("NETDATA_CLAIM_TOKEN").is_some();
    let report = machine.report.as_ref();
    let state = report.and_then(|report| report.cloud);
    let version = report.and_then(|report| report.netdata_version.as_deref());
    let version = version.unwrap_or_default();
    match (token, state) {
        (false, None) => Finding::pass("not wanted: no token is set"),
        (false, Some(state)) => Finding::pass(state),
        (true, None) => Finding::skip("a token is set; Netdata is not running"),
        (true, Some("off" | "not claimed")) if !claim::is_read_by(version) => Finding::warn(
            format!("a token is set, but Netdata {version} cannot be claimed with it"),
            "2.0 and later can: launcher update --image docker://netdata/netdata:stable",
        ),
        (true, Some("off")) => Finding::warn(
            "a token is set, but this Netdata cannot connect to the Cloud",
            "the distribution's packages lack it: use the official image",
        ),
        (true, Some("not claimed")) => Finding::warn("not claimed", "launcher claim"),
        (true, Some("connected")) => Finding::pass("connected"),
        (true, Some(state)) => Finding::warn(
            state,
            "launcher logs | grep -i claim; a wrong or used-up token, or no way out to app.netdata.cloud",
        ),
    }
}

fn others(machine: &Machine) -> Finding {
    let others = others::processes(&machine.proc, &machine.members);
    if others.is_empty() {
        return Finding::pass("none");
    }
    let ours = machine.record.as_ref().map(|record| record.port);
    if ours != Some(DEFAULT_PORT)
        && let Some(other) = others::answering(&machine.proc, &machine.members, DEFAULT_PORT)
    {
        return Finding::warn(
            format!("{other}, at http://127.0.0.1:{DEFAULT_PORT}"),
            "it may already show what you want; the two do not disturb each other (launcher start --beside-another)",
        );
    }
    let pids: Vec<String> = others
        .iter()
        .take(4)
        .map(|other| other.pid.to_string())
        .collect();
    Finding::pass(format!(
        "pid {}; they do not disturb each other",
        pids.join(", ")
    ))
}

/// The probe greets whoever of its user connects.
fn host_probe(machine: &Machine) -> Finding {
    if machine.record.is_none() {
        return Finding::skip("Netdata is not running");
    }
    match beside::greeting(&machine.paths.state_dir("run"), PROBE_PATIENCE) {
        Ok(greeting) => Finding::pass(greeting),
        Err(error) => Finding::warn(
            format!("it does not answer: {error:#}"),
            "sockets, open files, disk I/O and logs of your servers are not charted: launcher logs; launcher restart",
        ),
    }
}
