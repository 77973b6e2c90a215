//! The real binary on its command line: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin_cmd;

/// The binary, with nothing in its environment and `dir` as its working directory.
fn plugin(dir: &Path) -> Command {
    let mut command = cargo_bin_cmd!("rs-d-plugin");
    command.env_clear().current_dir(dir);
    command
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A directory with `conf`, a user's configuration directory of these files.
fn configured(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("conf")).unwrap();
    for (name, text) in files {
        let path = dir.path().join("conf").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

/// What `--check` of `conf` prints, and its exit code.
fn check(dir: &Path) -> (String, Option<i32>) {
    let output = plugin(dir)
        .args(["--check", "-c", "conf"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code())
}

/// Every fixture in `kind`: its path, and the file of a configuration directory that it stands for.
fn fixtures(kind: &str) -> Vec<(PathBuf, String)> {
    let dir = checkout().join("tests/fixtures/configs").join(kind);
    let mut found = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(name) = name.strip_suffix(".yaml") else {
            continue;
        };
        let file = match name.split_once('.').unwrap().0 {
            "plugin" => "rs.d.conf".to_owned(),
            "vnodes" => "vnodes/vnodes.conf".to_owned(),
            module => format!("rs.d/{module}.conf"),
        };
        found.push((path, file));
    }
    found.sort();
    found
}

#[test]
fn every_mistake_produces_its_exact_message() {
    let fixtures = fixtures("invalid");
    assert!(fixtures.len() >= 50, "{}", fixtures.len());
    for (path, file) in fixtures {
        let dir = configured(&[(&file, &fs::read(&path).unwrap())]);
        let expected = fs::read_to_string(path.with_extension("expected")).unwrap();
        assert_eq!(check(dir.path()), (expected, Some(1)), "{}", path.display());
    }
}

#[test]
fn what_is_right_is_in_order() {
    for (path, file) in fixtures("valid") {
        let dir = configured(&[(&file, &fs::read(&path).unwrap())]);
        let (text, code) = check(dir.path());
        assert_eq!(code, Some(0), "{}: {text}", path.display());
        assert!(text.ends_with("no mistakes\n"), "{text}");
    }
}

#[test]
fn the_stock_files_are_in_order() {
    let output = plugin(&checkout())
        .args(["--check", "-c", "conf.d"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("conf.d/rs.d/nvidia.conf\n"), "{text}");
}

#[test]
fn what_is_no_readable_file_is_said_without_waiting_or_reading_it_all() {
    let at = "conf/rs.d/sglang.conf:";
    let dir = configured(&[]);
    fs::create_dir_all(dir.path().join("conf/rs.d/sglang.conf")).unwrap();
    let (text, code) = check(dir.path());
    assert_eq!(
        (text.as_str(), code),
        (&*format!("{at} not a regular file\n1 mistake\n"), Some(1))
    );

    let dir = configured(&[("rs.d/sglang.conf", &vec![b'#'; 1024 * 1024 + 1])]);
    let (text, _) = check(dir.path());
    assert_eq!(
        text,
        format!("{at} larger than 1 MiB, which no configuration is\n1 mistake\n")
    );

    let dir = configured(&[("rs.d/nvidia.conf", b"")]);
    std::os::unix::fs::symlink("sglang.conf", dir.path().join("conf/rs.d/sglang.conf")).unwrap();
    let (text, _) = check(dir.path());
    let why = "cannot be read: Too many levels of symbolic links (os error 40)";
    assert_eq!(text, format!("{at} {why}\n1 mistake\n"));

    let dir = tempfile::tempdir().unwrap();
    assert_eq!(
        check(dir.path()).0,
        "conf: there is no such directory\n1 mistake\n"
    );
}

#[test]
fn a_secret_in_the_wrong_place_is_on_no_output() {
    let text = "api_key_file: sk-1234567890\nlabels: sk-1234567890\n";
    let dir = configured(&[("rs.d/sglang.conf", text.as_bytes())]);
    for arguments in [
        &["--check"][..],
        &["--once", "-d", "-m", "sglang"],
        &["--list"],
    ] {
        let output = plugin(dir.path())
            .args(arguments)
            .args(["-c", "conf"])
            .output()
            .unwrap();
        let all = [output.stdout, output.stderr].concat();
        assert!(!all.is_empty());
        assert!(!String::from_utf8_lossy(&all).contains("1234567890"));
    }
}

#[test]
fn the_list_shows_modules_jobs_and_what_is_switched_off() {
    let dir = configured(&[
        ("rs.d.conf", b"modules: {servers: no}\n"),
        (
            "rs.d/sglang.conf",
            b"jobs: [{name: far, url: 'http://192.0.2.7:30000', update_every: 7}]\n",
        ),
    ]);
    let output = plugin(dir.path())
        .args(["-l", "-c", "conf"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let has = |words: &[&str]| {
        let mut lines = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|line| line == words)
    };
    assert!(has(&["MODULE", "JOB", "EVERY", "SOURCE"]), "{text}");
    assert!(
        has(&["nvidia", "gpus", "1", "s", "found", "by", "itself"]),
        "{text}"
    );
    assert!(
        has(&["sglang", "far", "7", "s", "rs.d/sglang.conf"]),
        "{text}"
    );
    assert!(
        has(&["servers", "-", "-", "switched", "off", "in", "rs.d.conf"]),
        "{text}"
    );
}

#[test]
fn one_reading_of_one_module_or_job_is_protocol_on_standard_output() {
    let dir = configured(&[]);
    let run = |arguments: &[&str]| {
        let output = plugin(dir.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    // Nothing to chart on a machine without servers, and nothing else is said there.
    let known = [
        "CHART",
        "CLABEL",
        "CLABEL_COMMIT",
        "DIMENSION",
        "BEGIN",
        "SET",
        "END",
        "VARIABLE",
    ];
    for line in run(&["--once", "-m", "servers,sglang"]).lines() {
        assert!(known.contains(&line.split(' ').next().unwrap()), "{line}");
    }
    assert_eq!(run(&["--once", "-m", "servers", "-j", "no such job"]), "");
}

#[test]
fn the_version_is_printed_and_bad_arguments_are_refused() {
    let dir = configured(&[]);
    let version = plugin(dir.path()).arg("-v").output().unwrap();
    let expected = format!("rs.d.plugin {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), expected);
    for (arguments, code, why) in [
        (&["0"][..], 2, "0 is not in 1..=3600"),
        (&["--once", "--check"], 2, "cannot be used with"),
        (
            &["--once", "-m", "nvidai"],
            1,
            "there is no module \"nvidai\"",
        ),
    ] {
        let output = plugin(dir.path()).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr).replace('\\', "");
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn when_every_module_is_off_netdata_is_told_not_to_start_it_again() {
    let dir = configured(&[("rs.d.conf", b"enabled: no\n")]);
    let output = plugin(dir.path())
        .args(["-c", "conf", "1"])
        .output()
        .unwrap();
    assert_eq!(
        (&output.stdout[..], output.status.code()),
        (&b"DISABLE\n"[..], Some(0))
    );
}

#[test]
fn under_netdata_the_log_is_logfmt_and_follows_its_level() {
    let dir = configured(&[("rs.d.conf", b"enabled: no\n")]);
    let log = |level: &str| {
        let output = plugin(dir.path())
            .env("NETDATA_VERSION", "v2.0.0")
            .env("NETDATA_USER_CONFIG_DIR", "conf")
            .env("NETDATA_LOG_LEVEL", level)
            .arg("1")
            .output()
            .unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    let info = log("info");
    assert!(info.contains(" level=info msg=\"version "), "{info}");
    assert!(
        info.lines()
            .all(|line| line.starts_with("time=") && line.contains(" plugin=rs.d"))
    );
    assert_eq!(log("error"), "");
}
