//! `service` and `claim`, with stand-ins for systemctl, crontab and the container runtime.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use lab::{Lab, RUNS, STAYS, said};

/// Keeps a crontab in a file, as cron does.
const CRONTAB: &str = "f=\"$HOME/crontab\"\n\
    case \"$1\" in -l) cat \"$f\" 2>/dev/null || exit 1;; -) cat > \"$f\";; esac";

#[test]
fn a_unit_is_installed_that_systemd_accepts_and_whose_commands_run() {
    let lab = Lab::new(RUNS, STAYS);
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
    assert!(
        line("ExecStart=").ends_with(" start --foreground"),
        "{text}"
    );
    let stop = Command::new("sh")
        .args(["-c", &line("ExecStop=")])
        .env("HOME", lab.path("user"))
        .output()
        .unwrap();
    assert!(stop.status.success(), "{stop:?}");
    assert_eq!(run(&["service", "status"]).0, Some(0));
    let (code, text) = run(&["service", "remove"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!unit.exists());
    assert_eq!(run(&["service", "remove"]).0, Some(0));
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
    let lab = Lab::new(RUNS, STAYS);
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
    assert_eq!(lab.run(&["service", "remove"]).0, Some(0));
    let crontab = fs::read_to_string(lab.path("user/crontab")).unwrap();
    assert_eq!(crontab, "5 4 * * * backup\n");
}

#[test]
fn a_token_from_standard_input_is_kept_where_only_its_owner_reads() {
    let lab = Lab::new(RUNS, STAYS);
    let mut child = lab
        .command(&["claim", "--token-file", "-", "--rooms", "r1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"s3cret\n").unwrap();
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    let file = lab.path("home/state/config/claim.conf");
    let expected =
        "[global]\n    token = s3cret\n    url = https://app.netdata.cloud\n    rooms = r1\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn claim_without_a_token_says_where_to_put_one() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, text) = lab.run(&["claim"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("NETDATA_CLAIM_TOKEN") && text.contains("--token-file"),
        "{text}"
    );
}
