//! A disk that fills up and a log that grows, while Netdata runs. The disk is a small one of the test's own, in a
//! mount namespace that only the test's commands see.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lab::{Lab, RUNS};

/// Runs `script` with the lab's home on a file system of 16 MiB.
fn on_a_small_disk(lab: &Lab, script: &str) -> (Option<i32>, String) {
    fs::create_dir_all(lab.path("home")).unwrap();
    let preamble = "home=$lab/home; mount -t tmpfs -o size=16m tmpfs $home; chmod 700 $home\n\
         until_said() { for i in $(seq 600); do $launcher status >$lab/said 2>&1 || :; \
         grep -q \"$1\" $lab/said && return; sleep 0.2; done; cat $lab/said; echo \"never: $1\"; exit 9; }\n";
    lab.in_namespaces(&["--mount"], &(preamble.to_owned() + script))
}

#[test]
fn a_full_disk_pauses_netdata_and_room_lets_it_go_on() {
    let lab = Lab::answering();
    let script = "$start\n\
         head -c 16400000 /dev/zero >$home/filler\n\
         until_said 'Netdata is paused: .* of the disk'\n\
         $launcher status && exit 8\n\
         $launcher status --json | grep '\"state\": \"paused\"'\n\
         $launcher start | grep 'already running'\n\
         rm $home/filler\n\
         until_said 'Netdata has been running'\n\
         $launcher logs | grep 'launcher: paused'\n\
         $launcher logs | grep 'Netdata goes on'\n\
         # Held, it can be stopped too.\n\
         head -c 16400000 /dev/zero >$home/filler\n\
         until_said 'Netdata is paused'\n\
         $launcher stop\n\
         rm $home/filler\n";
    let (code, text) = on_a_small_disk(&lab, script);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Netdata has stopped"), "{text}");
}

#[test]
fn a_pull_onto_a_full_disk_is_refused_before_it_begins() {
    let lab = Lab::answering();
    let (code, text) = on_a_small_disk(&lab, "$launcher pull --image docker://a/b");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("MiB free, a pull needs"), "{text}");
}

#[test]
fn a_log_that_grows_without_bound_is_put_aside_while_netdata_runs() {
    // 50 MiB in all, and then it goes on as Netdata does.
    let noisy = "i=0; while [ $i -lt 50 ]; do head -c 1048576 /dev/zero | tr '\\0' 'x' | fold -w 1023; sleep 0.1; \
                 i=$((i+1)); done; exec sleep 1000";
    let lab = Lab::new(RUNS, noisy);
    let mut start = lab.start(&["--timeout", "20"]);
    let mut start = start.stderr(Stdio::null()).spawn().unwrap();
    let logs = lab.path("home/logs");
    let deadline = Instant::now() + Duration::from_secs(120);
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&logs).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect()
    };
    while !names().contains(&"netdata.log.3".to_owned()) {
        assert!(Instant::now() < deadline, "only {:?}", names());
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = start.wait();
    let sizes = names()
        .into_iter()
        .map(|name| fs::metadata(logs.join(name)).unwrap().len());
    // Four times the limit, and what is written in half a second each.
    let total = sizes.sum::<u64>() >> 20;
    assert!(total < 45, "{total} MiB");
}
