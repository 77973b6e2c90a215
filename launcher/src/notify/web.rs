//! ntfy, Slack and Teams: one POST each, in our own process, so that no address is an argument of anything.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use super::message::{Level, Message};

/// For one attempt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses before further attempts: an alert is worth some.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Where machines keep the certificates they trust.
const BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// An address that whoever knows it can post to.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// The secret.
    pub url: String,
    /// Sent as a bearer token, where the server wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Hook {
    /// Checks that it is an address; the error does not show it.
    pub fn new(url: String, token: Option<String>) -> Result<Self> {
        let uri: ureq::http::Uri = url
            .parse()
            .ok()
            .context("the file holds no address, which would begin with https://")?;
        let scheme = uri.scheme_str().unwrap_or_default();
        ensure!(
            matches!(scheme, "https" | "http") && uri.host().is_some(),
            "the file holds no address, which would begin with https://"
        );
        let local = matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
        ensure!(
            scheme == "https" || local,
            "the address begins with http://: everybody on the way could read it; it has to be https://"
        );
        Ok(Self { url, token })
    }

    /// The server, for messages.
    pub fn server(&self) -> String {
        let uri: Option<ureq::http::Uri> = self.url.parse().ok();
        let host = uri.as_ref().and_then(|uri| uri.host());
        host.unwrap_or("an address that cannot be read").to_owned()
    }
}

/// A topic of ntfy, in its JSON form, in which every character may be.
pub fn ntfy(hook: &Hook, message: &Message) -> Result<()> {
    let (server, topic) = hook
        .url
        .trim_end_matches('/')
        .rsplit_once('/')
        .filter(|(server, topic)| !server.ends_with('/') && !topic.is_empty())
        .context("the address of ntfy has to end with a topic")?;
    let priority = match message.level {
        Level::Clear => 3,
        Level::Warning => 4,
        Level::Critical => 5,
    };
    let tag = match message.level {
        Level::Clear => "white_check_mark",
        Level::Warning => "warning",
        Level::Critical => "rotating_light",
    };
    let body = json!({
        "topic": topic, "title": message.title, "message": message.body,
        "priority": priority, "tags": [tag],
    });
    post(&format!("{server}/"), hook, &body)
}

/// An incoming webhook of Slack. Three characters have a meaning there.
pub fn slack(hook: &Hook, message: &Message) -> Result<()> {
    let escaped = |text: &str| {
        let text = text.replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    let text = format!("*{}*\n{}", escaped(&message.title), escaped(&message.body));
    post(&hook.url, hook, &json!({ "text": text }))
}

/// A workflow's webhook of Teams, which takes an adaptive card.
pub fn teams(hook: &Hook, message: &Message) -> Result<()> {
    let colour = match message.level {
        Level::Clear => "Good",
        Level::Warning => "Warning",
        Level::Critical => "Attention",
    };
    let card = json!({
        "type": "AdaptiveCard", "version": "1.4",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "body": [
            {"type": "TextBlock", "text": message.title, "weight": "Bolder", "color": colour, "wrap": true},
            {"type": "TextBlock", "text": message.body, "wrap": true},
        ],
    });
    let body = json!({
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    });
    post(&hook.url, hook, &body)
}

fn post(url: &str, hook: &Hook, body: &Value) -> Result<()> {
    let mut pauses = AGAIN_AFTER.iter();
    loop {
        let error = match try_post(url, hook, body) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // What it refuses now it refuses again.
        let refused = matches!(error, ureq::Error::StatusCode(code) if code < 500 && code != 429);
        match pauses.next().filter(|_| !refused) {
            Some(pause) => std::thread::sleep(*pause),
            None => bail!("{}: {}", hook.server(), in_words(&error)),
        }
    }
}

fn try_post(url: &str, hook: &Hook, body: &Value) -> Result<(), ureq::Error> {
    let config = Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .max_redirects(0)
        .tls_config(tls())
        .build();
    let mut request = Agent::from(config)
        .post(url)
        .content_type("application/json");
    if let Some(token) = &hook.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    request.send(body.to_string()).map(drop)
}

/// Not the library's own words: they may hold the address.
fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(code) => format!("it answered {code}"),
        ureq::Error::HostNotFound => "its name cannot be resolved".to_owned(),
        ureq::Error::Timeout(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Rustls(error) => error.to_string(),
        ureq::Error::ConnectionFailed => "no connection".to_owned(),
        _ => "it cannot be spoken to".to_owned(),
    }
}

fn tls() -> TlsConfig {
    let bundle = BUNDLES
        .iter()
        .find_map(|file| fs::read(file).ok())
        .unwrap_or_default();
    let certificates = parse_pem(&bundle).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<Certificate<'static>> = certificates.collect();
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .root_certs(RootCerts::new_with_certs(&certificates))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_could_read_on_the_way_is_refused_and_none_is_shown() {
        let refused = |url: &str| Hook::new(url.to_owned(), None).err().unwrap().to_string();
        for url in [
            "http://hooks.example/s3cret",
            "s3cret",
            "ftp://a/s3cret",
            "https:///s3cret",
        ] {
            assert!(!refused(url).contains("s3cret"), "{url}");
        }
        assert!(Hook::new("http://127.0.0.1:1/x".to_owned(), None).is_ok());
        let hook = Hook::new("https://hooks.example/s3cret".to_owned(), None).unwrap();
        assert_eq!(hook.server(), "hooks.example");
    }
}
