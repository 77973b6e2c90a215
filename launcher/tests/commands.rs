//! The commands as a user sees them, with a stand-in for the container runtime: codes, messages, and
//! what is left behind.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, RUNS, STAYS, said};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that is its own session, with its start in ticks.
fn bystander() -> (Child, String) {
    let mut command = Command::new("sleep");
    command.arg("1000");
    // SAFETY: setsid is async-signal-safe.
    unsafe { command.pre_exec(|| Ok(nix::unistd::setsid().map(drop)?)) };
    let child = command.spawn().unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1;
    let ticks = fields.split(' ').nth(19).unwrap().to_owned();
    (child, ticks)
}

#[test]
fn singularity_alone_is_enough() {
    let lab = Lab::answering();
    lab.settings();
    // A PATH with everything but the other one.
    fs::create_dir(lab.path("tools")).unwrap();
    for entry in fs::read_dir("/usr/bin").unwrap().flatten() {
        if entry.file_name() != "apptainer" && entry.file_name() != "singularity" {
            std::os::unix::fs::symlink(entry.path(), lab.path("tools").join(entry.file_name()))
                .unwrap();
        }
    }
    fs::rename(lab.path("bin/apptainer"), lab.path("tools/singularity")).unwrap();
    let run = |words: &[&str]| {
        let mut command = lab.command(words);
        said(&command.env("PATH", lab.path("tools")).output().unwrap())
    };
    let (code, text) = run(&["start"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("singularity version 1.2.3, launcher "),
        "{text}"
    );
    let (_, text) = run(&["doctor"]);
    assert!(
        text.contains("Apptainer or Singularity: singularity version 1.2.3"),
        "{text}"
    );
    assert_eq!(run(&["stop"]).0, Some(0));
}

#[test]
fn a_setting_that_cannot_be_used_is_wrong_usage() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, text) = lab.run(&["start", "--port", "http"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--port=http: not a port"), "{text}");
}

#[test]
fn a_home_that_was_never_made_is_stopped_and_stays_unmade() {
    let lab = Lab::new(RUNS, STAYS);
    let stopped = (Some(0), "Netdata is not running\n".to_owned());
    assert_eq!(lab.run(&["stop"]), stopped);
    assert_eq!(lab.run(&["status"]), (Some(1), stopped.1));
    assert!(!lab.path("home").exists());
}

#[test]
fn settings_that_others_can_write_stop_every_command() {
    let lab = Lab::new(RUNS, STAYS);
    fs::create_dir(lab.path("home")).unwrap();
    fs::write(lab.path("home/.env"), "LAUNCHER_PORT=1\n").unwrap();
    fs::set_permissions(lab.path("home/.env"), Permissions::from_mode(0o666)).unwrap();
    for verb in ["start", "stop", "status", "logs", "pull", "restart"] {
        let (code, text) = lab.run(&[verb]);
        assert_eq!(code, Some(1), "{verb}: {text}");
        assert!(text.contains("chmod 600"), "{verb}: {text}");
    }
}

#[test]
fn a_failed_pull_says_why_and_what_else_to_do_and_leaves_nothing() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, text) = lab.run(&["pull"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is this machine offline?"), "{text}");
    assert!(text.contains("launcher pull --image debian"), "{text}");
    assert!(!lab.path("home/.pull").exists() && !lab.path("home/netdata.sif").exists());
}

#[test]
fn a_finished_image_is_copied_into_the_home() {
    let lab = Lab::new(RUNS, STAYS);
    let image = lab.path("image.sif");
    let (code, text) = lab.run(&["pull", "--image", image.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        fs::read(image).unwrap(),
        fs::read(lab.path("home/netdata.sif")).unwrap()
    );
}

#[test]
fn a_plugin_that_does_not_run_in_the_image_is_told_before_anything_starts() {
    let lab = Lab::new(
        "echo 'INFO: fuse2fs'; echo GLIBC_2.99 not found >&2; exit 1",
        "touch $0.ran",
    );
    let (code, text) = said(&lab.start(&[]).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("GLIBC_2.99 not found"), "{text}");
    assert!(!text.contains("unpacking"), "{text}");
    assert!(!lab.path("bin/apptainer.ran").exists());
}

#[test]
fn a_netdata_that_dies_is_told_with_its_reason() {
    let lab = Lab::new(RUNS, "echo 'FATAL:   boom' >&2; exit 1");
    let (code, text) = said(&lab.start(&[]).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("FATAL:   boom"), "{text}");
    assert!(!lab.path("home/netdata.pid").exists());
}

#[test]
fn a_port_refused_to_netdata_itself_is_named() {
    let lab = Lab::new(
        RUNS,
        "echo 'LISTENER: Cannot bind to ip' >&2; sleep 0.2; exit 1",
    );
    let (code, text) = said(&lab.start(&[]).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is already used"), "{text}");
}

#[test]
fn a_start_that_charts_nothing_ends_what_it_started() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, text) = said(&lab.start(&["--timeout", "1"]).output().unwrap());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no chart of the plugin after 1 s"), "{text}");
    assert_eq!(lab.run(&["status"]).0, Some(1));
}

#[test]
fn an_interrupted_start_ends_what_it_started() {
    let lab = Lab::new(RUNS, STAYS);
    let mut command = lab.start(&[]);
    let mut child = command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid_file = lab.path("home/netdata.pid");
    let deadline = Instant::now() + Duration::from_secs(120);
    let text = loop {
        match fs::read_to_string(&pid_file) {
            Ok(text) => break text,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let session: i32 = text.lines().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(said.ends_with("error: interrupted\n"), "{said}");
    assert!(!pid_file.exists());
    assert!(
        fs::read_to_string(format!("/proc/{session}/stat")).map_or(true, |s| s.contains(") Z "))
    );
}

#[test]
fn a_restart_that_cannot_succeed_stops_nothing() {
    let lab = Lab::new("exit 1", STAYS);
    let (mut running, ticks) = bystander();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    let record = format!(
        "{}\nstart_ticks={ticks}\nboot_id={}\nhost=h\nlisten=127.0.0.1\nport=1\nimage=/x\n",
        running.id(),
        boot.trim()
    );
    fs::write(lab.path("home/netdata.pid"), record).unwrap();
    let image = lab.path("image.sif").display().to_string();
    let (code, text) = lab.run(&["restart", "--image", &image]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        running.try_wait().unwrap().is_none(),
        "it was stopped: {text}"
    );
    let (code, text) = lab.run(&["stop"]);
    assert_eq!(code, Some(0), "{text}");
    running.wait().unwrap();
}
