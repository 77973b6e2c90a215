//! Commands, and what a client of the server sees of them.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::fake::{Fake, eventually, fixture, parent_and_state, proc_file, samples};

#[test]
fn requests_are_counted_by_path_and_unknown_ones_refused() {
    let fake = Fake::start("0.5.23", &["--model", "m"]);
    assert_eq!(
        fake.get("/nope"),
        (404, "{\"detail\":\"Not Found\"}".to_owned())
    );
    assert!(fake.get("/v1/models").1.contains("\"id\":\"m\""));
    assert_eq!(fake.get("/health").0, 200);
    assert_eq!(fake.get("/metrics?x=1").0, 200);
    assert_eq!(
        fake.ask("requests"),
        r#"{"/health":1,"/metrics":1,"/nope":1,"/v1/models":1}"#
    );
}

#[test]
fn a_server_without_metrics_has_no_such_page_and_does_not_ask_for_it() {
    let fake = Fake::start("0.5.23", &["--no-metrics"]);
    assert_eq!(
        fake.get("/metrics"),
        (404, "{\"detail\":\"Not Found\"}".to_owned())
    );
    assert_eq!(fake.get("/v1/models").0, 200);
    let argv = proc_file(fake.pids("server")[0], "cmdline").unwrap();
    assert!(!argv.contains("--enable-metrics"), "{argv}");
}

#[test]
fn captured_endpoints_answer_as_captured_and_ask_for_the_key() {
    let fake = Fake::start("0.5.23", &["--api-key", "k"]);
    assert_eq!(fake.get("/v1/loads").0, 401);
    let mut stream = TcpStream::connect(("127.0.0.1", fake.port)).unwrap();
    write!(
        stream,
        "GET /v1/loads HTTP/1.0\r\nAuthorization: Bearer k\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let captured = fs::read_to_string(fixture("0.5.23").join("v1_loads_load_t0.json")).unwrap();
    assert!(answer.ends_with(&format!("\r\n\r\n{captured}")), "{answer}");
    assert_eq!(fake.get("/metrics").0, 200);
}

#[test]
fn a_server_that_loads_listens_when_it_is_told_to() {
    let fake = Fake::start("0.5.23", &[]);
    let old = fake.pids("server");
    fake.tell("restart loading");
    assert!(TcpStream::connect(("127.0.0.1", fake.port)).is_err());
    let pids = fake.pids("server");
    assert_ne!(pids, old);
    fake.tell("listen");
    eventually("it listens", || {
        TcpStream::connect(("127.0.0.1", fake.port)).is_ok()
    });
    assert_eq!(fake.get("/metrics").0, 200);
    assert_eq!(fake.pids("server"), pids);
    assert!(fake.ask("listen").starts_with("error: "));
}

#[test]
fn a_killed_server_leaves_no_process_and_comes_back_on_command() {
    let fake = Fake::start("0.5.23", &[]);
    let tree = fake.tree();
    fake.tell("kill");
    assert!(tree.iter().all(|pid| proc_file(*pid, "comm").is_none()));
    assert!(fake.ask("kill").contains("restart"));
    fake.tell("restart");
    assert_eq!(fake.get("/metrics").0, 200);
}

#[test]
fn values_are_shown_as_set_until_they_are_taken_back() {
    let fake = Fake::start("0.5.23", &[]);
    let queued = || {
        let page = fake.samples();
        let found = page
            .iter()
            .find(|(head, _)| head.starts_with("sglang:num_queue_reqs{"));
        *found.unwrap().1
    };
    let before = queued();
    fake.tell("set sglang:num_queue_reqs{=77");
    assert_eq!(queued(), 77.0);
    fake.tell("set sglang:num_queue_reqs{=");
    assert_eq!(queued(), before);
}

#[test]
fn a_spoilt_answer_is_what_was_asked_for() {
    let fake = Fake::start("0.5.23", &[]);
    let answer = |way: &str| {
        fake.tell(&format!("spoil {way}"));
        let mut stream = TcpStream::connect(("127.0.0.1", fake.port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        let head = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let _ = (&mut stream).take(1000).read_to_end(&mut bytes);
        let start = head(&bytes);
        let read = stream.read_to_end(&mut bytes);
        (start, bytes.len(), read)
    };
    let length = |head: &str| -> usize {
        let at = head.split("content-length: ").nth(1).unwrap();
        at.split('\r').next().unwrap().parse().unwrap()
    };
    let (head, read, _) = answer("truncated");
    assert!(read < length(&head), "{read} {head}");
    assert_eq!(length(&answer("huge").0), 50 << 20);
    assert!(answer("gzip").0.contains("content-encoding: gzip"));
    assert!(length(&answer("bomb").0) < 5 << 20);
    assert!(answer("html").0.contains("text/html"));
    assert!(answer("redirect").0.contains("location: http://192.0.2.1/"));
    assert!(answer("labels").0.contains("page=\"0\""));
    assert!(answer("ranks").0.starts_with("HTTP/1.1 200"));
    assert!(answer("binary").0.starts_with("HTTP/1.1 200"));
    fake.tell("spoil off");
    assert_eq!(fake.get("/metrics").0, 200);
    assert!(fake.ask("spoil rotten").starts_with("error: "));
}

#[test]
fn one_connection_serves_chunked_page_after_page() {
    let fake = Fake::start("0.5.23", &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", fake.port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            let mut piece = [0; 65536];
            let read = stream.read(&mut piece).unwrap();
            assert_ne!(read, 0, "closed");
            answer.extend(&piece[..read]);
        }
        let answer = String::from_utf8(answer).unwrap();
        let head = answer
            .split_once("\r\n\r\n")
            .unwrap()
            .0
            .to_ascii_lowercase();
        assert!(
            head.contains("content-type: text/plain; version=0.0.4"),
            "{head}"
        );
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("encoding: gzip"));
    }
}

#[test]
fn a_frozen_page_is_the_captured_one_until_it_lives_again() {
    let fake = Fake::start("0.5.23", &["--growth", "20"]);
    for (name, file) in [("t0", "load_t0"), ("after", "after"), ("idle", "idle")] {
        fake.tell(&format!("page {name}"));
        let captured = fs::read_to_string(fixture("0.5.23").join(format!("metrics_{file}.txt")));
        assert!(fake.get("/metrics").1 == captured.unwrap(), "{name}");
    }
    fake.tell("page live");
    assert_ne!(fake.samples(), fake.samples());
}

#[test]
fn a_withheld_series_is_back_after_restoring() {
    let fake = Fake::start("0.5.23", &[]);
    let shows = || {
        fake.samples()
            .keys()
            .any(|head| head.starts_with("sglang:gen_throughput{"))
    };
    assert!(shows());
    fake.tell("withhold sglang:gen_throughput{");
    assert!(!shows());
    fake.tell("restore sglang:gen_throughput{");
    assert!(shows());
}

#[test]
fn a_status_and_a_hang_last_until_ended() {
    let fake = Fake::start("0.5.23", &[]);
    fake.tell("status 503");
    assert_eq!(fake.get("/metrics").0, 503);
    fake.tell("status 200");
    assert_eq!(fake.get("/metrics").0, 200);

    fake.tell("hang on");
    let mut stream = TcpStream::connect(("127.0.0.1", fake.port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    assert!(stream.read(&mut [0; 16]).is_err(), "answered while hanging");
    fake.tell("hang off");
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"));
}

#[test]
fn stopped_schedulers_stop_the_counters_but_not_the_page() {
    let fake = Fake::start(
        "0.5.23",
        &["--growth", "50", "--gauges", "swing", "--tp", "2"],
    );
    fake.tell("stop-scheduler");
    for pid in fake.pids("schedulers") {
        eventually("it is stopped", || parent_and_state(pid).1 == "T");
    }
    // As text, for NaN is not equal to itself.
    let page = fake.get("/metrics").1;
    assert!(page == fake.get("/metrics").1);
    fake.tell("cont-scheduler");
    for pid in fake.pids("schedulers") {
        eventually("it runs", || parent_and_state(pid).1 != "T");
    }
    eventually("counters move", || {
        samples(&page) != fake.samples() && page != fake.get("/metrics").1
    });
}

#[test]
fn gauges_swing_only_when_told() {
    let fake = Fake::start("0.5.23", &["--gauge", "token_usage=0.1:0.9"]);
    let usage = || {
        let page = fake.samples();
        *page
            .iter()
            .find(|(head, _)| head.starts_with("sglang:token_usage{"))
            .unwrap()
            .1
    };
    assert_eq!(usage(), 0.1);
    fake.tell("gauges swing");
    eventually("it swings", || usage() > 0.1001);
    fake.tell("gauges hold");
    assert_eq!(usage(), 0.1);
}

#[test]
fn a_wrong_command_is_refused_and_changes_nothing() {
    let fake = Fake::start("0.5.23", &[]);
    for wrong in [
        "",
        "dance",
        "growth -1",
        "page t5",
        "hang maybe",
        "status 42",
        "restore x",
        "withhold",
        "engine off",
    ] {
        let reply = fake.ask(wrong);
        assert!(reply.starts_with("error: "), "{wrong}: {reply}");
    }
    let state = fake.state();
    assert_eq!(
        (state["growth"].as_f64(), state["paused"].as_bool()),
        (Some(1.0), Some(false))
    );
}

#[test]
fn a_crashed_server_is_started_again_on_command() {
    let fake = Fake::start("0.5.23", &[]);
    let server = fake.pids("server")[0];
    let pid = nix::unistd::Pid::from_raw(i32::try_from(server).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("it is noticed", || fake.ask("state").starts_with("error: "));
    eventually("it is reaped", || proc_file(server, "comm").is_none());
    fake.tell("restart");
    assert_eq!(fake.get("/metrics").0, 200);
}

#[test]
fn quit_ends_it_with_success() {
    let mut fake = Fake::start("0.5.23", &[]);
    fake.tell("quit");
    assert!(fake.run.wait().unwrap().success());
}
