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
