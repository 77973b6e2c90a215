use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::super::by_name;
use super::super::charts::requests::REQUESTS_IN_FLIGHT;
use super::super::charts::state::{SERVER_ENDS, SERVER_STATE};
use super::super::charts::tokens::TOKEN_THROUGHPUT;
use super::*;
use crate::engine::{Processes, identify, trees};
use crate::processes::tests::FakeProc;

/// A server on loopback that answers every request with one page.
struct Site {
    port: u16,
    answer: Arc<Mutex<(u16, String)>>,
    requests: Arc<AtomicUsize>,
    /// Whether each answer ends its connection.
    closes: Arc<AtomicBool>,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Self {
            port: listener.local_addr().unwrap().port(),
            answer: Arc::default(),
            requests: Arc::default(),
            closes: Arc::default(),
        };
        let (answer, requests) = (Arc::clone(&site.answer), Arc::clone(&site.requests));
        let closes = Arc::clone(&site.closes);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(&stream).lines();
                while lines
                    .by_ref()
                    .map_while(Result::ok)
                    .any(|line| line.is_empty())
                {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let (status, page) = answer.lock().unwrap().clone();
                    let len = page.len();
                    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\n\r\n");
                    (&stream).write_all((head + &page).as_bytes()).unwrap();
                    if closes.load(Ordering::SeqCst) {
                        break;
                    }
                }
            }
        });
        site
    }

    fn answers(&self, status: u16, page: &str) {
        *self.answer.lock().unwrap() = (status, page.to_owned());
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A collector of the server on `port`, with the process that /proc shows for it.
struct Rig {
    proc: FakeProc,
    servers: Arc<Servers>,
    collector: ServerCollector,
    port: u16,
    /// Arguments that it was started with besides.
    more: &'static [&'static str],
    start: Instant,
}

impl Rig {
    fn new(port: u16) -> Self {
        Self::with(port, &[])
    }

    fn with(port: u16, more: &'static [&'static str]) -> Self {
        let (proc, servers) = (FakeProc::new(), Arc::<Servers>::default());
        let mut collector = ServerCollector::new(
            format!("127.0.0.1:{port}"),
            Arc::clone(&servers),
            proc.path().to_owned(),
            Arc::new(HostProbe::new(None)),
            Options::default(),
            Arc::default(),
            Arc::default(),
        );
        // As whom the processes of `FakeProc` run.
        collector.own_uid = 1000;
        let rig = Self {
            proc,
            servers,
            collector,
            port,
            more,
            start: Instant::now(),
        };
        rig.runs_as(10, 'S');
        rig
    }

    /// The server is process `pid`; its scheduler is in `state`.
    fn runs_as(&self, pid: u32, state: char) {
        let port = self.port.to_string();
        let argv = ["python", "-m", "sglang.launch_server", "--port", &port];
        let argv = [&argv[..], self.more].concat();
        self.proc.process(pid, 1, "python", 'S', &argv);
        let title = ["sglang::scheduler"];
        self.proc
            .process(pid + 1, pid, "sglang::schedul", state, &title);
        let mut processes = Processes::new(self.proc.path(), identify);
        processes.scan(Instant::now()).unwrap();
        self.servers.replace(by_name(trees(&processes)));
    }

    fn tick(&mut self, second: u64) -> (String, Frame) {
        let tick = Tick {
            now: self.start + Duration::from_secs(second),
            every: Duration::from_secs(5),
            count: second / 5,
        };
        let mut frame = Frame::default();
        self.collector.collect(tick, &mut frame).unwrap();
        let recorded = frame.charts().find(|it| *it.chart() == SERVER_STATE);
        let is_one =
            |(name, value): (&str, Option<f64>)| (value == Some(1.0)).then(|| name.to_owned());
        let states: Vec<_> = recorded.unwrap().values().filter_map(is_one).collect();
        (states.join(" and "), frame)
    }

    /// The server's processes are gone.
    fn ends(&self) {
        let entries = std::fs::read_dir(self.proc.path()).unwrap().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            self.proc.remove(pid);
        }
        self.servers.replace(by_name(vec![]));
    }

    /// What `server_ends` counts on a tick without a server.
    fn ended(&mut self, second: u64) -> Result<String, String> {
        let tick = Tick {
            now: self.start + Duration::from_secs(second),
            every: Duration::from_secs(5),
            count: second / 5,
        };
        let mut frame = Frame::default();
        self.collector
            .collect(tick, &mut frame)
            .map_err(|error| error.to_string())?;
        assert_eq!(charts(&frame), 1);
        Ok(ends(&frame))
    }

    fn state(&mut self, second: u64) -> String {
        self.tick(second).0
    }
}

const PAGE: &str = "sglang:num_running_reqs{engine_type=\"unified\"} 3\n\
    sglang:realtime_tokens_total{mode=\"decode\"} 500\n";

fn ends(frame: &Frame) -> String {
    let recorded = frame.charts().find(|it| *it.chart() == SERVER_ENDS);
    let counts = recorded.unwrap().values().map(|(name, count)| {
        let count = count.unwrap();
        (count > 0.0).then(|| format!("{name} {count}"))
    });
    counts.flatten().collect::<Vec<_>>().join(", ")
}

fn charts(frame: &Frame) -> usize {
    frame.charts().count()
}

fn has(frame: &Frame, chart: &netdata_plugin::chart::Chart, dim: &str) -> Option<f64> {
    let recorded = frame.charts().find(|it| it.chart() == chart)?;
    recorded.values().find(|(name, _)| *name == dim)?.1
}

#[test]
fn a_server_with_metrics_is_ready_and_has_them_on_the_first_tick() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    let (state, frame) = rig.tick(0);
    assert_eq!(state, "ready");
    assert_eq!(has(&frame, &REQUESTS_IN_FLIGHT, "running"), Some(3.0));
    assert_eq!(has(&frame, &TOKEN_THROUGHPUT, "decode"), None);
    let (_, frame) = rig.tick(5);
    assert_eq!(has(&frame, &TOKEN_THROUGHPUT, "decode"), Some(0.0));
}

#[test]
fn a_server_without_metrics_is_asked_once_a_minute() {
    let site = Site::start();
    site.answers(404, "{}");
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    for second in [0, 5, 10, 50] {
        let (state, frame) = rig.tick(second);
        assert_eq!((state.as_str(), charts(&frame)), ("no_metrics", 2));
        let mut charts = frame.charts();
        let recorded = charts.find(|it| *it.chart() == SERVER_STATE).unwrap();
        let mut labels = recorded.instance().labels.iter();
        let label = labels.find(|label| label.key == "start_with_metrics");
        let expected = format!(
            "python3 -m sglang.launch_server ... --port {} --enable-metrics",
            site.port
        );
        assert_eq!(label.unwrap().value, expected);
    }
    assert_eq!(site.requests(), 1);
    assert_eq!(rig.state(70), "no_metrics");
    assert_eq!(site.requests(), 2);
}

#[test]
fn a_server_restarted_with_metrics_is_asked_at_once() {
    let site = Site::start();
    site.answers(404, "{}");
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    assert_eq!(rig.state(0), "no_metrics");
    site.answers(200, PAGE);
    rig.proc.remove(10);
    rig.proc.remove(11);
    rig.runs_as(20, 'S');
    assert_eq!(rig.state(5), "ready");
}

#[test]
fn a_port_that_nobody_listens_on_is_not_contacted() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    assert_eq!(rig.state(0), "starting");
    assert_eq!(site.requests(), 0);
    rig.proc.listen(&[site.port]);
    assert_eq!(rig.state(5), "ready");
    // Its connection is its own, whatever listens by now.
    rig.proc.listen(&[]);
    site.closes.store(true, Ordering::SeqCst);
    assert_eq!(rig.state(10), "ready");
    assert_eq!(rig.state(15), "unreachable");
    assert_eq!(site.requests(), 2);
}

#[test]
fn another_users_port_is_not_contacted() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    let line = format!("0: 0100007F:{:04X} 0:0 0A 0:0 0:0 0 1001 0 1\n", site.port);
    rig.proc.file("self/net/tcp", line);
    assert_eq!(rig.state(0), "unreachable");
    assert_eq!(site.requests(), 0);
}

#[test]
fn an_error_of_the_servers_is_unreachable_and_the_next_page_a_gap() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    rig.tick(0);
    site.answers(503, "busy");
    let (state, frame) = rig.tick(5);
    assert_eq!((state.as_str(), charts(&frame)), ("unreachable", 2));
    site.answers(200, PAGE);
    let (state, frame) = rig.tick(10);
    assert_eq!(state, "ready");
    assert_eq!(has(&frame, &TOKEN_THROUGHPUT, "decode"), None);
}

#[test]
fn a_stopped_scheduler_is_a_stall_although_the_page_is_answered() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    assert_eq!(rig.state(0), "ready");
    rig.runs_as(10, 'T');
    assert_eq!(rig.state(5), "ready");
    assert_eq!(rig.state(10), "stalled");
}

#[test]
fn a_server_that_ended_is_an_error_that_names_it() {
    let mut rig = Rig::new(30000);
    rig.servers.replace(by_name(vec![]));
    let tick = Tick {
        now: rig.start,
        every: Duration::from_secs(5),
        count: 0,
    };
    let error = rig.collector.collect(tick, &mut Frame::default());
    let error = error.unwrap_err().to_string();
    assert_eq!(error, "the server on 127.0.0.1:30000 has ended");
}

#[test]
fn a_server_that_dies_with_requests_is_charted_for_an_hour() {
    let site = Site::start();
    site.answers(200, &PAGE.replace("500", "600"));
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    assert_eq!(ends(&rig.tick(0).1), "");
    site.answers(200, PAGE);
    rig.tick(5);
    rig.ends();
    assert_eq!(rig.ended(10), Ok("with_requests 1".to_owned()));
    assert_eq!(rig.ended(3605), Ok("with_requests 1".to_owned()));
    assert_eq!(rig.ended(3610), Ok(String::new()));
    let gone = format!("the server on 127.0.0.1:{} has ended", site.port);
    assert_eq!(rig.ended(3670), Err(gone));
}

#[test]
fn a_planned_stop_is_told_from_a_death_although_the_gauges_are_stale() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    rig.tick(0);
    rig.tick(5);
    rig.ends();
    assert_eq!(rig.ended(10), Ok("idle 1".to_owned()));
}

#[test]
fn a_process_that_follows_another_on_the_same_port_ends_it() {
    let site = Site::start();
    site.answers(404, "{}");
    let mut rig = Rig::new(site.port);
    for pid in [20, 30, 40] {
        rig.tick(u64::from(pid));
        rig.proc.remove(pid - 10);
        rig.proc.remove(pid - 9);
        rig.runs_as(pid, 'S');
    }
    rig.proc.listen(&[site.port]);
    assert_eq!(ends(&rig.tick(45).1), "starting 3");
    rig.ends();
    assert_eq!(rig.ended(50), Ok("starting 3, unknown 1".to_owned()));
}

#[test]
fn another_users_server_that_ends_is_not_counted() {
    let mut rig = Rig::new(30000);
    rig.collector.own_uid = 1;
    rig.tick(0);
    rig.ends();
    assert!(rig.ended(5).is_err());
}

#[test]
fn a_stalled_server_that_is_ended_lost_no_more_than_was_told() {
    let site = Site::start();
    site.answers(200, PAGE);
    let mut rig = Rig::new(site.port);
    rig.proc.listen(&[site.port]);
    rig.tick(0);
    rig.runs_as(10, 'T');
    rig.tick(5);
    assert_eq!(rig.state(10), "stalled");
    rig.ends();
    assert_eq!(rig.ended(15), Ok("stalled 1".to_owned()));
}

#[test]
fn a_server_that_is_found_under_another_address_has_not_ended() {
    let mut rig = Rig::new(30000);
    rig.tick(0);
    // Its socket was seen: from now on it goes by that, and its process lives on.
    rig.servers.replace(by_name(vec![]));
    assert!(rig.ended(5).is_err());
}

#[path = "collector_beside_tests.rs"]
mod beside;
