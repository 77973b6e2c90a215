//! `notify` and the sender inside the container, with a receiver on loopback.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use assert_cmd::cargo::cargo_bin;
use lab::{Lab, RUNS, STAYS, said};

const SECRET: &str = "s3cret-part-of-the-address";

/// Answers each request with 200 and hands on its path, its headers and its body.
fn receiver() -> (u16, Receiver<String>) {
    answering("200 OK")
}

fn answering(status: &'static str) -> (u16, Receiver<String>) {
    serve(move |stream, sender| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                break;
            }
            if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let _ = sender.send(head + &String::from_utf8(body).unwrap());
        write!(
            stream,
            "HTTP/1.1 {status}
Content-Length: 0
Connection: close

"
        )
        .unwrap();
    })
}

/// Speaks as much of SMTP as a client without encryption needs.
fn mail_server() -> (u16, Receiver<String>) {
    serve(|stream, sender| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut all = String::new();
        let mut answer = "220 ready".to_owned();
        let mut in_data = false;
        loop {
            if !answer.is_empty() {
                write!(stream, "{answer}\r\n").unwrap();
            }
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap() == 0 {
                break;
            }
            all += &line;
            let word = line.trim().split(' ').next().unwrap().to_uppercase();
            answer = match word.as_str() {
                "." => {
                    in_data = false;
                    "250 taken".to_owned()
                }
                _ if in_data => String::new(),
                "EHLO" => "250-here\r\n250 AUTH PLAIN".to_owned(),
                "AUTH" => "235 welcome".to_owned(),
                "DATA" => {
                    in_data = true;
                    "354 go on".to_owned()
                }
                "QUIT" => break,
                _ => "250 ok".to_owned(),
            };
        }
        let _ = sender.send(all);
    })
}

fn serve(
    mut answer: impl FnMut(&mut TcpStream, &std::sync::mpsc::Sender<String>) + Send + 'static,
) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&mut stream.unwrap(), &sender);
        }
    });
    (port, receiver)
}

/// A lab in which Slack is a receiver of ours.
fn with_slack() -> (Lab, Receiver<String>) {
    let lab = Lab::new(RUNS, STAYS);
    let (port, messages) = receiver();
    fs::write(
        lab.path("url"),
        format!("http://127.0.0.1:{port}/{SECRET}\n"),
    )
    .unwrap();
    let file = lab.path("url").display().to_string();
    let (code, text) = lab.run(&["notify", "set", "slack", "--url-file", &file]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("slack: 127.0.0.1") && !text.contains(SECRET),
        "{text}"
    );
    (lab, messages)
}

/// As Netdata's script calls it.
fn deliver(lab: &Lab, status: &str) -> Output {
    let mut command = Command::new(cargo_bin("launcher"));
    command
        .env_clear()
        .arg("deliver")
        .arg("--channels")
        .arg(lab.path("home/state/generated/notify.json"))
        .arg("--memory")
        .arg(lab.path("memory"))
        .env("ALERT_HOST", "gpu-1")
        .env("ALERT_CHART", "nvidia.gpu_0_xid_events")
        .env("ALERT_NAME", "nvidia_gpu_xid")
        .env("ALERT_STATUS", status)
        .env("ALERT_VALUE", "79 <b>")
        .env("ALERT_INFO", "a GPU reports an error");
    command.output().unwrap()
}

fn next(messages: &Receiver<String>) -> String {
    messages.recv_timeout(Duration::from_secs(120)).unwrap()
}

#[test]
fn an_alert_is_told_once_when_it_is_raised_and_once_when_it_clears() {
    let (lab, messages) = with_slack();
    for status in [
        "WARNING",
        "WARNING",
        "CRITICAL",
        "CLEAR",
        "CLEAR",
        "UNDEFINED",
    ] {
        let (_, text) = said(&deliver(&lab, status));
        assert!(!text.contains(SECRET), "{text}");
    }
    let told: Vec<String> = messages.try_iter().collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    for (message, status) in told.iter().zip(["WARNING", "CRITICAL", "CLEAR"]) {
        assert!(
            message.starts_with(&format!("POST /{SECRET} ")),
            "{message}"
        );
        assert!(
            message.contains(&format!("*{status}: nvidia_gpu_xid on gpu-1*")),
            "{message}"
        );
        assert!(message.contains("79 &lt;b&gt;"), "{message}");
    }
}

#[test]
fn while_muted_nobody_is_told_and_not_of_the_end_of_it_either() {
    let (lab, messages) = with_slack();
    let (code, text) = lab.run(&["notify", "mute", "2h"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("muted for 120 more minutes"), "{text}");
    assert!(said(&deliver(&lab, "CRITICAL")).1.contains("muted"));
    assert_eq!(lab.run(&["notify", "unmute"]).0, Some(0));
    deliver(&lab, "CLEAR");
    assert_eq!(messages.try_iter().count(), 0);
    deliver(&lab, "CRITICAL");
    assert!(next(&messages).contains("CRITICAL"));
}

#[test]
fn a_receiver_that_refuses_is_an_error_without_its_address() {
    let lab = Lab::new(RUNS, STAYS);
    let (port, _requests) = answering("403 Forbidden");
    fs::write(lab.path("url"), format!("http://127.0.0.1:{port}/{SECRET}")).unwrap();
    let file = lab.path("url").display().to_string();
    assert_eq!(
        lab.run(&["notify", "set", "teams", "--url-file", &file]).0,
        Some(0)
    );
    let (code, text) = lab.run(&["notify", "test"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("teams: 127.0.0.1: it answered 403") && !text.contains(SECRET),
        "{text}"
    );
}

#[test]
fn every_kind_of_channel_gets_a_test_in_its_own_form() {
    let lab = Lab::new(RUNS, STAYS);
    let (port, messages) = receiver();
    let (mail_port, mails) = mail_server();
    fs::write(lab.path("token"), "tk_t0ken").unwrap();
    fs::write(lab.path("password"), "pa55word").unwrap();
    let path = |name: &str| lab.path(name).display().to_string();
    for name in ["ntfy", "slack", "teams"] {
        fs::write(
            lab.path("url"),
            format!("http://127.0.0.1:{port}/{name}-topic"),
        )
        .unwrap();
        let (url, token) = (path("url"), path("token"));
        let mut words = vec!["notify", "set", name, "--url-file", &url];
        if name == "ntfy" {
            words.extend(["--token-file", &token]);
        }
        let (code, text) = lab.run(&words);
        assert_eq!(code, Some(0), "{text}");
    }
    let (server, password) = (format!("127.0.0.1:{mail_port}"), path("password"));
    let (code, text) = lab.run(&[
        "notify",
        "set",
        "smtp",
        "--server",
        &server,
        "--tls",
        "none",
        "--from",
        "netdata@example.org",
        "--to",
        "ann@example.org",
        "--user",
        "ann",
        "--password-file",
        &password,
    ]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = lab.run(&["notify", "test"]);
    assert_eq!(code, Some(0), "{text}");
    let [ntfy, slack, teams] = [next(&messages), next(&messages), next(&messages)];
    assert!(
        ntfy.starts_with("POST / ") && ntfy.contains("\"topic\":\"ntfy-topic\""),
        "{ntfy}"
    );
    assert!(ntfy.contains("Bearer tk_t0ken"), "{ntfy}");
    assert!(
        slack.starts_with("POST /slack-topic ") && slack.contains("\"text\":\"*Test of alerts"),
        "{slack}"
    );
    assert!(teams.contains("AdaptiveCard"), "{teams}");
    let mail = next(&mails);
    assert!(
        mail.contains("Subject: Test of alerts on") && mail.contains("<ann@example.org>"),
        "{mail}"
    );
    // A report holds none of it.
    fs::create_dir_all(lab.path("home/logs")).unwrap();
    fs::write(
        lab.path("home/logs/netdata.log"),
        "pa55word tk_t0ken slack-topic\n",
    )
    .unwrap();
    lab.run(&["doctor", "--report", &path("report")]);
    let report = fs::read_to_string(lab.path("report")).unwrap();
    for secret in ["pa55word", "tk_t0ken"] {
        assert!(
            report.contains("<secret>") && !report.contains(secret),
            "{report}"
        );
    }
    assert_eq!(lab.run(&["notify", "off"]).0, Some(0));
    assert!(lab.run(&["notify"]).1.contains("told nobody"));
}

#[test]
fn a_configuration_of_the_users_own_is_left_alone() {
    let lab = Lab::new(RUNS, STAYS);
    fs::create_dir_all(lab.path("home/state/config")).unwrap();
    let own = lab.path("home/state/config/health_alarm_notify.conf");
    fs::write(&own, "mine").unwrap();
    fs::write(lab.path("url"), "https://ntfy.example/topic").unwrap();
    let file = lab.path("url").display().to_string();
    let (code, text) = lab.run(&["notify", "set", "ntfy", "--url-file", &file]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("is your own and is left alone"), "{text}");
    assert_eq!(fs::read_to_string(own).unwrap(), "mine");
}

#[test]
fn a_secret_is_taken_from_no_argument() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, text) = lab.run(&["notify", "set", "slack", "https://hooks.example/x"]);
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = lab.run(&["notify", "set", "slack"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("--url-file is missing"), "{text}");
}
