//! What can go wrong on a machine, with its means: signals, files that lie, mounts and limits in namespaces of the
//! test's own, a stand-in for the runtime that says what the real one says.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::{Lab, RUNS, STAYS, said};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn until(what: &str, mut look: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !look() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Where a pull is when it is interrupted: before the first byte, in the middle, with everything but the end.
const STAGES: [&str; 3] = [
    "",
    "head -c 50 $lab/registry >$1; ",
    "cp $lab/registry $1; echo 'INFO: Creating SIF file...' >&2; ",
];

#[test]
fn a_pull_that_is_interrupted_at_any_point_leaves_the_earlier_image_and_nothing_else() {
    for stage in STAGES {
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL] {
            let lab = Lab::new(RUNS, STAYS);
            lab.image("registry", "old");
            assert_eq!(lab.run(&["pull"]).0, Some(0));
            let old = fs::read(lab.path("home/netdata.sif")).unwrap();
            lab.image("registry", "new");
            let dir = lab.path("").display().to_string();
            lab.program(
                "pull",
                &format!("lab={dir}\n{stage}echo $$ >$lab/pulling; exec sleep 1000"),
            );
            let mut pull = lab.command(&["pull"]);
            let mut pull = pull
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let pid = || fs::read_to_string(lab.path("pulling")).unwrap_or_default();
            until("the pull", || pid().ends_with('\n'));
            kill(Pid::from_raw(pull.id().cast_signed()), signal).unwrap();
            let code = pull.wait().unwrap().code();
            assert_eq!(
                fs::read(lab.path("home/netdata.sif")).unwrap(),
                old,
                "{signal} {stage}"
            );
            if signal == Signal::SIGKILL {
                // Nobody was left to end it; it is this test's now.
                kill(
                    Pid::from_raw(pid().trim().parse().unwrap()),
                    Signal::SIGKILL,
                )
                .unwrap();
            } else {
                assert_eq!(code, Some(1));
                assert!(!lives(&pid()), "the runtime goes on after {signal}");
                assert!(!lab.path("home/.pull").exists(), "{signal} {stage}");
            }
            // The next one works, and clears up what the killed one left.
            fs::remove_file(lab.path("pull")).unwrap();
            let (code, text) = lab.run(&["pull"]);
            assert_eq!(code, Some(0), "{text}");
            assert_ne!(fs::read(lab.path("home/netdata.sif")).unwrap(), old);
            assert!(!lab.path("home/.pull").exists());
        }
    }
}

#[test]
fn a_disk_that_fills_up_during_a_pull_is_told_and_leaves_the_earlier_image() {
    let lab = Lab::new(RUNS, STAYS);
    lab.image("registry", "old");
    assert_eq!(lab.run(&["pull"]).0, Some(0));
    let old = fs::read(lab.path("home/netdata.sif")).unwrap();
    let dir = lab.path("").display().to_string();
    let full = format!(
        "head -c 60 {dir}/registry >$1; cat {dir}/registry >/dev/full 2>$1.said || \
         {{ echo \"FATAL:   While making image: $(tail -n 1 $1.said | tr N n)\" >&2; exit 255; }}"
    );
    lab.program("pull", &full);
    let (code, text) = lab.run(&["pull"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the disk is full"), "{text}");
    assert_eq!(fs::read(lab.path("home/netdata.sif")).unwrap(), old);
    assert!(!lab.path("home/.pull").exists());
}

#[test]
fn an_image_that_is_cut_short_or_none_at_all_starts_nothing() {
    let lab = Lab::new(RUNS, "touch $lab/ran; exec sleep 1000");
    let mut image = fs::read(lab.path("image.sif")).unwrap();
    // 1000 bytes of data are promised.
    image[120..128].copy_from_slice(&1000u64.to_le_bytes());
    for (content, said) in [
        (&image[..], "is cut short"),
        (b"<html>", "is not a SIF image"),
    ] {
        fs::write(lab.path("image.sif"), content).unwrap();
        let (code, text) = lab::said(&lab.start(&[]).output().unwrap());
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(said), "{text}");
        // The same for one that went bad in the home.
        fs::create_dir_all(lab.path("home")).unwrap();
        fs::write(lab.path("home/netdata.sif"), content).unwrap();
        let (code, text) = lab.run(&["start", "--listen", "127.0.0.1"]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains(said), "{text}");
    }
    assert!(!lab.path("ran").exists());
}

#[test]
fn an_image_that_cannot_be_mounted_is_unpacked_at_each_start() {
    let fuse = "case \"$*\" in *--unsquash*) exit 0;; esac; \
                echo 'FATAL:   container creation failed: while mounting image: open /dev/fuse: permission denied' >&2; exit 255";
    let lab = Lab::new(fuse, "echo \"$*\" >$lab/argv; exit 1");
    let (_, text) = said(&lab.start(&[]).output().unwrap());
    assert!(
        text.contains("the image cannot be mounted here (/dev/fuse): unpacking it"),
        "{text}"
    );
    let argv = fs::read_to_string(lab.path("argv")).unwrap();
    assert!(argv.contains("--unsquash"), "{argv}");
}

#[test]
fn without_user_namespaces_a_start_fails_with_the_runtimes_reason_and_doctor_names_the_setting() {
    // The stand-in tries what the real one does first.
    let lab = Lab::new(
        "unshare --user true 2>$lab/why || { echo \"FATAL:   Failed to create user namespace: $(cat $lab/why)\" >&2; exit 255; }",
        STAYS,
    );
    let script = "echo 0 >/proc/sys/user/max_user_namespaces\n\
                  $start && exit 7\n\
                  $launcher doctor || true\n";
    let (code, text) = lab.in_namespaces(&[], script);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Failed to create user namespace"), "{text}");
    assert!(
        text.contains("launcher doctor looks for the cause"),
        "{text}"
    );
    assert!(
        text.contains("/proc/sys/user/max_user_namespaces is 0"),
        "{text}"
    );
    assert!(
        text.contains("sysctl user.max_user_namespaces=15000"),
        "{text}"
    );
}

#[test]
fn whoever_takes_the_port_while_netdata_starts_is_not_taken_for_it() {
    // What the runtime starts here listens on nothing; a program of another session answers as a Netdata would.
    let squat = "setsid $lab/netdata $lab/netdata.py $(cat $lab/port) & echo $! >$lab/squatter; exec sleep 1000";
    let lab = Lab::answering_by(squat);
    let (code, text) = said(&lab.start(&[]).output().unwrap());
    let squatter = fs::read_to_string(lab.path("squatter")).unwrap();
    assert!(lives(&squatter), "it was ended: {text}");
    kill(
        Pid::from_raw(squatter.trim().parse().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(code, Some(1), "{text}");
    let expected = format!("is answered by netdata (pid {})", squatter.trim());
    assert!(text.contains(&expected), "{text}");
    assert_eq!(lab.run(&["status"]).0, Some(1));
}

#[test]
fn a_home_that_cannot_be_written_to_is_named() {
    let lab = Lab::new(RUNS, STAYS);
    fs::create_dir_all(lab.path("home")).unwrap();
    let script = "mount -t tmpfs -o ro tmpfs $lab/home\n\
                  for verb in start pull; do $launcher $verb && exit 7; done\n\
                  $launcher stop && exit 8\n\
                  $launcher status && exit 9\n\
                  $launcher doctor || true\n";
    let (code, text) = lab.in_namespaces(&["--mount"], script);
    assert_eq!(code, Some(0), "{text}");
    let home = lab.path("home").display().to_string();
    assert!(
        text.contains(&home) && text.contains("Read-only file system"),
        "{text}"
    );
    assert!(
        text.contains("FAIL") && text.contains("use another --home"),
        "{text}"
    );
}

#[test]
fn two_starts_at_once_start_one_netdata_and_both_succeed() {
    let lab = Lab::answering();
    let spawn = || {
        lab.start(&[])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [spawn(), spawn()].map(|start| said(&start.wait_with_output().unwrap()));
    for (code, text) in &both {
        assert_eq!(*code, Some(0), "{text}");
    }
    let started = both
        .iter()
        .filter(|(_, text)| text.contains("Netdata is running"))
        .count();
    let found = both
        .iter()
        .filter(|(_, text)| text.contains("Netdata is already running"))
        .count();
    assert_eq!((started, found), (1, 1), "{both:?}");
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}

#[test]
fn an_image_replaced_while_netdata_runs_changes_nothing_until_a_restart() {
    let lab = Lab::answering();
    lab.image("registry", "netdata v1.37.1\n");
    let port = fs::read_to_string(lab.path("port")).unwrap();
    let (code, text) = lab.run(&["start", "--listen", "127.0.0.1", "--port", &port]);
    assert_eq!(code, Some(0), "{text}");
    let pid = || {
        let text = fs::read_to_string(lab.path("home/netdata.pid")).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let first = pid();
    lab.image("registry", "netdata v2.0.0\n");
    let (code, text) = lab.run(&["pull"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("what runs still uses the earlier image"),
        "{text}"
    );
    assert!(pid() == first && lives(&first));
    assert_eq!(lab.run(&["status"]).0, Some(0));
    let (code, text) = lab.run(&["update"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(pid() != first && !lives(&first), "{text}");
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}

#[test]
fn the_watch_may_be_killed_and_stop_leaves_nothing() {
    let lab = Lab::answering();
    assert_eq!(said(&lab.start(&[]).output().unwrap()).0, Some(0));
    let text = fs::read_to_string(lab.path("home/netdata.pid")).unwrap();
    let session = text.lines().next().unwrap().to_owned();
    let members = || -> Vec<String> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().into_string().ok());
        pids.filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            fields.split(' ').nth(3) == Some(&session) && !fields.starts_with('Z')
        })
        .collect()
    };
    let watch = members().into_iter().find(|pid| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.contains("\0watch\0")
    });
    kill(
        Pid::from_raw(watch.unwrap().parse().unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    assert_eq!(lab.run(&["status"]).0, Some(0));
    assert_eq!(lab.run(&["stop"]).0, Some(0));
    assert!(members().is_empty());
}
