//! `update`: what changes is said, and what does not come up is taken back.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;

use lab::Lab;

const OLD: &str = "netdata v1.37.1\n";
const IDENTITY: &str = "home/state/lib/registry/netdata.public.unique.id";
const HISTORY: &str = "home/state/cache/dbengine/datafile-1-0000000001.ndf";

/// A lab in which Netdata runs from a registry's image.
fn running() -> Lab {
    let lab = Lab::answering();
    lab.image("registry", OLD);
    let (code, text) = start(&lab);
    assert_eq!(code, Some(0), "{text}");
    for name in [IDENTITY, HISTORY] {
        fs::create_dir_all(lab.path(name).parent().unwrap()).unwrap();
        fs::write(lab.path(name), "mine").unwrap();
    }
    lab
}

fn start(lab: &Lab) -> (Option<i32>, String) {
    let port = fs::read_to_string(lab.path("port")).unwrap();
    lab.run(&["start", "--listen", "127.0.0.1", "--port", &port])
}

fn pid(lab: &Lab) -> String {
    let text = fs::read_to_string(lab.path("home/netdata.pid")).unwrap();
    text.lines().next().unwrap().to_owned()
}

fn nothing_is_kept(lab: &Lab) {
    let names = ["home/netdata.sif.before", "home/state/before-update"];
    assert!(!names.iter().any(|name| lab.path(name).exists()));
}

#[test]
fn an_update_says_what_changes_and_restarts_once_there_is_something_newer() {
    let lab = running();
    let first = pid(&lab);
    let (code, text) = lab.run(&["update"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("nothing newer") && text.contains("v1.37.1"),
        "{text}"
    );
    assert_eq!(pid(&lab), first, "it was restarted for nothing");
    lab.image("registry", "netdata v2.11.0\n");
    let (code, text) = lab.run(&["update"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Netdata  v1.37.1 -> v2.11.0"), "{text}");
    assert!(text.contains("image    file sha256:"), "{text}");
    assert_ne!(pid(&lab), first);
    assert_eq!(fs::read_to_string(lab.path(HISTORY)).unwrap(), "mine");
    nothing_is_kept(&lab);
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}

#[test]
fn an_image_that_does_not_come_up_is_taken_back_with_history_and_identity() {
    let lab = running();
    let image = fs::read(lab.path("home/netdata.sif")).unwrap();
    let record = fs::read(lab.path("home/netdata.sif.json")).unwrap();
    lab.image("registry", "netdata v9.0.0 broken\n");
    let (code, text) = lab.run(&["update"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the new image does not come up"), "{text}");
    assert!(text.contains("Netdata is running"), "{text}");
    assert_eq!(fs::read(lab.path("home/netdata.sif")).unwrap(), image);
    assert_eq!(fs::read(lab.path("home/netdata.sif.json")).unwrap(), record);
    for name in [IDENTITY, HISTORY] {
        assert_eq!(fs::read_to_string(lab.path(name)).unwrap(), "mine");
    }
    nothing_is_kept(&lab);
    assert_eq!(lab.run(&["status"]).0, Some(0));
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}

#[test]
fn an_update_while_nothing_runs_is_taken_back_by_the_start_that_fails() {
    let lab = running();
    assert_eq!(lab.run(&["stop"]).0, Some(0));
    lab.image("registry", "netdata v9.0.0 broken\n");
    let (code, text) = lab.run(&["update"]);
    assert_eq!(code, Some(0), "{text}");
    // As by a killed update in between: the copy is there, and the start proves the image or not.
    assert!(lab.path("home/state/before-update/complete").exists());
    let (code, text) = start(&lab);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Netdata is running"), "{text}");
    assert_eq!(fs::read_to_string(lab.path(HISTORY)).unwrap(), "mine");
    nothing_is_kept(&lab);
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}

#[test]
fn an_update_whose_registry_is_down_stops_and_changes_nothing() {
    let lab = running();
    let first = pid(&lab);
    fs::remove_file(lab.path("registry")).unwrap();
    let (code, text) = lab.run(&["update"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("cannot be resolved"), "{text}");
    assert_eq!(pid(&lab), first);
    nothing_is_kept(&lab);
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}
