//! Processes that try to speak to the agent through what they say of themselves: titles, arguments, a model's
//! name, labels, names of metrics and their HELP. Whoever shares the machine can start such a process.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::api::Api;
use harness::instance::Instance;
use harness::place::Place;
use harness::server::Server;
use harness::wait_for;

/// What the agent would obey, were it a line of its own. The backslash hides a closing quote.
const INJECTED: &str = "x'\nDISABLE\r\nFUNCTION GLOBAL \"evil\" 10 \"h\"\nBEGIN system.cpu\nSET user = 1\nEND\nHOST \\";
/// Seconds over which no chart may have a gap.
const WITHOUT_GAP: u64 = 40;
/// What the agent logs when a plugin's line displeases it, whosesoever line it is.
const COMPLAINTS: &[&str] = &[
    "DISABLE",
    "disabling",
    "disabled by",
    "unknown command",
    "evil",
    "parse error",
    "PARSER",
];

/// The others' charts have no gap, the hostile ones are charted under cleaned names, and the log is calm.
pub fn injects_nothing(place: &Place) -> anyhow::Result<()> {
    let friendly = Server::start(place, "0.5.23", &["--growth", "4"])?;
    let capture = spoilt_capture(place)?;
    let capture = capture.to_str().context("a path that is no text")?;
    let hostile = Server::start(place, capture, &["--growth", "4", "--model", INJECTED])?;
    let _titled = Titled::start(place)?;
    let library = place.dist.join("simulated/libnvidia-ml.so.1");
    let library = library.to_str().context("a path that is no text")?;
    let instance = Instance::new(place, "hostile", &["--nvml-library", library])?;
    instance.sees(&[&friendly, &hostile])?;
    instance.start()?;
    let api = instance.api();
    let theirs = format!("sglang_{}.token_throughput", hostile.port);
    let ours = format!("sglang_{}.token_throughput", friendly.port);
    wait_for("charts of both servers", Duration::from_secs(60), || {
        for id in [&theirs, &ours] {
            let decode = api.series(id, 10)?.values("decode")?;
            ensure!(!decode.is_empty(), "{id} has no values");
        }
        Ok(())
    })?;
    std::thread::sleep(Duration::from_secs(WITHOUT_GAP + 5));

    // A busy machine stretches the interval of scrapes; the jobs' own charts say every second how they fare.
    for port in [friendly.port, hostile.port] {
        let jobs = api.ids_of("netdata.rs_d_job_status")?;
        let of_it = |id: &&String| id.contains(&format!("_{port}_"));
        let job = jobs.iter().find(of_it);
        let job = job.with_context(|| format!("no job for port {port} in {jobs:?}"))?;
        let ok = api.series(job, 20)?.values("ok")?;
        ensure!(ok.last() == Some(&1.0), "{job} is not well: {ok:?}");
    }
    for id in api.ids_of("nvidia_smi.gpu_power_draw")? {
        has_no_gap(&api, &id, "power_draw")?;
    }
    has_no_gap(&api, "netdata.rs_d_plugin_resources_memory", "rss")?;
    let charts = api.charts()?;
    ensure!(
        charts.contains_key("system.cpu"),
        "the agent's own charts are gone"
    );
    let ours = charts
        .values()
        .filter(|chart| chart["plugin"] == "rs.d")
        .count();
    ensure!(ours > 100, "only {ours} charts of rs.d");
    let logs = instance.logs();
    let complaints: Vec<_> = logs
        .lines()
        .filter(|line| line.contains("rs.d") && COMPLAINTS.iter().any(|word| line.contains(word)))
        // What our own plugin logs quotes a name on one line, and is no complaint.
        .filter(|line| !line.contains("plugin=rs.d"))
        .collect();
    ensure!(
        complaints.is_empty(),
        "the agent complains:\n{complaints:#?}"
    );
    instance.stop()?;
    Ok(())
}

/// Every one of the last seconds has a value; the newest may be under way.
fn has_no_gap(api: &Api, id: &str, dim: &str) -> anyhow::Result<()> {
    let points = api.series(id, WITHOUT_GAP)?.dim(dim)?;
    let settled = points.len().saturating_sub(2);
    let least = WITHOUT_GAP as usize - 3;
    ensure!(settled >= least, "{id} {dim}: only {} points", points.len());
    let gaps = points[..settled]
        .iter()
        .filter(|(_, value)| value.is_none())
        .count();
    ensure!(gaps == 0, "{id} {dim} has {gaps} gaps: {points:?}");
    Ok(())
}

/// The capture with families whose HELP, names and labels are hostile.
fn spoilt_capture(place: &Place) -> anyhow::Result<PathBuf> {
    let (from, to) = (
        place.captures.join("0.5.23"),
        place.dir.join("hostile-capture"),
    );
    place.make_dir(&to)?;
    for entry in std::fs::read_dir(&from)? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        if entry.file_name().to_string_lossy().starts_with("metrics_") {
            place.write(&path, &spoilt(&entry.path())?)?;
        } else {
            std::fs::copy(entry.path(), path)?;
        }
    }
    Ok(to)
}

fn spoilt(page: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(page)?;
    let evil = r#"x'\nDISABLE\nBEGIN system.cpu\nEND \\"#;
    let text = text.replace(
        "engine_type=\"unified\"",
        &format!("engine_type=\"{evil}\""),
    );
    Ok(format!(
        "{text}# HELP sglang:DISABLE x' \\n DISABLE \\\\\n# TYPE sglang:DISABLE gauge\n\
         sglang:DISABLE{{engine_type=\"{evil}\",model_name=\"{evil}\"}} 1.0\n\
         # HELP sglang:BEGIN \"\n# TYPE sglang:BEGIN gauge\nsglang:BEGIN{{a=\"{evil}\"}} NaN\n"
    ))
}

/// A process whose title is a scheduler's and more, which the simulated GPU finds by it.
struct Titled(Child);

impl Titled {
    fn start(place: &Place) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let child = place
            .command("/bin/sleep")
            .arg0(format!("sglang::scheduler_TP0_{INJECTED}"))
            .arg("600")
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start a titled process")?;
        Ok(Self(child))
    }
}

impl Drop for Titled {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
