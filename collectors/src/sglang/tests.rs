use super::*;
use crate::config::Dirs;
use crate::processes::tests::FakeProc;

const STOCK: &str = include_str!("../../../conf.d/rs.d/sglang.conf");

fn options(text: &str) -> anyhow::Result<Options> {
    let dir = tempfile::tempdir()?;
    std::fs::create_dir(dir.path().join("rs.d"))?;
    std::fs::write(dir.path().join("rs.d/sglang.conf"), text)?;
    let dirs = Dirs {
        user: Some(dir.path().to_owned()),
        stock: None,
    };
    dirs.read("rs.d/sglang.conf")
}

fn finder(proc: &FakeProc, update_every: u32) -> Finder {
    let context = Context {
        proc_root: proc.path().to_owned(),
        host_probe: Arc::new(HostProbe::new(None)),
        gpu_usage: Arc::default(),
        update_every,
        config: Dirs::default(),
    };
    Finder::new(&context, Options::default())
}

fn names(finder: &mut Finder) -> Vec<String> {
    let jobs = finder.discover().unwrap();
    jobs.into_iter().map(|job| job.name).collect()
}

#[test]
fn the_stock_file_names_every_option_with_its_default_and_an_example_of_thresholds() {
    // A comment has one blank, a key of `slo` two.
    let is_option =
        |line: &&str| line.starts_with('#') && (!line.starts_with("# ") || line.starts_with("#  "));
    let set: Vec<_> = STOCK.lines().filter(is_option).map(|it| &it[1..]).collect();
    let slo = slo::Slo {
        ttft_ms: Some(500.0),
        itl_ms: Some(50.0),
        e2e_ms: Some(30_000.0),
        objective: Some(99.0),
    };
    let example = Options {
        slo,
        ..Options::default()
    };
    assert_eq!(options(&set.join("\n")).unwrap(), example);
    assert_eq!(options(STOCK).unwrap(), Options::default());
}

#[test]
fn a_mistake_names_its_line() {
    for text in [
        "update_every: 5\ntimout: 2\n",
        "timeout: 3\nwindow: 0\n",
        "slo:\n  ttft_ms: 0\n",
        "slo:\n  objective: 101\n",
        "slo:\n  ttft: 5\n",
    ] {
        let error = format!("{:#}", options(text).unwrap_err());
        assert!(error.contains("sglang.conf: line 2"), "{error}");
    }
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
