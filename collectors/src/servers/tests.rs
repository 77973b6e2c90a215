//! The module over a made-up /proc: what is charted, and what a tick without a past leaves out.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::chart::{Chart, LabelSource};
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector as _, Tick};

use super::Processes;
use super::charts::{PROCESS_CPU, PROCESS_MEMORY, PROCESSES};
use super::energy::{Energy, Prices};
use super::watch::Watch;
use crate::config::Selection;
use crate::engine::{Census, Role};
use crate::host_probe::HostProbe;
use crate::processes::tests::FakeProc;
use crate::processes::{page_bytes, ticks_per_second};

const OWN_UID: u32 = 1000;
const SERVER: &[&str] = &[
    "python",
    "-m",
    "sglang.launch_server",
    "--model-path",
    "/models/tiny-llama",
];
const MAIN: u32 = 10;
const SCHEDULERS: [u32; 2] = [11, 12];
const DETOKENIZER: u32 = 13;
const HELPER: u32 = 14;

fn job(proc_root: &Path) -> Processes {
    let no_probe = Arc::new(HostProbe::new(None));
    let census = Arc::new(Census::new(proc_root));
    Processes {
        watch: Watch::new(census, OWN_UID, no_probe, Selection::default()),
        energy: Energy::new(Arc::default(), Arc::default(), Prices::default()),
        inference: Arc::default(),
    }
}

/// A host, the job on it, and what the job said last.
struct Host {
    proc: FakeProc,
    job: Processes,
    frame: Frame,
    start: Instant,
}

impl Host {
    /// Without any process.
    fn new() -> Self {
        let proc = FakeProc::new();
        proc.passwd("root:x:0:0::/:\nmarie:x:1000:1000::/:\nnobody:x:65534:65534::/:\n");
        Self {
            job: job(proc.path()),
            proc,
            frame: Frame::default(),
            start: Instant::now(),
        }
    }

    /// With a server of two ranks on port 30000, which has used nothing yet.
    fn with_server() -> Self {
        let host = Self::new();
        let proc = &host.proc;
        proc.process(1, 0, "init", 'S', &["init"]);
        proc.process(MAIN, 1, "python", 'S', SERVER);
        proc.process(
            11,
            MAIN,
            "sglang::schedul",
            'R',
            &["sglang::scheduler_TP0", ""],
        );
        proc.process(12, MAIN, "sglang::schedul", 'R', &["sglang::scheduler_TP1"]);
        proc.process(13, MAIN, "sglang::detoken", 'S', &["sglang::detokenizer"]);
        proc.process(
            14,
            MAIN,
            "python",
            'S',
            &["python", "-c", "from multiprocessing"],
        );
        host
    }

    /// Sets the clock ticks that a process has used in all, in user mode and in the kernel.
    fn uses(&self, pid: u32, cpu_ticks: (u64, u64)) {
        self.stat(pid, 100 + u64::from(pid), cpu_ticks, 0);
    }

    fn stat(&self, pid: u32, start_ticks: u64, cpu_ticks: (u64, u64), rss_pages: u64) {
        let comm = if pid == MAIN { "python" } else { "child" };
        let ppid = if pid == MAIN { 1 } else { MAIN };
        self.proc
            .stat(pid, ppid, comm, 'S', start_ticks, cpu_ticks, rss_pages);
    }

    /// Ticks `seconds` after the start.
    fn tick(&mut self, seconds: u64) {
        self.frame.clear();
        let tick = Tick {
            now: self.start + Duration::from_secs(seconds),
            every: Duration::from_secs(1),
            count: seconds,
        };
        self.job.collect(tick, &mut self.frame).unwrap();
    }

    fn value(&self, id: &str, chart: &'static Chart, dim: &str) -> Option<f64> {
        let mut charts = self.frame.charts().filter(|recorded| {
            let instance = recorded.instance();
            recorded.chart() == chart
                && format!("{}.{}", instance.chart_type, instance.prefix) == id
        });
        let found = charts.next()?;
        assert!(charts.next().is_none(), "{id} is charted twice");
        found
            .values()
            .find(|(name, _)| *name == dim)
            .and_then(|(_, value)| value)
    }

    fn cpu(&self, role: Role) -> (Option<f64>, Option<f64>) {
        let id = format!("server_30000.{}_", role.name());
        let dim = |dim| self.value(&id, &PROCESS_CPU, dim);
        (dim("user"), dim("system"))
    }

    fn resident(&self, role: Role) -> Option<f64> {
        let id = format!("server_30000.{}_", role.name());
        self.value(&id, &PROCESS_MEMORY, "resident")
    }

    fn count(&self, role: Role) -> Option<f64> {
        self.value("server_30000.", &PROCESSES, role.name())
    }

    fn labels(&self) -> Vec<(String, String)> {
        let recorded = self.frame.charts().next().expect("a chart");
        let labels = recorded.instance().labels.iter();
        labels
            .inspect(|label| assert_eq!(label.source, LabelSource::Auto))
            .map(|label| (label.key.to_string(), label.value.clone()))
            .collect()
    }

    fn label(&self, key: &str) -> String {
        let labels = self.labels();
        let found = labels.into_iter().find(|(its, _)| its == key);
        found.expect("the label").1
    }
}

/// Clock ticks of `percent` of a core in a second.
fn ticks(percent: u64) -> u64 {
    percent * ticks_per_second() / 100
}

const NOTHING: (Option<f64>, Option<f64>) = (None, None);
const IDLE: (Option<f64>, Option<f64>) = (Some(0.0), Some(0.0));

#[test]
fn cpu_is_summed_by_role_and_begins_with_a_gap() {
    let mut host = Host::with_server();
    for pid in SCHEDULERS {
        host.uses(pid, (5000, 700));
    }
    host.tick(0);
    assert_eq!(host.cpu(Role::Scheduler), NOTHING);
    host.uses(11, (5000 + ticks(100), 700));
    host.uses(12, (5000 + ticks(60), 700 + ticks(30)));
    host.uses(MAIN, (ticks(20), ticks(10)));
    host.tick(1);
    assert_eq!(host.cpu(Role::Scheduler), (Some(160.0), Some(30.0)));
    assert_eq!(host.cpu(Role::Main), (Some(20.0), Some(10.0)));
    assert_eq!(host.cpu(Role::Detokenizer), IDLE);
    assert_eq!(host.cpu(Role::Helper), IDLE);
    assert_eq!(host.cpu(Role::DpController), NOTHING);
    // A skipped tick: the same rate over two seconds.
    host.uses(MAIN, (ticks(60), ticks(30)));
    host.tick(3);
    assert_eq!(host.cpu(Role::Main), (Some(20.0), Some(10.0)));
}

#[test]
fn memory_is_bytes_summed_by_role() {
    let mut host = Host::with_server();
    host.stat(11, 111, (0, 0), 1000);
    host.stat(12, 112, (0, 0), 500);
    host.tick(0);
    let page = f64::from(u32::try_from(page_bytes()).unwrap());
    assert_eq!(host.resident(Role::Scheduler), Some(1500.0 * page));
    assert_eq!(host.resident(Role::Main), Some(0.0));
    assert_eq!(host.resident(Role::Router), None);
}

#[test]
fn a_process_that_vanishes_leaves_the_others_as_they_were() {
    let mut host = Host::with_server();
    for pid in SCHEDULERS {
        host.uses(pid, (9000, 0));
    }
    host.tick(0);
    host.proc.remove(12);
    host.uses(11, (9000 + ticks(100), 0));
    host.tick(1);
    assert_eq!(host.cpu(Role::Scheduler), (Some(100.0), Some(0.0)));
    assert_eq!(host.count(Role::Scheduler), Some(1.0));
    assert_eq!(host.count(Role::Main), Some(1.0));
}

#[test]
fn a_new_process_adds_nothing_until_it_was_seen_twice() {
    let mut host = Host::with_server();
    host.tick(0);
    host.proc
        .process(15, MAIN, "sglang::schedul", 'R', &["sglang::scheduler_TP2"]);
    host.uses(15, (90_000, 90_000));
    // Noticed by the scan at the end of this tick, so read for the first time in the next.
    host.tick(5);
    assert_eq!(host.count(Role::Scheduler), Some(2.0));
    host.uses(11, (ticks(50), 0));
    host.tick(6);
    assert_eq!(host.count(Role::Scheduler), Some(3.0));
    assert_eq!(host.cpu(Role::Scheduler), (Some(50.0), Some(0.0)));
    host.uses(15, (90_000 + ticks(70), 90_000));
    host.tick(7);
    assert_eq!(host.cpu(Role::Scheduler), (Some(70.0), Some(0.0)));
}

#[test]
fn a_reused_pid_is_another_process() {
    let mut host = Host::with_server();
    host.tick(0);
    // A stranger takes the pid of the detokenizer, then a new detokenizer that of the helper.
    host.stat(DETOKENIZER, 7777, (500_000, 0), 9);
    host.tick(1);
    assert_eq!(host.cpu(Role::Detokenizer), NOTHING);
    assert_eq!(host.resident(Role::Detokenizer), None);
    assert_eq!(host.count(Role::Detokenizer), Some(0.0));
    host.proc.started(
        HELPER,
        MAIN,
        "sglang::detoken",
        'S',
        &["sglang::detokenizer"],
        8888,
    );
    host.stat(HELPER, 8888, (700_000, 0), 9);
    host.tick(5);
    host.tick(6);
    assert_eq!(host.cpu(Role::Detokenizer), NOTHING);
    host.stat(HELPER, 8888, (700_000 + ticks(5), 0), 9);
    host.tick(7);
    assert_eq!(host.cpu(Role::Detokenizer).0, Some(5.0));
}

#[test]
fn a_child_keeps_its_past_when_it_gets_its_title() {
    let mut host = Host::with_server();
    host.uses(HELPER, (1000, 0));
    host.tick(0);
    host.proc.process(
        HELPER,
        MAIN,
        "sglang::schedul",
        'R',
        &["sglang::scheduler_TP2"],
    );
    host.uses(HELPER, (1000, 0));
    host.tick(5);
    host.uses(HELPER, (1000 + ticks(40), 0));
    host.tick(6);
    assert_eq!(host.cpu(Role::Scheduler), (Some(40.0), Some(0.0)));
    assert_eq!(host.cpu(Role::Helper), NOTHING);
    assert_eq!(host.count(Role::Helper), Some(0.0));
}

#[test]
fn a_server_that_ended_is_charted_no_more() {
    let mut host = Host::with_server();
    host.tick(0);
    assert!(host.frame.charts().count() > 9);
    for pid in MAIN..=HELPER {
        host.proc.remove(pid);
    }
    for seconds in [2, 5, 6] {
        host.tick(seconds);
        assert_eq!(host.frame.charts().count(), 0, "after {seconds} s");
    }
}

#[test]
fn the_labels_say_whose_server_it_is_and_which() {
    let mut host = Host::with_server();
    host.tick(0);
    let expected = [
        ("server", "127.0.0.1:30000"),
        ("engine", "sglang"),
        ("model", "tiny-llama"),
        ("user", "marie"),
    ];
    assert_eq!(
        host.labels(),
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    let roles: Vec<_> = host
        .frame
        .charts()
        .filter(|recorded| *recorded.chart() == PROCESS_CPU)
        .filter_map(|recorded| recorded.instance().labels.last())
        .map(|label| (label.key.to_string(), label.value.clone()))
        .collect();
    let expected = ["main", "scheduler", "detokenizer", "helper"]
        .map(|role| ("role".to_owned(), role.to_owned()));
    assert_eq!(roles, expected);
}

#[test]
fn a_user_that_the_namespace_hides_is_unknown_and_another_is_other() {
    for (uid, name) in [(65534, "unknown"), (0, "other"), (1000, "marie")] {
        let mut host = Host::with_server();
        let status = format!("Name:\tpython\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
        host.proc.file(&format!("{MAIN}/status"), status);
        host.tick(0);
        assert_eq!(host.label("user"), name);
    }
}

#[test]
fn a_role_is_not_dropped_and_its_past_not_lost_when_the_labels_change() {
    let mut host = Host::with_server();
    host.tick(0);
    host.proc
        .file(&format!("{MAIN}/status"), "Uid:\t0\t65534\t0\t0\n");
    host.tick(5);
    host.uses(11, (ticks(100), 0));
    host.tick(6);
    assert_eq!(host.label("user"), "unknown");
    assert_eq!(host.cpu(Role::Scheduler), (Some(100.0), Some(0.0)));
}

#[test]
fn of_two_that_claim_one_address_our_users_is_charted() {
    let mut host = Host::with_server();
    // Older, and somebody else's.
    let impostor = ["python", "-m", "sglang.launch_server", "--model", "other"];
    host.proc.started(5, 1, "python", 'S', &impostor, 50);
    host.proc.file("5/status", "Uid:\t1001\t1001\t1001\t1001\n");
    host.tick(0);
    assert_eq!(host.count(Role::Main), Some(1.0));
    assert_eq!(host.label("model"), "tiny-llama");
}

#[test]
fn a_server_off_loopback_has_its_host_in_its_name() {
    let mut host = Host::new();
    let argv = [SERVER, &["--host", "10.1.2.3", "--port", "31000"]].concat();
    host.proc.process(MAIN, 1, "python", 'S', &argv);
    host.tick(0);
    assert_eq!(
        host.value("server_10_1_2_3_31000.", &PROCESSES, "main"),
        Some(1.0)
    );
    assert_eq!(host.label("server"), "10.1.2.3:31000");
}

#[test]
fn a_host_without_servers_has_no_charts_and_no_error() {
    let mut host = Host::new();
    host.proc.process(1, 0, "init", 'S', &["init"]);
    host.tick(0);
    host.tick(1);
    assert_eq!(host.frame.charts().count(), 0);
}

#[test]
fn a_proc_that_cannot_be_listed_is_an_error_that_names_it() {
    let mut host = Host::with_server();
    host.job = job("/nonexistent/proc".as_ref());
    let tick = Tick {
        now: host.start,
        every: Duration::from_secs(1),
        count: 0,
    };
    let error = host.job.collect(tick, &mut host.frame).unwrap_err();
    assert!(
        format!("{error:#}").contains("/nonexistent/proc"),
        "{error:#}"
    );
}
