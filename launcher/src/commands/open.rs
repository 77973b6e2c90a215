//! `open`: the dashboard in a browser where there is a desktop, else how to reach it.

use std::env;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Result, bail};

use super::Scene;
use crate::instance::State;
use crate::report;
use crate::runtime::find_on;
use crate::settings::Listen;

/// Opens what the desktop has for it.
const OPENER: &str = "xdg-open";

pub(super) fn run(scene: &Scene) -> Result<ExitCode> {
    let State::Running(record) = scene.instance.state()? else {
        bail!("Netdata is not running: launcher start");
    };
    let listen: Listen = record.listen.parse().unwrap_or(Listen::All);
    let urls = report::urls(listen, &scene.host, record.port);
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    let opener = find_on(&env::var_os("PATH").unwrap_or_default(), OPENER);
    if let (true, Some(opener)) = (desktop, opener) {
        let opened = Command::new(opener)
            .arg(&urls[0])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if opened.is_ok_and(|status| status.success()) {
            out!("{}", urls[0]);
            return Ok(ExitCode::SUCCESS);
        }
    }
    for line in urls
        .into_iter()
        .chain(report::reach(listen, &scene.host, record.port))
    {
        out!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}
