//! What does the same work today, run as its documentation says.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::api::Api;
use harness::place::{Place, free_port};
use harness::wait_for;
use serde_json::Value;

/// Python and Go start slowly on a busy machine.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// nvitop's exporter, which reads the GPUs every second.
pub struct NvitopExporter(Program);

impl NvitopExporter {
    /// Starts it on the GPUs of `scenario`.
    pub fn start(place: &Place, scenario: &Path) -> anyhow::Result<Self> {
        let program = place.python.with_file_name("nvitop-exporter");
        ensure!(
            program.exists(),
            "{} is missing; `make bench` makes it",
            program.display()
        );
        let port = free_port()?;
        let child = place
            .command(&program)
            .env("FAKE_NVML_SCENARIO", scenario)
            .env("LD_LIBRARY_PATH", place.dist.join("simulated"))
            .args([
                "--bind-address",
                "127.0.0.1",
                "--interval",
                "1",
                "--port",
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self(Program { child, port }))
    }

    /// Fails unless it tells of `count` GPUs.
    pub fn sees(&self, count: usize) -> anyhow::Result<()> {
        wait_for("nvitop-exporter", STARTS_WITHIN, || {
            let page = Api::on(self.0.port).text("/metrics")?;
            let utilisations = page
                .lines()
                .filter(|line| line.starts_with("gpu_utilization_"))
                .count();
            ensure!(utilisations == count, "it tells of {utilisations} GPUs");
            Ok(())
        })
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }
}

/// Prometheus, which scrapes the servers every second.
pub struct Prometheus(Program);

impl Prometheus {
    /// Starts it on `targets` of loopback.
    pub fn start(place: &Place, targets: &[u16]) -> anyhow::Result<Self> {
        let program = PathBuf::from(
            std::env::var_os("BENCH_PROMETHEUS")
                .context("BENCH_PROMETHEUS does not name Prometheus; run this with `make bench`")?,
        );
        let dir = place.dir.join("prometheus");
        place.make_dir(&dir)?;
        let targets: Vec<_> = targets
            .iter()
            .map(|port| format!("'127.0.0.1:{port}'"))
            .collect();
        let config = dir.join("prometheus.yml");
        place.write(
            &config,
            &format!(
                "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: sglang\n    \
                 static_configs: [{{targets: [{}]}}]\n",
                targets.join(", ")
            ),
        )?;
        let port = free_port()?;
        let child = place
            .command(&program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                dir.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| program.display().to_string())?;
        Ok(Self(Program { child, port }))
    }

    /// Fails unless `count` targets are up.
    pub fn sees(&self, count: usize) -> anyhow::Result<()> {
        wait_for("Prometheus", STARTS_WITHIN, || {
            let answer = Api::on(self.0.port).json("/api/v1/targets")?;
            let targets = answer["data"]["activeTargets"]
                .as_array()
                .map(Vec::as_slice);
            let up = |target: &&Value| target["health"] == "up";
            let up = targets.unwrap_or_default().iter().filter(up).count();
            ensure!(up == count, "{up} targets are up");
            Ok(())
        })
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.0.pid()
    }
}

struct Program {
    child: Child,
    port: u16,
}

impl Program {
    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
