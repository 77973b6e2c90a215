use super::*;
use crate::config::Source;
use crate::engine::Census;
use crate::processes::tests::FakeProc;

fn finder(proc: &FakeProc, update_every: u32) -> Finder {
    let context = Context {
        proc_root: proc.path().to_owned(),
        census: Arc::new(Census::new(proc.path())),
        host_probe: Arc::new(HostProbe::new(None)),
        gpu_usage: Arc::default(),
        inference: Arc::default(),
        config: Source {
            update_every,
            ..Source::default()
        },
    };
    Finder::new(&context)
}

fn names(finder: &mut Finder) -> Vec<String> {
    let jobs = finder.discover().unwrap();
    jobs.into_iter().map(|job| job.name).collect()
}

#[test]
fn every_server_has_a_job_named_by_its_address() {
    let proc = FakeProc::new();
    let launch = ["python", "-m", "sglang.launch_server", "--port", "30001"];
    proc.process(10, 1, "python", 'S', &launch);
    proc.process(11, 10, "sglang::schedul", 'S', &["sglang::scheduler"]);
    proc.process(
        20,
        1,
        "sglang",
        'S',
        &["python", "/usr/bin/sglang", "serve", "m"],
    );
    let mut finder = finder(&proc, 1);
    assert_eq!(names(&mut finder), ["127.0.0.1:30000", "127.0.0.1:30001"]);
    assert_eq!(finder.servers.get("127.0.0.1:30001").unwrap().pid, 10);
    proc.remove(10);
    assert_eq!(names(&mut finder), ["127.0.0.1:30000"]);
    assert!(finder.servers.get("127.0.0.1:30001").is_none());
}

#[test]
fn of_two_servers_on_one_port_the_older_has_the_job() {
    let proc = FakeProc::new();
    let launch = |host| ["python", "-m", "sglang.launch_server", "--host", host];
    proc.started(10, 1, "python", 'S', &launch("0.0.0.0"), 900);
    proc.started(20, 1, "python", 'S', &launch("::1"), 500);
    let mut finder = finder(&proc, 1);
    assert_eq!(names(&mut finder), ["[::1]:30000"]);
}

/// A process of another user, older than all others.
fn impostor(proc: &FakeProc, pid: u32, argv: &[&str]) {
    proc.started(pid, 1, "python", 'S', argv, 1);
    let theirs = "Name:\tx\nUid:\t1001\t1001\t1001\t1001\n";
    proc.file(&format!("{pid}/status"), theirs);
}

#[test]
fn an_impostor_takes_no_job_from_the_server_whose_port_it_claims() {
    let proc = FakeProc::new();
    let launch = ["python", "-m", "sglang.launch_server", "--port", "30001"];
    impostor(&proc, 10, &launch);
    // Its title claims nothing, and its child is nobody's.
    impostor(&proc, 11, &["sglang::scheduler_TP0"]);
    let elsewhere = [&launch[..], &["--host", "127.0.0.1"]].concat();
    proc.process(20, 1, "python", 'S', &elsewhere);
    proc.listen(&[30001]);
    let mut finder = finder(&proc, 1);
    assert_eq!(names(&mut finder), ["127.0.0.1:30001"]);
    let server = finder.servers.get("127.0.0.1:30001").unwrap();
    assert_eq!((server.pid, server.members.len()), (20, 1));
    // Nor where it claims the charts under another address.
    let other = [&launch[..], &["--host", "::1"]].concat();
    impostor(&proc, 12, &other);
    assert_eq!(names(&mut finder), ["127.0.0.1:30001"]);
    assert_eq!(finder.servers.get("127.0.0.1:30001").unwrap().pid, 20);
}

#[test]
fn the_interval_is_never_shorter_than_the_plugins() {
    let proc = FakeProc::new();
    proc.process(
        10,
        1,
        "python",
        'S',
        &["python", "-m", "sglang.launch_server"],
    );
    let every = |plugins| finder(&proc, plugins).discover().unwrap()[0].update_every;
    assert_eq!((every(1), every(10)), (5, 10));
}
