//! One home, two machines: the second is another host name with another boot, in namespaces of the test's own.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;

use lab::Lab;

/// Becomes the machine of that name, with a boot of its own.
const MACHINE: &str = "hostname other\n\
    echo 6e9f4a10-0000-4000-8000-000000000000 >$lab/boot-id\n\
    mount --bind $lab/boot-id /proc/sys/kernel/random/boot_id\n";

fn other(lab: &Lab, script: &str) -> (Option<i32>, String) {
    lab.in_namespaces(&["--mount", "--uts"], &(MACHINE.to_owned() + script))
}

#[test]
fn machines_that_share_a_home_are_kept_apart_by_their_names() {
    let lab = Lab::answering();
    lab.settings();
    let path = lab.path("home/.env");
    let settings = fs::read_to_string(&path).unwrap() + "LAUNCHER_SHARED_HOME=yes\n";
    fs::write(&path, settings).unwrap();
    lab.image("registry", "netdata v1.37.1\n");
    let port = fs::read_to_string(lab.path("port")).unwrap();
    let run = |words: &[&str]| {
        let mut command = lab.command(words);
        let output = command.env("LAUNCHER_IMAGE", "docker://a/b").output();
        lab::said(&output.unwrap())
    };
    let (code, text) = run(&["start"]);
    assert_eq!(code, Some(0), "{text}");
    // The other one starts, too, at another port, and is asked about itself alone.
    let another = port.trim().parse::<u16>().unwrap() ^ 1;
    fs::write(lab.path("port"), another.to_string()).unwrap();
    let script = format!(
        "start=\"$launcher start --image docker://a/b --port {another}\"\n\
         $launcher status && exit 7\n\
         $start\n$launcher status\n\
         $launcher uninstall && exit 8\n\
         $launcher stop\n$launcher status && exit 9 || exit 0\n"
    );
    let (code, text) = other(&lab, &script);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!("http://127.0.0.1:{another}")),
        "{text}"
    );
    assert!(text.contains("Netdata runs from this home on"), "{text}");
    // The first one has noticed nothing, and its image stays whatever the other one pulls.
    assert_eq!(run(&["status"]).0, Some(0));
    let image = fs::read(lab.path("home/netdata.sif")).unwrap();
    lab.image("registry", "netdata v2.0.0\n");
    let (code, text) = other(&lab, "$launcher pull --image docker://a/b\n");
    assert_eq!(code, Some(0), "{text}");
    assert_ne!(fs::read(lab.path("home/netdata.sif")).unwrap(), image);
    let held = fs::read_dir(lab.path("home"))
        .unwrap()
        .flatten()
        .any(|entry| {
            let name = entry.file_name().into_string().unwrap();
            name.starts_with("netdata-")
                && name.ends_with(".sif")
                && fs::read(entry.path()).unwrap() == image
        });
    assert!(held, "the image that runs is gone");
    let states = fs::read_dir(lab.path("home/state")).unwrap().flatten();
    let states = states.filter(|entry| entry.file_name().to_str().unwrap().starts_with("on-"));
    assert_eq!(states.count(), 2, "each has a state of its own");
    assert_eq!(run(&["stop"]).0, Some(0));
    // As by a machine that is gone.
    fs::write(lab.path("home/netdata-gone.sif"), "").unwrap();
    fs::write(lab.path("home/netdata-gone.pid"), "1\nhost=gone\n").unwrap();
    let (code, text) = run(&["uninstall"]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("remove ") && text.contains("netdata-gone.pid"),
        "{text}"
    );
    fs::remove_file(lab.path("home/netdata-gone.pid")).unwrap();
    fs::remove_file(lab.path("home/.env")).unwrap();
    let (code, text) = run(&["uninstall"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!lab.path("home").exists(), "{text}");
}

#[test]
fn a_home_that_two_machines_use_unsaid_is_left_to_the_one_that_runs() {
    let lab = Lab::answering();
    lab.settings();
    let (code, text) = lab.run(&["start"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = other(
        &lab,
        "for verb in start stop restart; do $launcher $verb && exit 7; done; exit 0\n",
    );
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("was started on") && text.contains("LAUNCHER_SHARED_HOME=yes"),
        "{text}"
    );
    assert_eq!(lab.run(&["status"]).0, Some(0));
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}
