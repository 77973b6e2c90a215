//! What the agent's log may say about us.

use std::time::Duration;

use anyhow::ensure;

use crate::lab::Lab;

/// Age at which the log is read.
const AFTER: Duration = Duration::from_secs(300);

/// Parts of lines that belong to a healthy start and run. Any other line that names us is a fault.
const ALLOWED: &[&str] = &[
    // Netdata's own: it starts the plugin and says how.
    "connected to '/etc/netdata/custom-plugins.d/rs.d.plugin'",
    "PLUGINSD[rs.d] : thread created",
    "PLUGINSD[rs.d] : set name of thread",
    // Netdata 1.37 does not know this key, which newer agents show, and goes on.
    "file '/usr/lib/netdata/conf.d/health.d/rs.d.conf' for template 'rs_d_plugin_silent' has unknown key 'summary'.",
    "file '/usr/lib/netdata/conf.d/health.d/rs.d.conf' for template 'rs_d_job_failing' has unknown key 'summary'.",
    "file '/usr/lib/netdata/conf.d/health.d/rs.d.conf' for template 'rs_d_job_stuck' has unknown key 'summary'.",
    // Ours: the version, each job that started, the GPUs found, what a server without metrics has to change.
    "msg=\"version ",
    "msg=\"started, every ",
    "msg=\"4 GPUs (NVIDIA H200 NVL (simulated)",
    "--enable-metrics",
];

/// After five minutes every line that names rs.d is one of a short list, and there are some.
pub fn only_allowed(lab: &Lab) -> anyhow::Result<()> {
    lab.wait_until(AFTER);
    let logs = lab.instance.logs();
    let about_us: Vec<_> = logs.lines().filter(|line| line.contains("rs.d")).collect();
    let foreign: Vec<_> = about_us
        .iter()
        .filter(|line| !ALLOWED.iter().any(|allowed| line.contains(allowed)))
        .collect();
    eprintln!(
        "{} lines name rs.d after {} s",
        about_us.len(),
        AFTER.as_secs()
    );
    ensure!(!about_us.is_empty(), "no line names rs.d: is this its log?");
    ensure!(
        foreign.is_empty(),
        "lines that should not be there:\n{foreign:#?}"
    );
    let silent = format!("127.0.0.1:{}", lab.silent.port);
    let told = about_us
        .iter()
        .filter(|line| line.contains("--enable-metrics") && line.contains(&silent))
        .count();
    ensure!(
        told == 1,
        "the server without metrics is mentioned {told} times"
    );
    Ok(())
}
