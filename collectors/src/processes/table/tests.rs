//! The table over a made-up /proc.

use super::super::users::tests::FakeProc;
use super::*;

fn identify(cmdline: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cmdline);
    text.starts_with("engine")
        .then(|| text.trim_end_matches('\0').to_owned())
}

fn table(proc: &FakeProc) -> ProcessTable<String> {
    ProcessTable::new(proc.path(), identify)
}

fn seconds(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

#[test]
fn a_scan_finds_the_living_and_leaves_out_zombies() {
    let proc = FakeProc::new();
    proc.process(10, 1, "a", 'S', &["engine"]);
    proc.process(11, 10, "b", 'Z', &["engine"]);
    let mut table = table(&proc);
    table.scan(Instant::now()).unwrap();
    let pids: Vec<_> = table.iter().map(|process| process.pid).collect();
    assert_eq!(pids, [10]);
    assert_eq!(table.get(10).unwrap().identity.as_deref(), Some("engine"));
}

#[test]
fn a_child_that_gets_its_title_late_is_recognised_late() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.process(10, 1, "python", 'S', &["python", "-c"]);
    let mut table = table(&proc);
    table.scan(start).unwrap();
    assert_eq!(table.get(10).unwrap().identity, None);
    proc.process(10, 1, "python", 'S', &["engine::helper"]);
    table.scan(seconds(start, 100)).unwrap();
    let identity = table.get(10).unwrap().identity.as_deref();
    assert_eq!(identity, Some("engine::helper"));
}

#[test]
fn an_old_stranger_is_looked_at_only_every_minute() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.process(8, 1, "bash", 'S', &["bash"]);
    proc.file("uptime", "1000.50 900.00\n");
    let mut table = table(&proc);
    table.scan(start).unwrap();
    proc.process(8, 1, "engine", 'S', &["engine"]);
    table.scan(seconds(start, 59)).unwrap();
    assert_eq!(table.get(8).unwrap().identity, None);
    table.scan(seconds(start, 61)).unwrap();
    assert!(table.get(8).unwrap().identity.is_some());
}

#[test]
fn a_young_stranger_is_looked_at_the_more_rarely_the_older_it_is() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    // Started at 1.08 s.
    proc.process(8, 1, "bash", 'S', &["bash"]);
    proc.file("uptime", "81.50 900.00\n");
    let mut table = table(&proc);
    table.scan(start).unwrap();
    proc.process(8, 1, "engine", 'S', &["engine"]);
    table.scan(seconds(start, 8)).unwrap();
    assert_eq!(table.get(8).unwrap().identity, None);
    table.scan(seconds(start, 9)).unwrap();
    assert!(table.get(8).unwrap().identity.is_some());
}

#[test]
fn an_old_stranger_that_slept_is_looked_at_every_five_minutes_and_one_that_ran_at_once() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.file("uptime", "1000.50 900.00\n");
    for pid in [8, 16] {
        proc.process(pid, 1, "bash", 'S', &["bash"]);
    }
    let mut table = table(&proc);
    table.scan(start).unwrap();
    // One runs and becomes an engine under its old name; of the other we pretend that it can without running.
    for pid in [8, 16] {
        proc.file(&format!("{pid}/cmdline"), "engine\0");
    }
    let started = |pid: u32| 100 + u64::from(pid);
    proc.stat(8, 1, "bash", 'S', started(8), (7, 0), 0);
    table.scan(seconds(start, 61)).unwrap();
    assert!(table.get(8).unwrap().identity.is_some());
    assert_eq!(table.get(16).unwrap().identity, None);
    // It runs, too, and its next look finds it.
    proc.stat(16, 1, "bash", 'S', started(16), (7, 0), 0);
    table.scan(seconds(start, 360)).unwrap();
    assert_eq!(table.get(16).unwrap().identity, None);
    table.scan(seconds(start, 361)).unwrap();
    assert!(table.get(16).unwrap().identity.is_some());
}

#[test]
fn a_pid_that_is_anothers_by_now_is_another_process() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.file("uptime", "1000.50 900.00\n");
    proc.process(10, 1, "a", 'S', &["engine"]);
    let mut table = table(&proc);
    table.scan(start).unwrap();
    proc.started(10, 1, "a", 'S', &["stranger"], 999);
    table.scan(seconds(start, 4)).unwrap();
    assert_eq!(table.get(10).unwrap().identity, None);
    assert_eq!(table.get(10).unwrap().start_ticks, 999);
}

#[test]
fn a_process_that_ended_is_forgotten() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.process(10, 1, "a", 'S', &["engine"]);
    let mut table = table(&proc);
    table.scan(start).unwrap();
    proc.remove(10);
    table.scan(seconds(start, 4)).unwrap();
    assert_eq!(table.iter().count(), 0);
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let mut table = ProcessTable::new(Path::new("/nonexistent"), identify);
    assert!(table.scan(Instant::now()).is_err());
}

/// Makes it a /proc that shows this process, where `last` is the number given out last.
fn gave_out(proc: &FakeProc, last: u32) {
    let own = proc.path().join("self");
    let _ = std::os::unix::fs::symlink(std::process::id().to_string(), own);
    proc.file("loadavg", format!("0.10 0.20 0.30 2/345 {last}\n"));
}

/// A process, or a thread of `group`.
fn runs(proc: &FakeProc, pid: u32, group: u32, command: &str) {
    proc.process(pid, 1, "python", 'S', &[command]);
    proc.file(
        &format!("{pid}/status"),
        format!("Name:\tx\nTgid:\t{group}\n"),
    );
}

#[test]
fn between_two_listings_new_processes_are_found_by_their_numbers() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.file("uptime", "1000.50 900.00\n");
    gave_out(&proc, 20);
    runs(&proc, 10, 10, "engine::old");
    let mut table = table(&proc);
    table.scan(start).unwrap();
    runs(&proc, 21, 21, "engine::new");
    // Not among the numbers: nobody sees it before the next listing.
    runs(&proc, 15, 15, "engine::missed");
    // A thread has files, too.
    runs(&proc, 22, 10, "engine::thread");
    gave_out(&proc, 23);
    table.scan(seconds(start, 4)).unwrap();
    let pids = |table: &ProcessTable<String>| table.iter().map(|it| it.pid).collect::<Vec<_>>();
    assert_eq!(pids(&table), [10, 21]);
    proc.remove(22);
    table.scan(seconds(start, 64)).unwrap();
    assert_eq!(pids(&table), [10, 15, 21]);
}

#[test]
fn between_two_listings_who_is_recognised_and_ended_is_forgotten_and_numbers_pass_on() {
    let (proc, start) = (FakeProc::new(), Instant::now());
    proc.file("uptime", "1000.50 900.00\n");
    gave_out(&proc, 20);
    runs(&proc, 10, 10, "engine::old");
    runs(&proc, 12, 12, "bash");
    let mut table = table(&proc);
    table.scan(start).unwrap();
    proc.remove(10);
    gave_out(&proc, 20);
    table.scan(seconds(start, 4)).unwrap();
    assert!(table.get(10).is_none() && table.get(12).is_some());
    // Its number has come round again, and is an engine's by now.
    proc.remove(12);
    runs(&proc, 12, 12, "engine::new");
    gave_out(&proc, 11);
    table.scan(seconds(start, 8)).unwrap();
    gave_out(&proc, 12);
    proc.stat(12, 1, "python", 'S', 5000, (0, 0), 0);
    table.scan(seconds(start, 12)).unwrap();
    let identity = table.get(12).unwrap().identity.as_deref();
    assert_eq!(identity, Some("engine::new"));
}
