//! Fetches pages over HTTP or TLS from addresses of this host: no names, no redirects, no proxy, one
//! request at a time over a connection that is kept. Endpoints that the user names are in [`endpoint`].

pub mod endpoint;
mod secret;

use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{anyhow, bail};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, DefaultConnector, NextTimeout};

/// Buffers are kept with each connection, and there is one a server.
const INPUT_BUFFER_BYTES: usize = 32 * 1024;
/// Part of a body that its buffer is longer, at most: pages grow, and one that was far too long is no reason to hold
/// so much for ever.
const SPARE: usize = 8;
/// A body longer than this is read while no other such one is: real pages are shorter, and servers that send without
/// end hold little together. Each has its time, so that nobody waits for long.
const LONG_BYTES: usize = 1024 * 1024;
static LONG: Mutex<()> = Mutex::new(());
/// How much a body grows by, at least and at most.
const STEP_BYTES: usize = 8 * 1024;
/// How much is read beyond the length of the body before, to begin with.
const BEYOND_BYTES: usize = 2 * 1024;
const MAX_STEP_BYTES: usize = 512 * 1024;
/// A request has a few hundred bytes.
const OUTPUT_BUFFER_BYTES: usize = 8 * 1024;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In plain text.
    #[default]
    Http,
    /// Encrypted. Whatever certificate it shows will do: on this host the kernel says whose process it is, and
    /// certificates are made for names that are not asked for.
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// One page of one server.
#[derive(Debug)]
pub struct Client {
    agent: ureq::Agent,
    url: String,
    timeout: Duration,
    max_body: usize,
    gate: Gate,
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
    /// A client for `path` (with its leading slash) of the server that speaks `scheme` at `address`.
    ///
    /// # Errors
    /// If `address` is not this host's: no other host is ever contacted.
    pub fn new(
        scheme: Scheme,
        address: SocketAddr,
        path: &str,
        timeout: Duration,
        max_body: usize,
    ) -> anyhow::Result<Self> {
        if !is_own(address.ip()) {
            bail!("{address} is not an address of this host: it is not contacted");
        }
        Ok(Self::made(scheme, address, path, timeout, max_body))
    }

    /// The same in plain text for an address of any host: only for one that the configuration names.
    #[must_use]
    pub fn elsewhere(address: SocketAddr, path: &str, timeout: Duration, max_body: usize) -> Self {
        Self::made(Scheme::Http, address, path, timeout, max_body)
    }

    fn made(
        scheme: Scheme,
        address: SocketAddr,
        path: &str,
        timeout: Duration,
        max_body: usize,
    ) -> Self {
        let mut config = Config::builder()
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
            .accept_encoding("identity");
        if scheme == Scheme::Https {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = TlsConfig::builder()
                .provider(TlsProvider::Rustls)
                .unversioned_rustls_crypto_provider(provider)
                .disable_verification(true);
            config = config.tls_config(tls.build());
        }
        let gate = Gate::default();
        let connector = gate.clone().chain(DefaultConnector::default());
        let agent = ureq::Agent::with_parts(config.build(), connector, Only(address));
        Self {
            agent,
            url: format!("{}://{address}{path}", scheme.name()),
            timeout,
            max_body,
            gate,
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
        self.concluded(answer, body)
    }

    fn concluded(
        &self,
        answer: Result<u16, ureq::Error>,
        body: &mut Vec<u8>,
    ) -> anyhow::Result<u16> {
        if answer.is_err() {
            body.clear();
        }
        let spare = (body.len() / SPARE).max(STEP_BYTES);
        if body.capacity() > body.len() + spare {
            body.shrink_to(body.len() + spare / 2);
        }
        answer.map_err(|error| {
            let why = explain(&error, self.timeout);
            anyhow!("scraping {}: {why}", self.url)
        })
    }

    /// The same over the connection that is kept; `None` if there is none any more. Who answers there is whoever
    /// answered before: nobody has to look who listens.
    pub fn get_over_kept(&self, body: &mut Vec<u8>) -> Option<anyhow::Result<u16>> {
        self.gate.0.store(true, Ordering::Relaxed);
        let answer = self.attempt(body);
        self.gate.0.store(false, Ordering::Relaxed);
        match answer {
            Err(error) if was_closed(&error) => {
                body.clear();
                None
            }
            answer => Some(self.concluded(answer, body)),
        }
    }

    fn attempt(&self, body: &mut Vec<u8>) -> Result<u16, ureq::Error> {
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

/// Reads into `body`, over what it held, to the end. Unlike `read_to_end` it never holds much more than was read:
/// `max_body` is far above what is usual, and its double would be memory for a page that is thrown away.
fn read_all(reader: &mut impl Read, body: &mut Vec<u8>, max_body: usize) -> io::Result<()> {
    let (mut filled, mut turn) = (0, None);
    let outcome = loop {
        if filled >= LONG_BYTES && turn.is_none() {
            turn = Some(LONG.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if filled == body.len() {
            // Mostly it is as long as the one before.
            let mut beyond = [0; BEYOND_BYTES];
            let read = match reader.read(&mut beyond) {
                Ok(0) => break Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => break Err(error),
            };
            let more = match body.capacity() - filled {
                room if room > read => room,
                _ => (filled / 2).clamp(STEP_BYTES, MAX_STEP_BYTES),
            };
            let more = more.min(max_body.saturating_sub(filled) + 1).max(read);
            body.reserve_exact(more);
            body.extend_from_slice(&beyond[..read]);
            body.resize(filled + more, 0);
            filled += read;
            continue;
        }
        match reader.read(&mut body[filled..]) {
            Ok(0) => break Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    body.truncate(filled);
    if outcome.is_err() {
        // While it is still its turn: the next one would hold as much beside it.
        *body = Vec::new();
    }
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
    use io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
    };
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
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

/// Lets no new connection through while it is shut.
#[derive(Clone, Debug, Default)]
struct Gate(Arc<AtomicBool>);

impl Connector for Gate {
    type Out = ();

    fn connect(&self, _: &ConnectionDetails, _: Option<()>) -> Result<Option<()>, ureq::Error> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        Ok(None)
    }
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
mod tests;
