//! The NVIDIA driver, outside and inside the image.

use std::fs::{self, File};
use std::process::Command;
use std::time::Duration;

use super::{Check, Finding, Machine};
use crate::ask::{Answer, ask};
use crate::container::PLUGIN_INSIDE;

/// Initialising NVML takes 1 to 3 s without its persistence daemon, on each GPU.
const READING: Duration = Duration::from_secs(40);
const LIBRARY: &str = "libnvidia-ml.so.1";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "driver",
        what: "the NVIDIA driver",
        run: driver,
    },
    Check {
        id: "devices",
        what: "its devices may be opened",
        run: devices,
    },
    Check {
        id: "library",
        what: "its management library",
        run: library,
    },
    Check {
        id: "gpus",
        what: "GPUs can be read inside the image",
        run: gpus,
    },
    Check {
        id: "compute-mode",
        what: "processes may share a GPU (compute mode)",
        run: compute_mode,
    },
    Check {
        id: "mps",
        what: "CUDA's multi-process service",
        run: mps,
    },
];

/// The driver's version, from its first line.
fn version(machine: &Machine) -> Option<String> {
    let text = fs::read_to_string(machine.proc.path("driver/nvidia/version")).ok()?;
    let line = text.lines().next()?;
    let is_version =
        |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    line.split_whitespace().find(is_version).map(str::to_owned)
}

fn driver(machine: &Machine) -> Finding {
    match version(machine) {
        Some(version) => Finding::pass(version),
        None => Finding::skip("none is loaded: no GPU is charted"),
    }
}

fn devices(machine: &Machine) -> Finding {
    if version(machine).is_none() {
        return Finding::skip("no driver");
    }
    for device in ["/dev/nvidiactl", "/dev/nvidia0"] {
        if let Err(error) = File::options().read(true).write(true).open(device) {
            return Finding::fail(
                format!("{device}: {error}"),
                "ask for access (often the group video or render, or a job of the scheduler)",
            );
        }
    }
    Finding::pass("yes")
}

fn library(machine: &Machine) -> Finding {
    if let Some(library) = machine
        .settings
        .as_ref()
        .and_then(|s| s.nvml_library.clone())
    {
        return Finding::pass(format!("{} (from the settings)", library.display()));
    }
    if version(machine).is_none() {
        return Finding::skip("no driver");
    }
    let ldconfig = ["/sbin/ldconfig", "/usr/sbin/ldconfig"]
        .into_iter()
        .find(|program| fs::exists(program).unwrap_or(false));
    let Some(ldconfig) = ldconfig else {
        return Finding::skip("ldconfig is not here");
    };
    let mut command = Command::new(ldconfig);
    command.arg("-p");
    let answer = ask(command, Duration::from_secs(10));
    let text = answer.map(|answer| answer.text).unwrap_or_default();
    match text.lines().find(|line| line.contains(LIBRARY)) {
        Some(line) => Finding::pass(line.rsplit("=> ").next().unwrap_or(LIBRARY)),
        None => Finding::fail(
            format!("{LIBRARY} is not in the linker's cache"),
            "the runtime finds it there: an administrator has to run ldconfig; or name it with --nvml-library",
        ),
    }
}

/// What one reading of all GPUs inside the image says. Error: why there is none to look at.
fn reading(machine: &Machine) -> Result<Option<&Answer>, Finding> {
    let Some((runtime, container)) = machine.container() else {
        return Err(Finding::skip("no image yet, or no runtime"));
    };
    if !container.nvidia && container.library.is_none() {
        return Err(Finding::skip("no driver"));
    }
    let read = || {
        let argv = [PLUGIN_INSIDE, "--once", "-m", "nvidia"];
        ask(runtime.exec(container, &argv), READING)
    };
    Ok(machine.gpus.get_or_init(read).as_ref())
}

fn gpus(machine: &Machine) -> Finding {
    let answer = match reading(machine) {
        Ok(answer) => answer,
        Err(finding) => return finding,
    };
    let Some(answer) = answer else {
        return Finding::fail(
            format!("no answer within {} s", READING.as_secs()),
            "the driver hangs: nvidia-smi will too; look for NVRM in the kernel's log",
        );
    };
    let count = answer
        .text
        .lines()
        .filter(|line| line.starts_with("CHART ") && line.contains("nvidia_smi.gpu_utilization"))
        .count();
    if count > 0 {
        return Finding::pass(format!("{count}"));
    }
    let reason = answer
        .text
        .lines()
        .rev()
        .find(|line| line.contains("nvidia"));
    Finding::fail(
        reason.unwrap_or("none was found"),
        "try nvidia-smi; where that works, launcher logs --plugin has more",
    )
}

fn compute_mode(machine: &Machine) -> Finding {
    match reading(machine) {
        Err(finding) => finding,
        Ok(None) => Finding::skip("the driver does not answer"),
        Ok(Some(answer)) => of_modes(&modes(&answer.text)),
    }
}

/// The compute mode of each GPU, as the plugin's charts of it say.
fn modes(text: &str) -> Vec<&str> {
    let mut modes = vec![];
    let mut inside = false;
    for line in text.lines() {
        if let Some(id) = line.strip_prefix("BEGIN ") {
            inside = id
                .split_whitespace()
                .next()
                .is_some_and(|id| id.ends_with("_compute_mode"));
        } else if let (true, Some(dim)) = (inside, line.strip_suffix("' = 1")) {
            modes.extend(dim.strip_prefix("SET '"));
        }
    }
    modes
}

fn of_modes(modes: &[&str]) -> Finding {
    let other = modes.iter().find(|mode| **mode != "default");
    match other {
        _ if modes.is_empty() => Finding::skip("no GPU tells its mode"),
        None => Finding::pass(format!("all {}", modes.len())),
        Some(mode) => Finding::warn(
            format!("a GPU is in mode {mode}"),
            "a second server on it will not start, or none at all; an administrator sets it: nvidia-smi -c DEFAULT",
        ),
    }
}

fn mps(machine: &Machine) -> Finding {
    let runs = machine
        .proc
        .all()
        .into_iter()
        .any(|process| process.comm.starts_with("nvidia-cuda-mps"));
    if runs {
        return Finding::warn(
            "it runs",
            "the driver may show its server in place of its clients: use of a GPU by process is an estimate",
        );
    }
    Finding::pass("not running")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_mode_of_each_gpu_is_read_from_its_chart() {
        let of = |mode: &str| {
            format!(
                "BEGIN nvidia.gpu_a_gpu_state\nSET 'ok' = 1\nEND\n\
                 BEGIN nvidia.gpu_a_compute_mode 1000\nSET 'default' = 0\nSET '{mode}' = 1\nEND\n"
            )
        };
        let text = of("prohibited") + "time=1 level=info\n" + &of("exclusive_process");
        assert_eq!(modes(&text), ["prohibited", "exclusive_process"]);
        assert_eq!(of_modes(&modes(&text)).level, Level::Warn);
        assert_eq!(of_modes(&["default"]).level, Level::Pass);
        assert_eq!(of_modes(&[]).level, Level::Skip);
    }
}
