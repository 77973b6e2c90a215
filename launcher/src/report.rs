//! What `status` knows of a running Netdata, as plain data: read here, shown elsewhere. What cannot be had is
//! None, never 0.

mod charted;
mod usage;
mod versions;

use std::path::PathBuf;

use serde::Serialize;

use crate::api::{Alert, Api, Info};
use crate::image::ImageRecord;
use crate::instance::{Instance, Record};
use crate::paths::Paths;
use crate::pause;
use crate::ports;
use crate::process::Proc;
use crate::settings::Listen;
use charted::plain;
pub use charted::{Awaited, Gpu, Server, awaited};
pub use usage::Usage;
pub use versions::Versions;

/// Newest values of these charts are asked for.
const SHOWN: &str = "nvidia_smi.* nvidia.*_gpu_state sglang_* netdata.rs_d_*_status";

/// All of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Of the outer process.
    pub pid: i32,
    /// Since its start.
    pub uptime_seconds: Option<u64>,
    /// The agent's, as it says itself.
    pub netdata_version: Option<String>,
    /// Of the plugin and the runtime.
    pub versions: Versions,
    /// The image in use.
    pub image: PathBuf,
    /// Where that came from.
    pub image_record: Option<ImageRecord>,
    /// Where the dashboard answers.
    pub urls: Vec<String>,
    /// Why nothing is recorded at present; None where it is.
    pub paused: Option<String>,
    /// Why the API does not answer; None if it does.
    pub api_error: Option<String>,
    /// By index.
    pub gpus: Vec<Gpu>,
    /// By address.
    pub servers: Vec<Server>,
    /// Charts by the plugin.
    pub charts: Option<usize>,
    /// Charts by everybody else.
    pub other_charts: Option<usize>,
    /// Raised now.
    pub alerts: Option<Vec<Alert>>,
    /// `off`, `not claimed`, `claimed, not connected`, `connected`.
    pub cloud: Option<&'static str>,
    /// What all of this costs.
    pub usage: Usage,
    /// What is not charted, and why.
    pub missing: Vec<String>,
}

impl Report {
    /// Asks the agent, /proc and the disk.
    pub fn of(record: &Record, paths: &Paths, proc: &Proc, instance: &Instance) -> Self {
        let listen: Listen = record.listen.parse().unwrap_or(Listen::All);
        let leader = proc.get(record.pid);
        let mut report = Self {
            pid: record.pid,
            uptime_seconds: leader.and_then(|leader| proc.age_seconds(&leader)),
            versions: Versions::load(paths),
            image: record.image.clone(),
            image_record: ImageRecord::load(paths).filter(|_| record.image == paths.image()),
            urls: urls(listen, &record.host, record.port),
            ..Self::default()
        };
        let mut first_entry = None;
        let members = instance.members(record);
        if pause::is_held(&members) {
            // It would not answer.
            report.paused = Some(pause::why(&paths.state_dir("cache")));
            report.usage = Usage::of(paths, proc, &members, None);
            return report;
        }
        // Whoever took the port meanwhile is not asked.
        let ours = ports::check_ours(proc, &members, listen.local(), record.port);
        match ours.and_then(|()| report.ask(&Api::new(listen.local(), record.port))) {
            Ok(first) => first_entry = first,
            Err(error) => report.api_error = Some(format!("{error:#}")),
        }
        report.usage = Usage::of(paths, proc, &members, first_entry);
        report
    }

    /// Returns the time of the oldest value that is kept.
    fn ask(&mut self, api: &Api) -> anyhow::Result<Option<i64>> {
        let listing = api.charts()?;
        let latest = api.latest(SHOWN)?;
        self.netdata_version = Some(plain(&listing.version));
        let ours = |chart: &&crate::api::Chart| chart.plugin == crate::api::PLUGIN;
        let count = listing.charts.iter().filter(ours).count();
        self.charts = Some(count);
        self.other_charts = Some(listing.charts.len() - count);
        self.gpus = charted::gpus(&listing.charts, &latest);
        self.servers = charted::servers(&listing.charts, &latest);
        self.missing = charted::missing(&listing.charts, &latest, &self.servers);
        self.alerts = api.raised().ok();
        self.cloud = api.info().ok().map(|info| cloud(&info));
        let oldest = listing.charts.iter().map(|chart| chart.first_entry);
        Ok(oldest.filter(|at| *at > 0).min())
    }
}

fn cloud(info: &Info) -> &'static str {
    match (info.cloud_enabled, info.agent_claimed, info.aclk_available) {
        (_, _, true) => "connected",
        (_, true, false) => "claimed, not connected",
        (true, false, false) => "not claimed",
        (false, false, false) => "off",
    }
}

/// Who can open the dashboard, and how to change that.
pub fn reach(listen: Listen, host: &str, port: u16) -> Vec<String> {
    if listen.is_loopback() {
        return vec![
            "only from this machine; from yours:".to_owned(),
            format!("ssh -L {port}:127.0.0.1:{port} {host}   then http://127.0.0.1:{port}"),
        ];
    }
    vec![
        format!("by everybody who reaches port {port} of this machine, without a password"),
        "to close it: launcher restart --listen 127.0.0.1, and from your machine".to_owned(),
        format!("ssh -L {port}:127.0.0.1:{port} {host}   then http://127.0.0.1:{port}"),
    ]
}

/// For this machine, and for others where they reach it.
pub fn urls(listen: Listen, host: &str, port: u16) -> Vec<String> {
    let local = std::net::SocketAddr::new(listen.local(), port);
    let mut urls = vec![format!("http://{local}")];
    match listen {
        Listen::All => urls.push(format!("http://{host}:{port}")),
        Listen::One(ip) if !ip.is_loopback() => {
            urls.push(format!("http://{}", std::net::SocketAddr::new(ip, port)));
        }
        Listen::One(_) => {}
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_dashboard_comes_with_the_flag_that_closes_it() {
        let open = reach(Listen::All, "gpu-1", 19999).join("\n");
        assert!(open.contains("--listen 127.0.0.1"), "{open}");
        assert!(
            open.contains("ssh -L 19999:127.0.0.1:19999 gpu-1"),
            "{open}"
        );
        let closed = reach("127.0.0.1".parse().unwrap(), "gpu-1", 19999).join("\n");
        assert!(!closed.contains("--listen"), "{closed}");
    }

    #[test]
    fn the_url_is_given_for_this_machine_and_for_others_where_they_reach_it() {
        assert_eq!(
            urls(Listen::All, "gpu-1", 1),
            ["http://127.0.0.1:1", "http://gpu-1:1"]
        );
        let closed: Listen = "127.0.0.1".parse().unwrap();
        assert_eq!(urls(closed, "gpu-1", 1), ["http://127.0.0.1:1"]);
    }

    #[test]
    fn an_agent_that_is_connected_is_not_called_unclaimed() {
        let info = |cloud_enabled, agent_claimed, aclk_available| Info {
            cloud_enabled,
            agent_claimed,
            aclk_available,
            ..Info::default()
        };
        assert_eq!(cloud(&info(true, true, true)), "connected");
        assert_eq!(cloud(&info(true, true, false)), "claimed, not connected");
        assert_eq!(cloud(&info(true, false, false)), "not claimed");
        assert_eq!(cloud(&info(false, false, false)), "off");
    }
}
