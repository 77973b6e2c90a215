//! Fetches pages over plain HTTP from addresses of this host: no names, no redirects, no proxy, one
//! request at a time over a connection that is kept. Endpoints that the user names are in [`endpoint`].

pub mod endpoint;
mod secret;

use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{anyhow, bail};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Buffers are kept with each connection, and there is one a server.
const INPUT_BUFFER_BYTES: usize = 32 * 1024;
/// A buffer for a body that is this much larger than the last body is given back: one page that was far too long
/// is no reason to hold so much for ever.
const SPARE_BYTES: usize = 256 * 1024;
/// How much a body grows by, at least and at most.
const STEP_BYTES: usize = 32 * 1024;
const MAX_STEP_BYTES: usize = 512 * 1024;
/// A request has a few hundred bytes.
const OUTPUT_BUFFER_BYTES: usize = 8 * 1024;

/// One page of one server.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    timeout: Duration,
    max_body: usize,
    /// The header's value; in no error and no `Debug`.
    bearer: Option<Secret>,
}

/// What must not be printed.
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Client {
    /// A client for `path` (with its leading slash) of the server at `address`.
    ///
    /// # Errors
    /// If `address` is not this host's: no other host is ever contacted.
    pub fn new(
        address: SocketAddr,
        path: &str,
        timeout: Duration,
        max_body: usize,
    ) -> anyhow::Result<Self> {
        if !is_own(address.ip()) {
            bail!("{address} is not an address of this host: it is not contacted");
        }
        Ok(Self::elsewhere(address, path, timeout, max_body))
    }

    /// The same for an address of any host: only for one that the configuration names.
    #[must_use]
    pub fn elsewhere(address: SocketAddr, path: &str, timeout: Duration, max_body: usize) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(timeout))
            .input_buffer_size(INPUT_BUFFER_BYTES)
            .output_buffer_size(OUTPUT_BUFFER_BYTES)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .user_agent(concat!("rs.d.plugin/", env!("CARGO_PKG_VERSION")))
            .accept("text/plain")
            // On loopback compression costs the server more than it saves.
            .accept_encoding("identity")
            .build();
        let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), Only(address));
        Self {
            agent,
            url: format!("http://{address}{path}"),
            timeout,
            max_body,
            bearer: None,
        }
    }

    /// The same, with `key` in the header `Authorization` of every request.
    #[must_use]
    pub fn with_bearer(mut self, key: Option<&str>) -> Self {
        self.bearer = key.map(|key| Secret(format!("Bearer {key}")));
        self
    }

    /// What is fetched.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Fetches the page into `body` and returns the status.
    ///
    /// # Errors
    /// Names the URL and what went wrong: no connection, no answer in time, a body above the cap.
    pub fn get(&self, body: &mut Vec<u8>) -> anyhow::Result<u16> {
        let answer = match self.attempt(body) {
            // The server may close a kept connection just as it is used again.
            Err(error) if was_closed(&error) => self.attempt(body),
            answer => answer,
        };
        if answer.is_err() {
            body.clear();
        }
        if body.capacity() > body.len() + SPARE_BYTES {
            body.shrink_to_fit();
        }
        answer.map_err(|error| {
            let why = explain(&error, self.timeout);
            anyhow!("scraping {}: {why}", self.url)
        })
    }

    fn attempt(&self, body: &mut Vec<u8>) -> Result<u16, ureq::Error> {
        body.clear();
        let mut request = self.agent.get(&self.url);
        if let Some(Secret(bearer)) = &self.bearer {
            request = request.header("authorization", bearer);
        }
        let mut response = request.call()?;
        let status = response.status().as_u16();
        let length = response.body().content_length();
        if length.is_some_and(|length| length > self.max_body as u64) {
            return Err(ureq::Error::BodyExceedsLimit(self.max_body as u64));
        }
        let mut reader = response
            .body_mut()
            .with_config()
            .limit(self.max_body as u64)
            .reader();
        read_all(&mut reader, body, self.max_body).map_err(ureq::Error::from)?;
        Ok(status)
    }
}

/// Reads into `body` to the end. Unlike `read_to_end` it never holds much more than was read: `max_body` is far
/// above what is usual, and its double would be memory for a page that is thrown away.
fn read_all(reader: &mut impl Read, body: &mut Vec<u8>, max_body: usize) -> io::Result<()> {
    let mut filled = 0;
    let outcome = loop {
        if filled == body.len() {
            let more = (filled / 2).clamp(STEP_BYTES, MAX_STEP_BYTES);
            let more = more.min(max_body.saturating_sub(filled) + 1);
            body.reserve_exact(more);
            body.resize(filled + more, 0);
        }
        match reader.read(&mut body[filled..]) {
            Ok(0) => break Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    body.truncate(filled);
    outcome
}

fn explain(error: &ureq::Error, timeout: Duration) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("timed out after {} ms", timeout.as_millis()),
        ureq::Error::BodyExceedsLimit(limit) => {
            format!("the answer is longer than {} KiB", limit / 1024)
        }
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn was_closed(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
        _ => false,
    }
}

/// Whether `ip` belongs to this host (in its network namespace).
#[must_use]
pub fn is_own(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return false;
    };
    interfaces
        .filter_map(|interface| interface.address)
        .any(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
            v4.or(v6) == Some(ip)
        })
}

/// Resolves to one address, whatever is asked: no name ever reaches a resolver.
#[derive(Debug)]
struct Only(SocketAddr);

impl Resolver for Only {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        addresses.push(self.0);
        Ok(addresses)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Answers each request of each connection with the next of `answers`; an empty one closes the
    /// connection without a word. Sends every request's head and its connection's number.
    pub(super) fn serve(answers: Vec<String>) -> (SocketAddr, mpsc::Receiver<(usize, String)>) {
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

    pub(super) fn answer(status: &str, body: &str) -> String {
        let len = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {len}\r\n\r\n{body}")
    }

    fn client(address: SocketAddr) -> Client {
        Client::new(address, "/metrics", SECOND, 1024).unwrap()
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
        let moved =
            "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";
        let (address, _heads) = serve(vec![answer("404 Not Found", "{}"), moved.to_owned()]);
        let (client, mut body) = (client(address), vec![]);
        assert_eq!(client.get(&mut body).unwrap(), 404);
        assert_eq!(client.get(&mut body).unwrap(), 302);
    }

    #[test]
    fn a_long_body_is_given_back_with_the_next() {
        let long = "x".repeat(2 * SPARE_BYTES);
        let answers = [&*long, "short"].map(|body| answer("200 OK", body));
        let (address, _heads) = serve(answers.to_vec());
        let client = Client::new(address, "/metrics", SECOND, 4 * SPARE_BYTES).unwrap();
        let mut body = vec![];
        client.get(&mut body).unwrap();
        assert_eq!(body.len(), long.len());
        client.get(&mut body).unwrap();
        assert_eq!(body, b"short");
        assert!(body.capacity() <= SPARE_BYTES, "{}", body.capacity());
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
    fn a_server_that_does_not_answer_in_time_is_named_with_the_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = Client::new(address, "/metrics", Duration::from_millis(50), 1024).unwrap();
        let error = client.get(&mut vec![]).unwrap_err().to_string();
        let expected = format!("scraping http://{address}/metrics: timed out after 50 ms");
        assert_eq!(error, expected);
    }

    #[test]
    fn another_host_is_refused() {
        let address = "192.0.2.7:30000".parse().unwrap();
        let error = Client::new(address, "/metrics", SECOND, 1024).unwrap_err();
        assert!(error.to_string().contains("not an address of this host"));
    }
}
