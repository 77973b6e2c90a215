//! Jobs of the plugin that fail and that hang.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::alerts::{self, Change};
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::gpus::Fate;
use super::stage::Stage;

/// The status of the job that reads the GPUs.
pub const GPU_JOB_CHART: &str = "netdata.rs_d_nvidia_gpus_status";
/// That of the job that reads an endpoint with a token.
pub const ENDPOINT_JOB_CHART: &str = "netdata.rs_d_prometheus_slow_status";

/// The driver goes away and comes back; and what holds an endpoint's token hangs for a while, as a file of a
/// network's does whose server is gone.
pub fn fail(place: &Place) -> anyhow::Result<Vec<Change>> {
    let server = Server::start(place, "0.4.6.post5", &["--scheduler-cpu", "0"])?;
    let conf = format!(
        "jobs:\n  - name: slow\n    url: http://127.0.0.1:{}/metrics\n    update_every: 1\n    \
         bearer_token_file: /etc/netdata/secrets/token\n",
        server.port
    );
    let files = [
        ("rs.d/prometheus.conf", conf.as_str()),
        ("secrets/token", ""),
    ];
    let stage = Stage::prepare(place, "alerts-jobs", &files)?;
    let token = stage.instance.home.join("state/config/secrets/token");
    let write = |path: &std::path::Path| {
        place.write(path, "made-up\n")?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        anyhow::Ok(())
    };
    write(&token)?;
    stage.instance.start()?;
    for chart in [GPU_JOB_CHART, ENDPOINT_JOB_CHART] {
        wait_for("the job's chart", Duration::from_secs(60), || {
            let values = stage.instance.api().series(chart, 3)?.values("ok")?;
            ensure!(values.last() == Some(&1.0), "{values:?}");
            Ok(())
        })?;
    }
    stage.gpus(Fate::NoDriver)?;
    // Whoever opens a pipe waits for the one who writes.
    fs::remove_file(&token)?;
    mkfifo(&token, Mode::from_bits_truncate(0o600))?;
    place.own(&token)?;
    let raised = stage
        .raised("rs_d_job_stuck", ENDPOINT_JOB_CHART)
        .and_then(|()| stage.raised("rs_d_job_failing", GPU_JOB_CHART));
    let writer = OpenOptions::new()
        .write(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&token)
        .context("nobody waits for the token");
    let new = token.with_extension("new");
    write(&new)?;
    fs::rename(&new, &token)?;
    drop(writer?);
    stage.gpus(Fate::Well)?;
    raised?;
    stage.cleared("rs_d_job_stuck", ENDPOINT_JOB_CHART)?;
    stage.cleared("rs_d_job_failing", GPU_JOB_CHART)?;
    alerts::log(&stage.instance.api())
}
