//! Sixteen servers with pages of 100 kB, each scraped every second, by the plugin alone: what a large machine costs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::instance::only;
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;

use crate::meter::{Group, Sample};

/// Replayed servers.
const SERVERS: usize = 16;
/// Percent of one core that the plugin may use.
const CPU_PCT: f64 = 2.0;
/// MiB that it may ever have resident.
const PEAK_MIB: f64 = 25.0;
/// The capture with the longest page.
const CAPTURE: &str = "0.5.23";
/// Time for starts and buffers to grow.
const WARM_UP: Duration = Duration::from_secs(20);

/// What was measured.
pub struct Figures {
    cpu_pct: f64,
    peak_mib: f64,
    scrapes_a_second: f64,
}

/// The plugin. It ends with this.
struct Plugin(Child);

impl Plugin {
    fn start(place: &Place, conf: &Path) -> anyhow::Result<Self> {
        let program = place.dist.join("lib/netdata-launcher/rs.d.plugin");
        let mut command: Command = place.command(program);
        let child = command
            .env("NETDATA_VERSION", "v1.37.1")
            .arg("--config-dir")
            .arg(conf)
            .arg("1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the servers and measures the plugin for so many seconds.
pub fn measure(place: &Place, seconds: u64) -> anyhow::Result<Figures> {
    let options = "--growth 4 --gauges swing --scheduler-cpu 0";
    let options: Vec<_> = options.split(' ').collect();
    let servers = (0..SERVERS)
        .map(|_| Server::start(place, CAPTURE, &options))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let conf = place.dir.join("sixteen");
    place.make_dir(&conf.join("rs.d"))?;
    // Not what else is on this machine.
    let own = only(&servers.iter().collect::<Vec<_>>());
    place.write(&conf.join("rs.d/servers.conf"), &own)?;
    let every = format!("{own}update_every: 1\n");
    place.write(&conf.join("rs.d/sglang.conf"), &every)?;
    let plugin = Plugin::start(place, &conf)?;
    wait_for("scrapes of every server", Duration::from_secs(60), || {
        for server in &servers {
            ensure!(scrapes(server)? > 2, "port {} is not scraped", server.port);
        }
        Ok(())
    })?;
    std::thread::sleep(WARM_UP);
    let group = Group::of("sixteen", vec![plugin.0.id().cast_signed()]);
    let all = || servers.iter().map(scrapes).sum::<anyhow::Result<u64>>();
    let (before, scraped) = (Sample::take([&group])?, all()?);
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, scraped) = (Sample::take([&group])?, all()? - scraped);
    let took = after.seconds_since(&before);
    let (before, after) = (&before.groups["sixteen"], &after.groups["sixteen"]);
    Ok(Figures {
        cpu_pct: 100.0 * (after.cpu_s - before.cpu_s) / took,
        peak_mib: after.peak_mib,
        scrapes_a_second: scraped as f64 / took,
    })
}

fn scrapes(server: &Server) -> anyhow::Result<u64> {
    let requests = server.requests()?;
    let metrics = requests["/metrics"].as_u64();
    metrics.with_context(|| format!("no count of scrapes: {requests}"))
}

impl Figures {
    /// A server that takes long to answer is scraped less often: what one scrape a second would cost.
    fn cpu_pct_in_full(&self) -> f64 {
        self.cpu_pct * (SERVERS as f64 / self.scrapes_a_second).max(1.0)
    }

    /// Prints them.
    pub fn print(&self) {
        println!(
            "{SERVERS} servers: {:.2} % of a core at {:.1} scrapes a second ({:.2} % at {SERVERS}), {:.1} MiB at most",
            self.cpu_pct,
            self.scrapes_a_second,
            self.cpu_pct_in_full(),
            self.peak_mib
        );
    }

    /// Fails with a limit that was missed.
    pub fn judge(&self) -> anyhow::Result<()> {
        let cpu = self.cpu_pct_in_full();
        ensure!(
            cpu <= CPU_PCT,
            "{SERVERS} servers: CPU {cpu:.2} %, above {CPU_PCT} % of a core"
        );
        ensure!(
            self.peak_mib <= PEAK_MIB,
            "{SERVERS} servers: {:.1} MiB, above {PEAK_MIB}",
            self.peak_mib
        );
        Ok(())
    }
}
