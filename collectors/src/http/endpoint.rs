//! An endpoint that the user names in the configuration: any host, HTTP or HTTPS, with credentials. Nothing but
//! that URL is asked: no proxy, and redirects only within the same origin, so that credentials go nowhere else.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ureq::config::Config;
use ureq::http::header::{AUTHORIZATION, HeaderName, HeaderValue, LOCATION};
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider};

use super::{explain, secret, was_closed};

/// Redirects followed, all of them to the same origin: `/metrics` to `/metrics/`.
const MAX_REDIRECTS: usize = 3;
/// Largest file of certificates: systems' bundles have a few hundred KiB.
const MAX_PEM_BYTES: u64 = 4 * 1024 * 1024;
/// Buffers of a connection; a page streams through them.
const BUFFER_BYTES: usize = 32 * 1024;
/// Where systems keep the certificates that they trust.
const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// How an endpoint is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `http://host:port/path` or `https://…`, without credentials.
    pub url: Uri,
    /// Longest wait for a whole answer.
    pub timeout: Duration,
    /// Basic authentication: the name.
    pub username: Option<String>,
    /// Basic authentication: the file that holds the password.
    pub password_file: Option<PathBuf>,
    /// The file that holds a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// A file of further headers, `Name: value` a line.
    pub headers_file: Option<PathBuf>,
    /// Certificates to trust instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// Our own certificate, and its key.
    pub tls_cert: Option<PathBuf>,
    /// The key of `tls_cert`.
    pub tls_key: Option<PathBuf>,
    /// Trust whatever certificate the endpoint shows.
    pub tls_skip_verify: bool,
}

/// A client for one endpoint.
#[derive(Debug)]
pub struct Endpoint {
    agent: ureq::Agent,
    access: Access,
    shown: String,
}

impl Endpoint {
    /// A client for what `access` describes. Files are read: the certificates now, secrets at each request.
    ///
    /// # Errors
    /// Certificates that cannot be read. Names the option, never a secret.
    pub fn new(access: Access) -> anyhow::Result<Self> {
        let host = access.url.host().unwrap_or_default();
        let loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|ip| ip.is_loopback());
        let mut config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(access.timeout))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .user_agent(concat!("rs.d.plugin/", env!("CARGO_PKG_VERSION")))
            .accept("text/plain;version=0.0.4, application/openmetrics-text;q=0.5, */*;q=0.1")
            // On this machine compression costs more than it saves.
            .accept_encoding(if loopback { "identity" } else { "gzip" });
        if access.https() {
            config = config.https_only(true).tls_config(access.tls()?);
        }
        Ok(Self {
            agent: ureq::Agent::new_with_config(config.build()),
            shown: show(&access.url),
            access,
        })
    }

    /// What is fetched, without a query: it may hold a secret.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Fetches the page and hands its body to `read`.
    ///
    /// # Errors
    /// Names the URL and what went wrong: no connection, no answer in time, a status that is not 200, or what
    /// `read` says.
    pub fn get(&self, mut read: impl FnMut(&mut dyn Read) -> io::Result<()>) -> anyhow::Result<()> {
        let mut get = || -> anyhow::Result<()> {
            let mut uri = self.access.url.clone();
            for _ in 0..=MAX_REDIRECTS {
                let mut response = self.ask(&uri)?;
                match response.status().as_u16() {
                    200 => {
                        let answer = read(&mut response.body_mut().as_reader());
                        return answer.map_err(|error| self.explain(&error.into()));
                    }
                    301 | 302 | 307 | 308 => uri = self.redirected(&response)?,
                    401 | 403 if self.access.has_credentials() => bail!(
                        "it refuses the credentials (status {})",
                        response.status().as_u16()
                    ),
                    401 | 403 => bail!(
                        "it wants credentials (status {}): set bearer_token_file, or username and \
                         password_file",
                        response.status().as_u16()
                    ),
                    status => bail!("it answered with status {status}"),
                }
            }
            bail!("it redirects more than {MAX_REDIRECTS} times")
        };
        get().with_context(|| format!("scraping {}", self.shown))
    }

    fn ask(&self, uri: &Uri) -> anyhow::Result<Response<ureq::Body>> {
        let headers = self.access.headers()?;
        let call = || {
            let mut request = self.agent.get(uri.clone());
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            request.call()
        };
        let answer = match call() {
            // The server may close a kept connection just as it is used again.
            Err(error) if was_closed(&error) => call(),
            answer => answer,
        };
        answer.map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &ureq::Error) -> anyhow::Error {
        anyhow!(explain(error, self.access.timeout))
    }

    /// Where `response` points to, if that is the same origin.
    fn redirected<T>(&self, response: &Response<T>) -> anyhow::Result<Uri> {
        let target = response
            .headers()
            .get(LOCATION)
            .and_then(|target| target.to_str().ok())
            .context("it redirects to nowhere")?;
        let own = &self.access.url;
        let (scheme, authority) = (own.scheme_str(), own.authority());
        let uri = if target.starts_with('/') && !target.starts_with("//") {
            Uri::builder()
                .scheme(scheme.unwrap_or("http"))
                .authority(authority.map_or("", |it| it.as_str()))
                .path_and_query(target)
                .build()
                .ok()
        } else {
            target.parse::<Uri>().ok()
        };
        uri.filter(|uri| uri.scheme_str() == scheme && uri.authority() == authority)
            .context("it redirects to another address, which is not followed: set url to that one")
    }
}

impl Access {
    fn has_credentials(&self) -> bool {
        self.username.is_some() || self.bearer_token_file.is_some() || self.headers_file.is_some()
    }

    fn https(&self) -> bool {
        self.url.scheme_str() == Some("https")
    }

    /// What the options have to fulfil together.
    ///
    /// # Errors
    /// The option to look at, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let tls = [
            ("tls_ca", self.tls_ca.is_some()),
            ("tls_cert", self.tls_cert.is_some()),
            ("tls_key", self.tls_key.is_some()),
            ("tls_skip_verify", self.tls_skip_verify),
        ];
        let tls = tls.iter().find(|(_, set)| *set).map(|(key, _)| *key);
        let needs = |key, other| Err((key, format!("needs {other} too")));
        match (self.username.is_some(), self.password_file.is_some()) {
            (true, false) => return needs("username", "password_file"),
            (false, true) => return needs("password_file", "username"),
            _ => {}
        }
        match (self.tls_cert.is_some(), self.tls_key.is_some()) {
            (true, false) => return needs("tls_cert", "tls_key"),
            (false, true) => return needs("tls_key", "tls_cert"),
            _ => {}
        }
        if self.username.is_some() && self.bearer_token_file.is_some() {
            let what = "cannot stand beside username".to_owned();
            return Err(("bearer_token_file", what));
        }
        match tls {
            Some(key) if !self.https() => Err((key, "needs a url with https://".to_owned())),
            _ => Ok(()),
        }
    }

    /// Headers with secrets, read from their files.
    fn headers(&self) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
        let mut headers = vec![];
        let credentials = if let Some(file) = &self.bearer_token_file {
            Some(format!("Bearer {}", secret::read(file)?))
        } else if let (Some(name), Some(file)) = (&self.username, &self.password_file) {
            let pair = format!("{name}:{}", secret::read(file)?);
            Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
        } else {
            None
        };
        if let Some(credentials) = credentials {
            headers.push((AUTHORIZATION, sensitive(&credentials)?));
        }
        if let Some(file) = &self.headers_file {
            for (number, line) in secret::read(file)?.lines().enumerate() {
                let header = line.split_once(':').and_then(|(name, value)| {
                    let name = HeaderName::try_from(name.trim()).ok()?;
                    Some((name, sensitive(value.trim()).ok()?))
                });
                let wrong = || format!("{}: line {} is no header", file.display(), number + 1);
                headers.push(header.with_context(wrong)?);
            }
        }
        Ok(headers)
    }

    fn tls(&self) -> anyhow::Result<TlsConfig> {
        let roots = match &self.tls_ca {
            Some(file) => certificates(file).context("tls_ca")?,
            None if self.tls_skip_verify => vec![],
            None => system_certificates()?,
        };
        let client = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => {
                let certs = certificates(cert).context("tls_cert")?;
                let pem = secret::read(key).context("tls_key")?;
                let key = PrivateKey::from_pem(pem.as_bytes())
                    .map_err(|_| anyhow!("tls_key: {} holds no private key", key.display()))?;
                Some(ClientCert::new_with_certs(&certs, key))
            }
            _ => None,
        };
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(client)
            .disable_verification(self.tls_skip_verify)
            .build())
    }
}

fn show(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |it| it.as_str());
    let query = if uri.query().is_some() { "?…" } else { "" };
    format!(
        "{}://{authority}{}{query}",
        uri.scheme_str().unwrap_or("http"),
        uri.path()
    )
}

fn sensitive(text: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| anyhow!("a secret holds characters that a header cannot"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn certificates(file: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let shown = file.display();
    let mut pem = vec![];
    std::fs::File::open(file)
        .and_then(|file| file.take(MAX_PEM_BYTES).read_to_end(&mut pem))
        .with_context(|| format!("cannot read {shown}"))?;
    let certificates: Vec<_> = ureq::tls::parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        bail!("{shown} holds no certificate");
    }
    Ok(certificates)
}

fn system_certificates() -> anyhow::Result<Vec<Certificate<'static>>> {
    let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|it| it.exists());
    let bundle = bundle.context("the system has no file of trusted certificates: set tls_ca")?;
    certificates(bundle)
}

#[cfg(test)]
mod tests;
