//! `status`: whether it runs, where its dashboard is, what it charts and what it costs.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Scene;
use crate::claim;
use crate::cli::StatusArgs;
use crate::instance::{Cause, Record, State};
use crate::interrupt;
use crate::mounts;
use crate::report::{self, Gpu, Report, Server, Usage};
use crate::settings::{DEFAULT_IMAGE, History, Listen};

/// Between two looks of `--watch`.
const AGAIN: Duration = Duration::from_secs(2);
/// Clears the terminal and goes to its first line.
const CLEAR: &[u8] = b"\x1b[H\x1b[2J";
/// In /proc, where the NVIDIA driver is loaded.
const DRIVER: &str = "driver/nvidia/version";
const MIB: f64 = 1024.0 * 1024.0;
const GIB: f64 = 1024.0 * MIB;

pub(super) fn run(scene: &Scene, args: &StatusArgs) -> Result<ExitCode> {
    if !args.watch {
        return look(scene, args.json);
    }
    interrupt::catch();
    loop {
        // Whoever read it may have gone.
        if io::stdout().write_all(CLEAR).is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        look(scene, false)?;
        let mut left = AGAIN;
        while !left.is_zero() {
            if interrupt::is_set() {
                return Ok(ExitCode::SUCCESS);
            }
            let nap = left.min(Duration::from_millis(100));
            thread::sleep(nap);
            left -= nap;
        }
    }
}

fn look(scene: &Scene, json: bool) -> Result<ExitCode> {
    let state = scene.instance.state()?;
    if json {
        return look_json(scene, &state);
    }
    let State::Running(record) = state else {
        out!("{}", not_running(scene, &state));
        return Ok(ExitCode::FAILURE);
    };
    let report = Report::of(&record, &scene.paths, &scene.proc, &scene.instance);
    if let Some(why) = &report.paused {
        out!("Netdata is {why} (pid {})", record.pid);
        return Ok(ExitCode::FAILURE);
    }
    let since = report
        .uptime_seconds
        .map_or(String::new(), |age| format!(" for {}", duration(age)));
    out!("Netdata has been running{since} (pid {})", record.pid);
    print(scene, &record, &report);
    Ok(ExitCode::SUCCESS)
}

/// One object; `state` is `running`, or why it is not.
fn look_json(scene: &Scene, state: &State) -> Result<ExitCode> {
    let (name, code) = match state {
        State::Running(_) => ("running", ExitCode::SUCCESS),
        State::Stopped => ("stopped", ExitCode::FAILURE),
        State::Crashed(..) => ("crashed", ExitCode::FAILURE),
        State::Gone(_, Cause::Ended) => ("ended", ExitCode::FAILURE),
        State::Gone(_, Cause::Rebooted) => ("rebooted", ExitCode::FAILURE),
        State::Gone(_, Cause::Unreadable) => ("unreadable_pid_file", ExitCode::FAILURE),
        State::Elsewhere(_) => ("elsewhere", ExitCode::FAILURE),
    };
    let mut object = serde_json::json!({
        "state": name,
        "home": scene.paths.home(),
        "state_dir": scene.paths.state(),
        "launcher_version": env!("CARGO_PKG_VERSION"),
    });
    let mut code = code;
    if let State::Running(record) = state {
        let report = Report::of(record, &scene.paths, &scene.proc, &scene.instance);
        if report.paused.is_some() {
            object["state"] = "paused".into();
            code = ExitCode::FAILURE;
        }
        let report = serde_json::to_value(&report).context("writing JSON")?;
        if let (Some(object), Some(report)) = (object.as_object_mut(), report.as_object()) {
            object.extend(report.clone());
        }
    }
    let json = serde_json::to_string_pretty(&object).context("writing JSON")?;
    out!("{json}");
    Ok(code)
}

fn not_running(scene: &Scene, state: &State) -> String {
    match state {
        State::Running(_) | State::Stopped => "Netdata is not running".to_owned(),
        State::Crashed(_, left) => format!(
            "Netdata has died and left {} processes: launcher stop ends them, launcher start too",
            left.len()
        ),
        State::Gone(_, Cause::Ended) => {
            "Netdata is not running: it ended by itself (launcher logs may say why)".to_owned()
        }
        State::Gone(_, Cause::Rebooted) => {
            "Netdata is not running: the machine was restarted since".to_owned()
        }
        State::Gone(_, Cause::Unreadable) => format!(
            "Netdata is not running: {} names no process",
            scene.instance.pid_file().display()
        ),
        State::Elsewhere(record) => format!(
            "Netdata is not running here: this home's was started on {}",
            record.host
        ),
    }
}

/// What there is to know of a running one, after a start.
pub(super) fn show(scene: &Scene, record: &Record) -> Result<ExitCode> {
    let report = Report::of(record, &scene.paths, &scene.proc, &scene.instance);
    if let Some(why) = &report.paused {
        out!("it is {why}");
        return Ok(ExitCode::FAILURE);
    }
    print(scene, record, &report);
    Ok(ExitCode::SUCCESS)
}

fn print(scene: &Scene, record: &Record, report: &Report) {
    let listen: Listen = record.listen.parse().unwrap_or(Listen::All);
    let history = scene.settings(&super::restart::remembered(scene)).ok();
    let history = history.map(|settings| settings.history);
    let logs = format!("{} (launcher logs -f)", scene.paths.log_file().display());
    for (name, lines) in [
        ("dashboard", report.urls.clone()),
        ("reachable", report::reach(listen, &scene.host, record.port)),
        ("charted", charted(report, scene.proc.path(DRIVER).exists())),
        ("alerts", alerts(report)),
        ("cloud", cloud(scene, report)),
        ("uses", usage(&report.usage, history)),
        ("netdata", vec![from_image(report)]),
        ("with", vec![versions(report)]),
        ("state", state(scene)),
        ("missing", report.missing.clone()),
        ("logs", vec![logs]),
    ] {
        for (number, line) in lines.iter().enumerate() {
            out!("  {:<10} {line}", if number == 0 { name } else { "" });
        }
    }
}

/// Whether it is connected and, where a token is set, what keeps it from that.
fn cloud(scene: &Scene, report: &Report) -> Vec<String> {
    let Some(state) = report.cloud else {
        return vec![];
    };
    let own = scene.paths.state_dir("config").join(claim::FILE);
    let token = own.exists() || scene.layers.get("NETDATA_CLAIM_TOKEN").is_some();
    let version = report.netdata_version.as_deref().unwrap_or_default();
    vec![match state {
        "off" | "not claimed" if token && !claim::is_read_by(version) => format!(
            "a token is set, but Netdata {version} cannot be claimed with it, 2.0 and later can: \
             launcher update --image {DEFAULT_IMAGE}"
        ),
        "not claimed" if token => "not claimed: launcher claim".to_owned(),
        _ => state.to_owned(),
    }]
}

/// Where it is, if not in the home.
fn state(scene: &Scene) -> Vec<String> {
    let (state, in_home) = (scene.paths.state(), scene.paths.state_in_home());
    let elsewhere = (state != in_home).then(|| {
        let home = mounts::file_system(&scene.proc, scene.paths.home());
        let why = home.filter(mounts::FileSystem::is_remote);
        let why = why.map_or(String::new(), |disk| {
            format!(" (the home is on {})", disk.kind)
        });
        format!("history and identity are in {}{why}", state.display())
    });
    elsewhere.into_iter().collect()
}

/// `driver`: whether one is loaded.
fn charted(report: &Report, driver: bool) -> Vec<String> {
    if let Some(error) = &report.api_error {
        return vec![format!("unknown: {error}")];
    }
    let mut lines = vec![];
    lines.extend(report.gpus.iter().map(gpu));
    if report.gpus.is_empty() {
        let what = match driver {
            true => "no GPU, although there is a driver: launcher doctor",
            false => "no NVIDIA GPU",
        };
        lines.push(what.to_owned());
    }
    lines.extend(report.servers.iter().map(server));
    if report.servers.is_empty() {
        lines.push("no SGLang server (one that starts is found by itself)".to_owned());
    }
    if let (Some(ours), Some(others)) = (report.charts, report.other_charts) {
        lines.push(format!("{ours} charts by rs.d, {others} of the system"));
    }
    lines
}

/// What is unknown is left out.
fn gpu(gpu: &Gpu) -> String {
    let memory = gpu
        .memory_used
        .zip(gpu.memory_free)
        .map(|(used, free)| format!("{:.1} of {:.1} GiB", used / GIB, (used + free) / GIB));
    let figures = [
        gpu.utilization.map(|value| format!("{value:.0} % busy")),
        memory,
        gpu.power.map(|value| format!("{value:.0} W")),
        gpu.temperature.map(|value| format!("{value:.0} °C")),
        gpu.state.clone().filter(|state| state != "ok"),
    ];
    line(&format!("GPU {} {}", gpu.index, gpu.product), figures)
}

fn server(server: &Server) -> String {
    let figures = [
        server.state.clone(),
        server.running.map(|value| format!("{value:.0} running")),
        server.queued.map(|value| format!("{value:.0} queued")),
        server.decode.map(|value| format!("{value:.0} tokens/s")),
        server.kv_cache.map(|value| format!("KV {value:.0} %")),
    ];
    let model = server.model.as_deref().unwrap_or("SGLang");
    line(&format!("{model} ({})", server.server), figures)
}

fn line<const N: usize>(name: &str, figures: [Option<String>; N]) -> String {
    let figures: Vec<String> = figures.into_iter().flatten().collect();
    if figures.is_empty() {
        return name.to_owned();
    }
    format!("{name}: {}", figures.join(", "))
}

fn alerts(report: &Report) -> Vec<String> {
    match report.alerts.as_deref() {
        None => vec![],
        Some([]) => vec!["none raised".to_owned()],
        Some(raised) => raised
            .iter()
            .map(|alert| format!("{}: {} ({})", alert.status, alert.name, alert.chart))
            .map(|text| text.chars().filter(|c| !c.is_control()).collect())
            .collect(),
    }
}

fn usage(usage: &Usage, history: Option<History>) -> Vec<String> {
    let cpu = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} %"));
    let plugin = usage.plugin_memory_bytes.map_or(String::new(), |bytes| {
        let cpu = cpu(usage.plugin_cpu_percent);
        format!(" (the plugin {cpu} and {:.0} MiB)", bytes as f64 / MIB)
    });
    let mut lines = vec![format!(
        "{} of one core and {:.0} MiB of memory{plugin}, {:.0} MiB of disk",
        cpu(usage.cpu_percent),
        usage.memory_bytes as f64 / MIB,
        usage.disk_bytes as f64 / MIB,
    )];
    if let (Some(a_day), Some(history)) = (usage.history_bytes_a_day, history) {
        let fit = f64::from(history.mib) * MIB / a_day.max(1.0);
        let days = history.days.map_or(fit, |days| fit.min(days.into()));
        lines.push(format!(
            "history: {:.0} MiB a day, {days:.0} days at this rate",
            a_day / MIB
        ));
    }
    lines
}

/// The version that runs, and the image it is from.
fn from_image(report: &Report) -> String {
    let version = report
        .netdata_version
        .as_deref()
        .unwrap_or("version unknown");
    let made_from = report.image_record.as_ref().map_or(String::new(), |image| {
        format!(" ({} from {})", image.name(), image.source)
    });
    format!("{version}, image {}{made_from}", report.image.display())
}

fn versions(report: &Report) -> String {
    let launcher = concat!("launcher ", env!("CARGO_PKG_VERSION"));
    let known = report.versions.shown();
    let parts = [known.as_str(), launcher];
    let known: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    known.join(", ")
}

/// In its two largest units.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86400, seconds % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_of_a_gpu_is_left_out() {
        let known = Gpu {
            index: "0".to_owned(),
            product: "H200".to_owned(),
            utilization: Some(87.0),
            state: Some("ok".to_owned()),
            ..Gpu::default()
        };
        assert_eq!(gpu(&known), "GPU 0 H200: 87 % busy");
        let lost = Gpu {
            state: Some("lost".to_owned()),
            utilization: None,
            ..known
        };
        assert_eq!(gpu(&lost), "GPU 0 H200: lost");
    }

    #[test]
    fn an_alerts_name_cannot_move_the_cursor() {
        let report = Report {
            alerts: Some(vec![crate::api::Alert {
                name: "a\u{1b}[2J".to_owned(),
                ..Default::default()
            }]),
            ..Report::default()
        };
        assert!(!alerts(&report)[0].contains('\u{1b}'));
    }

    #[test]
    fn the_days_that_fit_are_those_of_the_limit_met_first() {
        let used = Usage {
            history_bytes_a_day: Some(64.0 * MIB),
            ..Usage::default()
        };
        let limit = |days| Some(History { mib: 2048, days });
        assert!(usage(&used, limit(None))[1].contains("32 days"));
        assert!(usage(&used, limit(Some(7)))[1].contains("7 days"));
        assert_eq!(usage(&Usage::default(), limit(None)).len(), 1);
    }

    #[test]
    fn a_duration_has_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
