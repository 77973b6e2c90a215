//! Pages from sockets of this process.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Answers each request of each connection with the next of `answers`; an empty one closes the
/// connection without a word. Sends every request's head and its connection's number.
pub fn serve(answers: Vec<String>) -> (SocketAddr, mpsc::Receiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = mpsc::channel();
    thread::spawn(move || {
        let mut answers = answers.into_iter();
        for connection in 0.. {
            let (mut stream, _) = listener.accept().unwrap();
            while let Some(head) = read_head(&mut stream) {
                heads.send((connection, head)).unwrap();
                let Some(answer) = answers.next() else { return };
                if answer.is_empty() {
                    break;
                }
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (address, received)
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut reader, mut head) = (BufReader::new(stream), String::new());
    while reader.read_line(&mut head).ok()? > 2 {}
    (!head.is_empty()).then_some(head)
}

pub fn answer(status: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n{body}")
}

fn client(address: SocketAddr) -> Client {
    Client::new(Scheme::Http, address, "/metrics", SECOND, 1024).unwrap()
}

#[test]
fn a_page_is_fetched_twice_over_one_connection() {
    let (address, heads) = serve(vec![answer("200 OK", "a 1\n"), answer("200 OK", "a 2\n")]);
    let (client, mut body) = (client(address), vec![]);
    assert_eq!(client.get(&mut body).unwrap(), 200);
    assert_eq!(body, b"a 1\n");
    assert_eq!(client.get(&mut body).unwrap(), 200);
    assert_eq!(body, b"a 2\n");
    let (first, head) = heads.recv().unwrap();
    assert_eq!(heads.recv().unwrap().0, first);
    let head = head.to_lowercase();
    assert!(head.starts_with("get /metrics http/1.1"), "{head}");
    assert!(head.contains("accept-encoding: identity"), "{head}");
}

#[test]
fn a_status_is_no_error_and_a_redirect_is_not_followed() {
    let moved = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
    let (address, _heads) = serve(vec![answer("404 Not Found", "{}"), moved.to_owned()]);
    let (client, mut body) = (client(address), vec![]);
    assert_eq!(client.get(&mut body).unwrap(), 404);
    assert_eq!(client.get(&mut body).unwrap(), 302);
}

#[test]
fn a_long_body_is_given_back_with_the_next() {
    let long = "x".repeat(64 * STEP_BYTES);
    let answers = [&*long, "short"].map(|body| answer("200 OK", body));
    let (address, _heads) = serve(answers.to_vec());
    let client = Client::new(Scheme::Http, address, "/metrics", SECOND, 2 * long.len()).unwrap();
    let mut body = vec![];
    client.get(&mut body).unwrap();
    assert_eq!(body.len(), long.len());
    client.get(&mut body).unwrap();
    assert_eq!(body, b"short");
    assert!(body.capacity() <= 2 * STEP_BYTES, "{}", body.capacity());
}

#[test]
fn a_long_body_waits_until_no_other_is_read() {
    let turn = LONG.lock().unwrap();
    let (ends, ended) = mpsc::channel();
    let read = thread::spawn(move || {
        let (page, mut body) = (vec![b'x'; LONG_BYTES + 1], vec![]);
        let outcome = read_all(&mut &page[..], &mut body, 2 * LONG_BYTES);
        ends.send(()).unwrap();
        (outcome.is_ok(), body.len())
    });
    // Shorter ones are read meanwhile.
    let mut body = vec![];
    read_all(&mut &b"short"[..], &mut body, 2 * LONG_BYTES).unwrap();
    assert_eq!(body, b"short");
    assert!(ended.try_recv().is_err());
    drop(turn);
    assert_eq!(read.join().unwrap(), (true, LONG_BYTES + 1));
}

#[test]
fn a_body_that_breaks_off_holds_no_memory() {
    let broken = io::Cursor::new(vec![b'x'; 4 * STEP_BYTES]).chain(Broken);
    let mut body = vec![];
    assert!(read_all(&mut { broken }, &mut body, 2 * LONG_BYTES).is_err());
    assert_eq!(body.capacity(), 0);
}

#[test]
fn a_body_replaces_the_one_before_whatever_their_lengths() {
    let lengths = [
        0,
        1,
        BEYOND_BYTES,
        BEYOND_BYTES + 1,
        STEP_BYTES,
        3 * STEP_BYTES + 7,
    ];
    let page = |length: usize| -> Vec<u8> { (0..length).map(|at| (at % 251) as u8).collect() };
    for before in lengths {
        for length in lengths {
            let mut body = vec![b'x'; before];
            read_all(&mut &page(length)[..], &mut body, LONG_BYTES).unwrap();
            assert_eq!(body, page(length), "after {before}");
        }
    }
}

/// Fails when it is read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("broken"))
    }
}

#[test]
fn a_body_above_the_cap_is_an_error() {
    let (address, _heads) = serve(vec![answer("200 OK", &"x".repeat(1025))]);
    let error = client(address).get(&mut vec![]).unwrap_err().to_string();
    assert!(
        error.ends_with("the answer is longer than 1 KiB"),
        "{error}"
    );
}

#[test]
fn a_kept_connection_that_the_server_closed_is_opened_again() {
    let (address, heads) = serve(vec![
        answer("200 OK", "a 1\n"),
        String::new(),
        answer("200 OK", "a 2\n"),
    ]);
    let (client, mut body) = (client(address), vec![]);
    client.get(&mut body).unwrap();
    client.get(&mut body).unwrap();
    assert_eq!(body, b"a 2\n");
    let connections: Vec<_> = (0..3).map(|_| heads.recv().unwrap().0).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[test]
fn over_a_kept_connection_no_new_one_is_opened() {
    let (address, heads) = serve(vec![
        answer("200 OK", "a 1\n"),
        answer("200 OK", "a 2\n"),
        String::new(),
        answer("200 OK", "a 3\n"),
    ]);
    let (client, mut body) = (client(address), vec![]);
    assert!(client.get_over_kept(&mut body).is_none());
    client.get(&mut body).unwrap();
    assert_eq!(client.get_over_kept(&mut body).unwrap().unwrap(), 200);
    assert_eq!(body, b"a 2\n");
    assert!(client.get_over_kept(&mut body).is_none());
    assert!(client.get_over_kept(&mut body).is_none());
    client.get(&mut body).unwrap();
    assert_eq!(body, b"a 3\n");
    let connections: Vec<_> = (0..4).map(|_| heads.recv().unwrap().0).collect();
    assert_eq!(connections, [0, 0, 0, 1]);
}

#[test]
fn a_server_that_does_not_answer_in_time_is_named_with_the_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let client = Client::new(
        Scheme::Http,
        address,
        "/metrics",
        Duration::from_millis(50),
        1024,
    )
    .unwrap();
    let error = client.get(&mut vec![]).unwrap_err().to_string();
    let expected = format!("scraping http://{address}/metrics: timed out after 50 ms");
    assert_eq!(error, expected);
}

#[test]
fn another_host_is_refused() {
    let address = "192.0.2.7:30000".parse().unwrap();
    let error = Client::new(Scheme::Http, address, "/metrics", SECOND, 1024).unwrap_err();
    assert!(error.to_string().contains("not an address of this host"));
}
