//! `service`, with stand-ins for systemctl, crontab and the container runtime.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::{Lab, said};

/// Keeps a crontab in a file, as cron does.
const CRONTAB: &str = "f=\"$HOME/crontab\"\n\
    case \"$1\" in -l) cat \"$f\" 2>/dev/null || exit 1;; -) cat > \"$f\";; esac";

#[test]
fn a_unit_is_installed_that_systemd_accepts_and_whose_commands_run() {
    let lab = Lab::answering();
    lab.program("bin/systemctl", "echo \"$*\" >> \"$HOME/systemctl.log\"");
    let run = |words: &[&str]| {
        let mut command = lab.command(words);
        said(
            &command
                .env("XDG_RUNTIME_DIR", lab.path("user"))
                .output()
                .unwrap(),
        )
    };
    let (code, text) = run(&["service", "status"]);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = run(&["service", "install"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("loginctl enable-linger"), "{text}");
    let calls = fs::read_to_string(lab.path("user/systemctl.log")).unwrap();
    assert!(
        calls.contains("--user enable --now netdata-launcher-home-"),
        "{calls}"
    );
    let units = lab.path("user/.config/systemd/user");
    let unit = fs::read_dir(&units)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    verify(&unit);
    // What it would run, said to a shell instead.
    let text = fs::read_to_string(&unit).unwrap();
    let line = |key: &str| {
        let mut lines = text.lines();
        lines
            .find_map(|line| line.strip_prefix(key))
            .unwrap()
            .to_owned()
    };
    assert!(line("ExecStart=").ends_with(" start --keep"), "{text}");
    lab.settings();
    // The runtime is where only the unit says.
    let path = line("Environment=\"PATH=");
    let start = format!("export PATH=\"{path}; exec {}", line("ExecStart="));
    let mut service = shell(&lab, &start).spawn().unwrap();
    until("it runs", || lab.run(&["status"]).0 == Some(0));
    assert!(service.try_wait().unwrap().is_none(), "it does not stay");
    let stop = shell(&lab, &line("ExecStop=")).output().unwrap();
    assert!(stop.status.success(), "{stop:?}");
    assert!(service.wait().unwrap().success());
    assert_eq!(lab.run(&["status"]).0, Some(1));
    assert_eq!(run(&["service", "status"]).0, Some(0));
    let (code, text) = run(&["service", "remove"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!unit.exists());
    assert_eq!(run(&["service", "remove"]).0, Some(0));
}

/// As cron runs a line.
fn shell(lab: &Lab, line: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env_clear()
        .env("HOME", lab.path("user"))
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !look() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Only where systemd is there to ask.
fn verify(unit: &std::path::Path) {
    let Ok(output) = Command::new("systemd-analyze")
        .args(["verify", "--user", "--man=no"])
        .arg(unit)
        .output()
    else {
        eprintln!(
            "systemd-analyze is not here: {} is not verified",
            unit.display()
        );
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let name = unit.file_name().unwrap().to_string_lossy();
    let complaints: Vec<&str> = said.lines().filter(|line| line.contains(&*name)).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn cron_gets_one_line_a_home_and_keeps_the_others() {
    let lab = Lab::answering();
    lab.program("bin/crontab", CRONTAB);
    fs::write(lab.path("user/crontab"), "5 4 * * * backup\n").unwrap();
    for _ in 0..2 {
        let (code, text) = lab.run(&["service", "install", "--cron"]);
        assert_eq!(code, Some(0), "{text}");
    }
    let crontab = fs::read_to_string(lab.path("user/crontab")).unwrap();
    assert_eq!(crontab.matches("@reboot").count(), 1, "{crontab}");
    assert!(crontab.starts_with("5 4 * * * backup\n"), "{crontab}");
    assert_eq!(lab.run(&["service", "status"]).0, Some(0));
    // At the next boot cron hands the line's command to a shell.
    lab.settings();
    let line = crontab
        .lines()
        .find_map(|line| line.strip_prefix("@reboot "));
    let mut service = shell(&lab, line.unwrap()).spawn().unwrap();
    until("it runs", || lab.run(&["status"]).0 == Some(0));
    assert_eq!(lab.run(&["stop"]).0, Some(0));
    assert!(service.wait().unwrap().success());
    assert_eq!(lab.run(&["service", "remove"]).0, Some(0));
    let crontab = fs::read_to_string(lab.path("user/crontab")).unwrap();
    assert_eq!(crontab, "5 4 * * * backup\n");
}

#[test]
fn a_batch_job_that_ends_takes_its_netdata_along() {
    let lab = Lab::answering();
    lab.settings();
    let launcher = lab.command(&["start", "--until-job-ends"]);
    let words: Vec<_> = launcher
        .get_args()
        .map(|word| word.to_str().unwrap())
        .collect();
    // The job works for as long as this file is not there.
    let job = format!(
        "{} {} >/dev/null 2>&1 &\nfor i in $(seq 600); do [ -e {} ] && break; sleep 0.1; done",
        launcher.get_program().to_str().unwrap(),
        words.join(" "),
        lab.path("done").display()
    );
    let path = format!("{}:/usr/bin:/bin", lab.path("bin").display());
    let mut job = shell(&lab, &job).env("PATH", path).spawn().unwrap();
    until("it runs", || lab.run(&["status"]).0 == Some(0));
    assert!(job.try_wait().unwrap().is_none());
    fs::write(lab.path("done"), "").unwrap();
    assert!(job.wait().unwrap().success());
    until("its end", || !lab.path("home/netdata.pid").exists());
    let (code, text) = lab.run(&["status"]);
    assert_eq!((code, text.trim()), (Some(1), "Netdata is not running"));
}

#[test]
fn what_is_kept_comes_back_after_a_crash_and_stays_away_after_a_stop() {
    let lab = Lab::answering();
    lab.settings();
    let mut keeper = lab.command(&["start", "--keep"]);
    let keeper = keeper
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = || {
        let text = fs::read_to_string(lab.path("home/netdata.pid")).unwrap_or_default();
        text.lines().next().map(str::to_owned)
    };
    until("it runs", || lab.run(&["status"]).0 == Some(0));
    let first = pid().unwrap();
    // A restart is no crash, and its flags hold from then on.
    assert_eq!(lab.run(&["restart", "--hostname", "renamed"]).0, Some(0));
    let second = pid().unwrap();
    assert_ne!(first, second);
    nix::sys::signal::killpg(
        nix::unistd::Pid::from_raw(second.parse().unwrap()),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    until("it runs again", || {
        pid().is_some_and(|pid| pid != second) && lab.run(&["status"]).0 == Some(0)
    });
    assert!(lab.run(&["config"]).1.contains("--hostname renamed"));
    until("the trouble is over", || {
        !lab.run(&["service", "status"]).1.contains("failed")
    });
    assert_eq!(lab.run(&["stop"]).0, Some(0));
    let output = keeper.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(
        said.matches("starting it again in 10 s").count(),
        1,
        "{said}"
    );
    assert_eq!(lab.run(&["status"]).0, Some(1));
}

#[test]
fn what_is_kept_has_the_flags_of_the_last_start() {
    let lab = Lab::answering();
    assert_eq!(said(&lab.start(&[]).output().unwrap()).0, Some(0));
    assert_eq!(lab.run(&["stop"]).0, Some(0));
    let mut keeper = lab.command(&["start", "--keep"]);
    let mut keeper = keeper
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it runs", || lab.run(&["status"]).0 == Some(0));
    let port = fs::read_to_string(lab.path("port")).unwrap();
    let (_, text) = lab.run(&["status"]);
    // It ends with `uninstall`, too, and makes nothing anew.
    assert_eq!(lab.run(&["uninstall"]).0, Some(0));
    assert!(keeper.wait().unwrap().success());
    assert!(!lab.path("home").exists());
    assert!(
        text.contains(&format!("http://127.0.0.1:{port}"))
            && text.contains("only from this machine"),
        "{text}"
    );
}

#[test]
fn a_start_that_fails_is_tried_again_and_told_by_status() {
    let lab = Lab::answering();
    lab.settings();
    fs::write(lab.path("image.sif"), "no image").unwrap();
    lab.program("bin/crontab", CRONTAB);
    assert_eq!(lab.run(&["service", "install", "--cron"]).0, Some(0));
    let mut keeper = lab.command(&["start", "--keep"]);
    let mut keeper = keeper.stderr(Stdio::null()).spawn().unwrap();
    until("the failure is told", || {
        lab.run(&["service", "status"])
            .1
            .contains("is not a SIF image")
    });
    assert_eq!(lab.run(&["stop"]).0, Some(0));
    assert!(keeper.wait().unwrap().success());
    let (_, text) = lab.run(&["service", "status"]);
    assert!(!text.contains("SIF"), "{text}");
}
