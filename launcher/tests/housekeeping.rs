//! What shows and removes: `config`, `clean`, `uninstall`, `exec`, completions and manual pages.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lab::{Lab, RUNS, STAYS};

/// Every file and directory below `dir`, with its mode.
fn tree(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        found.push((path.clone(), meta.permissions().mode()));
        if meta.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

#[test]
fn config_names_the_source_of_each_value_and_shows_no_secret() {
    let lab = Lab::new(RUNS, STAYS);
    fs::create_dir(lab.path("home")).unwrap();
    let env =
        "LAUNCHER_PORT=20001\nNETDATA_CLAIM_TOKEN=s3cret\nNETDATA_CLAIM_PROXY=http://u:pa55@p\n";
    fs::write(lab.path("home/.env"), env).unwrap();
    fs::set_permissions(lab.path("home/.env"), fs::Permissions::from_mode(0o600)).unwrap();
    for words in [&["config"][..], &["config", "--json"]] {
        let mut command = lab.command(words);
        let output = command
            .env("LAUNCHER_LISTEN", "127.0.0.1")
            .output()
            .unwrap();
        let (code, text) = lab::said(&output);
        assert_eq!(code, Some(0), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("pa55"), "{text}");
    }
    let json = lab.command(&["config", "--json"]).output().unwrap().stdout;
    let rows: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let row = |name: &str| {
        let rows = rows.as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).unwrap().clone()
    };
    assert_eq!(row("LAUNCHER_PORT")["value"], "20001");
    assert_eq!(row("LAUNCHER_PORT")["source"], "env file");
    assert_eq!(row("NETDATA_CLAIM_TOKEN")["source"], "env file");
    assert_eq!(row("LAUNCHER_GPU")["source"], "default");
    assert_eq!(row("LAUNCHER_HOME")["source"], "flag");
}

#[test]
fn config_says_which_value_cannot_be_used() {
    let lab = Lab::new(RUNS, STAYS);
    let output = lab
        .command(&["config"])
        .env("LAUNCHER_PORT", "http")
        .output();
    let (code, text) = lab::said(&output.unwrap());
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("LAUNCHER_PORT=http: not a port"), "{text}");
}

#[test]
fn uninstall_leaves_what_was_there_before_the_first_start() {
    let lab = Lab::new(RUNS, "echo 'FATAL: none' >&2; exit 1");
    let before = tree(&lab.path(""));
    let image = lab.path("image.sif").display().to_string();
    // A home below directories that are not there yet.
    let home = lab.path("user/share/deep/home").display().to_string();
    let run = |more: &[&str]| {
        let mut command = lab.bare_command(&["--home", &home]);
        lab::said(&command.args(more).output().unwrap())
    };
    assert_eq!(run(&["pull", "--image", &image]).0, Some(0));
    // It fails, and leaves its log.
    assert_eq!(run(&["start", "--listen", "127.0.0.1"]).0, Some(1));
    let full = tree(&lab.path(""));
    let (code, text) = run(&["uninstall", "--dry-run"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("would remove"), "{text}");
    assert_eq!(tree(&lab.path("")), full, "a dry run removed something");
    let (code, text) = run(&["uninstall"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(tree(&lab.path("")), before, "{text}");
    assert_eq!(run(&["uninstall"]).0, Some(0));
}

#[test]
fn uninstall_keeps_what_the_user_put_there_and_the_data_if_asked() {
    let lab = Lab::new(RUNS, STAYS);
    let image = lab.path("image.sif").display().to_string();
    assert_eq!(lab.run(&["pull", "--image", &image]).0, Some(0));
    fs::write(lab.path("home/.env"), "").unwrap();
    fs::write(lab.path("home/state/lib/identity"), "id").unwrap();
    fs::write(lab.path("home/state/config/netdata.conf"), "").unwrap();
    let (code, text) = lab.run(&["uninstall", "--keep-data"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!lab.path("home/netdata.sif").exists());
    assert!(!lab.path("home/state/generated").exists());
    assert_eq!(
        fs::read_to_string(lab.path("home/state/lib/identity")).unwrap(),
        "id"
    );
    let (code, text) = lab.run(&["uninstall"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!lab.path("home/state").exists(), "{text}");
    assert!(
        lab.path("home/.env").exists() && text.contains("left alone"),
        "{text}"
    );
}

#[test]
fn clean_removes_leftovers_and_downloads_and_nothing_else() {
    let lab = Lab::new(RUNS, STAYS);
    let image = lab.path("image.sif").display().to_string();
    assert_eq!(lab.run(&["pull", "--image", &image]).0, Some(0));
    fs::create_dir_all(lab.path("home/.pull/tmp")).unwrap();
    fs::create_dir_all(lab.path("user/.cache/netdata-launcher/debs")).unwrap();
    fs::create_dir_all(lab.path("user/.cache/netdata-launcher/someone-elses")).unwrap();
    fs::write(lab.path("home/logs/netdata.log.1"), "x").unwrap();
    let (code, text) = lab.run(&["clean"]);
    assert_eq!(code, Some(0), "{text}");
    for gone in [
        "home/.pull",
        "home/logs/netdata.log.1",
        "user/.cache/netdata-launcher/debs",
    ] {
        assert!(!lab.path(gone).exists(), "{gone} is left: {text}");
    }
    for kept in [
        "home/netdata.sif",
        "home/state/tmp",
        "user/.cache/netdata-launcher/someone-elses",
    ] {
        assert!(lab.path(kept).exists(), "{kept} is gone: {text}");
    }
}

#[test]
fn exec_returns_the_commands_own_exit_code() {
    let lab = Lab::new(RUNS, "echo \"ran: $*\"; exit 7");
    let image = lab.path("image.sif").display().to_string();
    assert_eq!(lab.run(&["pull", "--image", &image]).0, Some(0));
    let (code, text) = lab.run(&["exec", "--", "netdata", "-W", "buildinfo"]);
    assert_eq!(code, Some(7), "{text}");
    assert!(text.contains("netdata.sif netdata -W buildinfo"), "{text}");
}

#[test]
fn completions_and_manual_pages_know_every_verb() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, script) = lab.run(&["completions", "bash"]);
    assert_eq!(code, Some(0));
    let pages = lab.path("man");
    let (code, text) = lab.run(&["man", pages.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{text}");
    for verb in ["start", "stop", "status", "config", "uninstall", "exec"] {
        assert!(script.contains(verb), "{verb} cannot be completed");
        assert!(
            pages.join(format!("launcher-{verb}.1")).exists(),
            "{verb} has no page"
        );
    }
}

#[test]
fn doctor_names_what_is_wrong_and_what_to_do() {
    let lab = Lab::new("echo 'GLIBC_2.99 not found' >&2; exit 1", STAYS);
    let image = lab.path("image.sif").display().to_string();
    assert_eq!(lab.run(&["pull", "--image", &image]).0, Some(0));
    let output = lab.command(&["doctor", "--json"]).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |id: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["id"] == id).unwrap().clone()
    };
    assert_eq!(row("plugin")["level"], "FAIL", "{rows}");
    assert_eq!(row("plugin")["found"], "GLIBC_2.99 not found");
    assert_eq!(row("netdata")["level"], "SKIP");
    assert_eq!(output.status.code(), Some(1));
    for row in rows.as_array().unwrap() {
        let bad = row["level"] == "WARN" || row["level"] == "FAIL";
        assert_eq!(bad, !row["hint"].is_null(), "{row}");
    }
}

#[test]
fn doctor_blames_a_wrong_setting_and_nothing_else_for_it() {
    let lab = Lab::new(RUNS, STAYS);
    let mut command = lab.command(&["doctor", "--json"]);
    let output = command
        .env("LAUNCHER_BINDS", "/does/not/exist:/x")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = |id: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["id"] == id).unwrap().clone()
    };
    assert_eq!(row("settings")["level"], "FAIL");
    assert_eq!(row("noexec")["level"], "SKIP");
    let settings = row("settings");
    let found = settings["found"].as_str().unwrap();
    assert!(
        found.contains("LAUNCHER_BINDS") && found.contains("/does/not/exist does not exist"),
        "{found}"
    );
}

#[test]
fn a_report_holds_no_secret() {
    let lab = Lab::new(RUNS, STAYS);
    fs::create_dir_all(lab.path("home/logs")).unwrap();
    fs::write(lab.path("home/.env"), "NETDATA_CLAIM_TOKEN=s3cret\n").unwrap();
    fs::set_permissions(lab.path("home/.env"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(lab.path("home/logs/netdata.log"), "claiming with s3cret\n").unwrap();
    let report = lab.path("report.txt");
    lab.run(&["doctor", "--report", report.to_str().unwrap()]);
    let text = fs::read_to_string(&report).unwrap();
    assert!(text.contains("claiming with <secret>"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    let mode = fs::metadata(&report).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_record_of_the_driver_is_the_plugins_own_and_replaces_no_file() {
    let records = "case \"$*\" in *'rs.d.plugin --record-nvml -') echo nvml-record 1; cat $lab/answers;; esac";
    let lab = Lab::new(RUNS, records);
    let (image, record) = (lab.path("image.sif"), lab.path("record"));
    let doctor = || lab.run(&["doctor", "--record", record.to_str().unwrap()]);
    let (code, text) = doctor();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("no image yet"), "{text}");
    assert_eq!(
        lab.run(&["pull", "--image", image.to_str().unwrap()]).0,
        Some(0)
    );
    fs::write(lab.path("answers"), "seconds 60\n").unwrap();
    let (code, text) = doctor();
    assert_eq!(code, Some(0), "{text}");
    let written = || fs::read_to_string(&record).unwrap();
    assert_eq!(written(), "nvml-record 1\nseconds 60\n");
    assert_eq!(
        fs::metadata(&record).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let (code, text) = doctor();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("choose another name"), "{text}");
    // A driver that goes away while it is recorded leaves what it answered until then.
    for name in ["record", "answers"] {
        fs::remove_file(lab.path(name)).unwrap();
    }
    let (code, text) = doctor();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("did not answer to the end"), "{text}");
    assert_eq!(written(), "nvml-record 1\n");
}

#[test]
fn status_in_json_says_why_it_does_not_run() {
    let lab = Lab::new(RUNS, STAYS);
    let output = lab.command(&["status", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["state"], "stopped");
}

#[test]
fn the_state_moves_to_the_directory_that_is_named_and_uninstall_finds_it() {
    let lab = Lab::new(RUNS, STAYS);
    let image = lab.path("image.sif").display().to_string();
    assert_eq!(lab.run(&["pull", "--image", &image]).0, Some(0));
    fs::write(lab.path("home/state/lib/identity"), "id").unwrap();
    let disk = lab.path("disk");
    let mut command = lab.command(&["pull", "--image", &image]);
    let output = command.env("LAUNCHER_STATE_DIR", &disk).output().unwrap();
    let (code, text) = lab::said(&output);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(fs::read_to_string(disk.join("lib/identity")).unwrap(), "id");
    // Named once is enough.
    let (_, text) = lab.run(&["status", "--json"]);
    assert!(text.contains(disk.to_str().unwrap()), "{text}");
    let (code, text) = lab.run(&["uninstall"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!disk.exists() && !lab.path("home").exists(), "{text}");
}
