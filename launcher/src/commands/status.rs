//! `status`: whether it runs, where its dashboard is and what it charts.

use std::process::ExitCode;

use anyhow::Result;

use super::{Scene, start};
use crate::api::{Api, Listing};
use crate::charted::Charted;
use crate::cli::StatusArgs;
use crate::image::ImageRecord;
use crate::instance::{Cause, Record, State};
use crate::paths::Paths;
use crate::settings::Listen;

pub(super) fn run(scene: &Scene, _args: &StatusArgs) -> Result<ExitCode> {
    let said = match scene.instance.state()? {
        State::Running(record) => {
            let age = scene
                .proc
                .get(record.pid)
                .and_then(|p| scene.proc.age_seconds(&p));
            let since = age.map_or(String::new(), |age| format!(" for {}", duration(age)));
            out!("Netdata has been running{since} (pid {})", record.pid);
            return show(scene, &record);
        }
        State::Stopped => "Netdata is not running".to_owned(),
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
        State::Gone(_, Cause::Unreadable) => {
            format!(
                "Netdata is not running: {} names no process",
                scene.instance.pid_file().display()
            )
        }
        State::Elsewhere(record) => {
            format!(
                "Netdata is not running here: this home's was started on {}",
                record.host
            )
        }
    };
    out!("{said}");
    Ok(ExitCode::FAILURE)
}

/// What there is to know of a running one.
pub(super) fn show(scene: &Scene, record: &Record) -> Result<ExitCode> {
    let listen: Listen = record.listen.parse().unwrap_or(Listen::All);
    let (version, charted) = charted(listen, record.port);
    for (name, lines) in [
        ("dashboard", urls(listen, &scene.host, record.port)),
        ("reachable", start::reach(listen, &scene.host, record.port)),
        ("charted", charted),
        ("netdata", vec![from_image(&version, record, &scene.paths)]),
        (
            "logs",
            vec![format!(
                "{} (launcher logs -f)",
                scene.paths.log_file().display()
            )],
        ),
    ] {
        for (number, line) in lines.iter().enumerate() {
            out!("  {:<10} {line}", if number == 0 { name } else { "" });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The version that runs, and the image it is from.
fn from_image(version: &str, record: &Record, paths: &Paths) -> String {
    let made_from = ImageRecord::load(paths)
        .filter(|_| record.image == paths.image())
        .map_or(String::new(), |image| {
            format!(" (made from {})", image.source)
        });
    format!("{version}, image {}{made_from}", record.image.display())
}

pub(super) fn urls(listen: Listen, host: &str, port: u16) -> Vec<String> {
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

/// The agent's version, and lines about its charts.
fn charted(listen: Listen, port: u16) -> (String, Vec<String>) {
    match Api::new(listen.local(), port).charts() {
        Ok(Listing { version, charts }) => {
            let charted = Charted::of(&charts);
            let mut lines = charted.lines();
            let others = charts.len() - charted.charts;
            lines.push(format!(
                "{} charts by rs.d, {others} of the system",
                charted.charts
            ));
            let plain = version.chars().filter(|c| !c.is_control()).take(40);
            (plain.collect(), lines)
        }
        Err(error) => {
            let line = format!("unknown, Netdata does not answer: {error:#}");
            ("version unknown".to_owned(), vec![line])
        }
    }
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
    fn the_url_is_given_for_this_machine_and_for_others_where_they_reach_it() {
        assert_eq!(
            urls(Listen::All, "gpu-1", 1),
            ["http://127.0.0.1:1", "http://gpu-1:1"]
        );
        assert_eq!(urls("::1".parse().unwrap(), "gpu-1", 1), ["http://[::1]:1"]);
    }

    #[test]
    fn a_duration_has_two_units() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
