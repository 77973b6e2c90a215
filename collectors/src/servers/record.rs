//! Turns what servers use into charts. Pure: the same servers make the same frame.

use netdata_plugin::frame::Frame;

use super::charts::{
    OPEN_FILES, PAGE_FAULTS, PROCESS_CPU, PROCESS_IO, PROCESS_MEMORY, PROCESS_THREADS, PROCESSES,
    RESTARTS, SINGLE_CORE_USE,
};
use super::watch::{OfRole, Watched};
use crate::engine::Role;

/// Records every server that lives. A role without processes uses nothing that could be charted, but its
/// count is a known 0.
pub fn record(servers: &[Watched], frame: &mut Frame) {
    for server in servers {
        let roles = || server.roles.iter().map(|(role, of_role)| (*role, of_role));
        if roles().all(|(_, of_role)| of_role.usage.processes == 0) {
            // It has ended, and the next scan forgets it.
            continue;
        }
        let mut processes = frame.chart(&PROCESSES, &server.instance);
        for (role, of_role) in roles() {
            processes.set(role.name(), f64::from(of_role.usage.processes));
        }
        frame
            .chart(&RESTARTS, &server.instance)
            .set("restarts", f64::from(server.restarts));
        for (role, of_role) in roles().filter(|(_, of_role)| of_role.usage.processes > 0) {
            record_role(role, of_role, frame);
        }
    }
}

fn record_role(role: Role, of_role: &OfRole, frame: &mut Frame) {
    let OfRole { instance, usage } = of_role;
    let outside = &usage.outside;
    // Exact up to 8 PiB.
    #[allow(clippy::cast_precision_loss)]
    let number = |number: u64| number as f64;
    frame
        .chart(&PROCESS_CPU, instance)
        .set("user", usage.cpu.user_pct)
        .set("system", usage.cpu.system_pct);
    if runs_python(role) {
        frame
            .chart(&SINGLE_CORE_USE, instance)
            .set("busiest", usage.busiest_pct);
    }
    frame
        .chart(&PROCESS_MEMORY, instance)
        .set("resident", number(usage.resident_bytes))
        .set("pss", outside.pss_bytes.map(number));
    frame
        .chart(&PROCESS_THREADS, instance)
        .set("threads", number(usage.threads));
    frame
        .chart(&OPEN_FILES, instance)
        .set("open", outside.open_files.map(number));
    frame
        .chart(&PROCESS_IO, instance)
        .set("reads", outside.read_rate)
        .set("writes", outside.write_rate);
    frame
        .chart(&PAGE_FAULTS, instance)
        .set("minor", usage.faults.minor)
        .set("major", usage.faults.major);
}

/// Whether one core is all that a process of the role can use: the interpreter's lock sees to that. A scheduler
/// polls, and is at its core's limit whatever it does.
fn runs_python(role: Role) -> bool {
    matches!(role, Role::Main | Role::TokenizerWorker | Role::Detokenizer)
}
