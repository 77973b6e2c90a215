//! Turns what servers use into charts. Pure: the same servers make the same frame.

use netdata_plugin::frame::Frame;

use super::charts::{PROCESS_CPU, PROCESS_MEMORY, PROCESSES};
use super::watch::Watched;

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
        for (_, of_role) in roles().filter(|(_, of_role)| of_role.usage.processes > 0) {
            let usage = &of_role.usage;
            frame
                .chart(&PROCESS_CPU, &of_role.instance)
                .set("user", usage.cpu.user_pct)
                .set("system", usage.cpu.system_pct);
            // Exact up to 8 PiB.
            #[allow(clippy::cast_precision_loss)]
            let resident = usage.resident_bytes as f64;
            frame
                .chart(&PROCESS_MEMORY, &of_role.instance)
                .set("resident", resident);
        }
    }
}
