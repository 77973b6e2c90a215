//! The inference servers on this machine.

use super::{Check, Finding, Machine};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "servers",
    what: "SGLang servers, and their metrics",
    run: servers,
}];

fn servers(machine: &Machine) -> Finding {
    let Some(report) = &machine.report else {
        return Finding::skip("Netdata is not running: once it does, it finds them");
    };
    let silent: Vec<&str> = report
        .servers
        .iter()
        .filter(|server| server.state.as_deref() == Some("no_metrics"))
        .map(|server| server.server.as_str())
        .collect();
    let count = report.servers.len();
    if silent.is_empty() {
        return Finding::pass(format!("{count}"));
    }
    Finding::warn(
        format!("{count}, without metrics: {}", silent.join(", ")),
        "add --enable-metrics to their command line; launcher logs --plugin shows each with the change",
    )
}
