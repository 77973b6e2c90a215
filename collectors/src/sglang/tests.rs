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
