//! `claim`, with stand-ins for the container runtime, for the agent and for Netdata Cloud's endpoint.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod lab;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use lab::{Lab, RUNS, STAYS, said};

/// What an agent from 2.0 on does when it is told to read its claim.conf again: a PUT with the token, and where that is
/// answered with 204 it belongs to a space.
const AGENT: &str = r#"exec /usr/bin/python3 - "$0" <<'END'
import configparser, json, os, sys, urllib.request
lab = os.path.dirname(sys.argv[1])
conf = configparser.ConfigParser()
conf.read(lab + "/home/state/generated/claim.conf")
said = dict(conf["global"])
body = json.dumps({"node": {"id": "n"}, "token": said["token"], "rooms": said.get("rooms", "").split(",")}).encode()
request = urllib.request.Request(said["url"] + "/api/v1/spaces/nodes/n", body, method="PUT")
try:
    claimed = urllib.request.urlopen(request).status == 204
except urllib.error.HTTPError:
    claimed = False
with open(lab + "/agent.json") as file:
    agent = json.load(file)
agent.update({"agent-claimed": claimed, "aclk-available": claimed})
with open(lab + "/agent.json", "w") as file:
    json.dump(agent, file)
END"#;

/// Netdata Cloud's endpoint: answers one request with `status`, and tells what it was asked.
fn cloud(status: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = channel();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        sender.send(answer(&stream, status)).unwrap();
    });
    (url, requests)
}

fn answer(mut stream: &TcpStream, status: &str) -> String {
    let mut reader = BufReader::new(stream);
    let (mut text, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        text += &line;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    text + &String::from_utf8(body).unwrap()
}

/// A running Netdata of this version, with a token in `.env`.
fn running(version: &str, url: &str) -> Lab {
    let lab = Lab::answering();
    let agent = format!("{{\"version\": \"{version}\", \"cloud-enabled\": true}}");
    fs::write(lab.path("agent.json"), agent).unwrap();
    lab.program("netdatacli", AGENT);
    lab.settings();
    let path = lab.path("home/.env");
    let settings = fs::read_to_string(&path).unwrap();
    let claim =
        format!("NETDATA_CLAIM_TOKEN=s3cret\nNETDATA_CLAIM_ROOMS=r1,r2\nNETDATA_CLAIM_URL={url}\n");
    fs::write(&path, settings + &claim).unwrap();
    let (code, text) = lab.run(&["start"]);
    assert_eq!(code, Some(0), "{text}");
    lab
}

#[test]
fn a_running_netdata_is_claimed_at_once_and_one_that_cannot_be_says_so() {
    let (url, requests) = cloud("204 No Content");
    let lab = running("v2.11.0", &url);
    let (_, text) = lab.run(&["status"]);
    assert!(text.contains("not claimed: launcher claim"), "{text}");
    let (code, text) = lab.run(&["claim"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("connected to Netdata Cloud"), "{text}");
    let asked = requests.recv().unwrap();
    assert!(asked.starts_with("PUT /api/v1/spaces/nodes/n "), "{asked}");
    let body: serde_json::Value = serde_json::from_str(asked.lines().last().unwrap()).unwrap();
    assert_eq!(body["token"], "s3cret");
    assert_eq!(body["rooms"], serde_json::json!(["r1", "r2"]));
    let (_, text) = lab.run(&["status"]);
    assert!(text.contains("cloud      connected"), "{text}");
    assert_eq!(lab.run(&["stop"]).0, Some(0));

    let old = running("v1.37.1", &url);
    let (code, text) = old.run(&["claim"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("Netdata v1.37.1 cannot be claimed this way, 2.0 and later can"),
        "{text}"
    );
    let (_, text) = old.run(&["status"]);
    assert!(
        text.contains("a token is set, but Netdata v1.37.1 cannot be claimed with it"),
        "{text}"
    );
    assert_eq!(old.run(&["stop"]).0, Some(0));
}

#[test]
fn a_token_that_the_cloud_refuses_is_told_and_not_shown() {
    let (url, _requests) = cloud("403 Forbidden");
    let lab = running("v2.11.0", &url);
    let (code, text) = lab.run(&["claim"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Netdata did not claim itself"), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    assert_eq!(lab.run(&["stop"]).0, Some(0));
}

#[test]
fn a_token_from_standard_input_is_kept_where_only_its_owner_reads() {
    let lab = Lab::new(RUNS, STAYS);
    let mut child = lab
        .command(&["claim", "--token-file", "-", "--rooms", "r1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"s3cret\n").unwrap();
    let (code, text) = said(&child.wait_with_output().unwrap());
    assert_eq!(code, Some(0), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
    let file = lab.path("home/state/config/claim.conf");
    let expected =
        "[global]\n    token = s3cret\n    url = https://app.netdata.cloud\n    rooms = r1\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn claim_without_a_token_says_where_to_put_one() {
    let lab = Lab::new(RUNS, STAYS);
    let (code, text) = lab.run(&["claim"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("NETDATA_CLAIM_TOKEN") && text.contains("--token-file"),
        "{text}"
    );
}
