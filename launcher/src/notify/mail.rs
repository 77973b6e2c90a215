//! Mail by SMTP.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls as Layer, TlsParameters};
use lettre::{SmtpTransport, Transport as _};
use serde::{Deserialize, Serialize};

use super::message::Message;

/// For each step of the dialogue.
const PATIENCE: Duration = Duration::from_secs(15);

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// After STARTTLS, usual on port 587.
    Starttls,
    /// From the beginning, usual on port 465.
    Implicit,
    /// Not at all: for a server on this machine.
    None,
}

/// A server to send through, and whom to.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How it is encrypted.
    pub tls: Tls,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
    /// Who logs in, if the server wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

impl Mail {
    /// Fails with what cannot be used.
    pub fn check(&self) -> Result<()> {
        ensure!(!self.to.is_empty(), "--to: name at least one address");
        for address in self.to.iter().chain([&self.from]) {
            mailbox(address)?;
        }
        let local = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if self.tls == Tls::None && self.password.is_some() && !local {
            bail!(
                "without encryption everybody on the way could read the password: use --tls starttls or implicit"
            );
        }
        Ok(())
    }

    /// Sends it.
    pub fn send(&self, message: &Message) -> Result<()> {
        let mut mail = lettre::Message::builder()
            .from(mailbox(&self.from)?)
            .subject(&message.title);
        for address in &self.to {
            mail = mail.to(mailbox(address)?);
        }
        let mail = mail
            .body(message.body.clone())
            .context("writing the mail")?;
        let layer = match self.tls {
            Tls::None => Layer::None,
            Tls::Starttls => Layer::Required(self.parameters()?),
            Tls::Implicit => Layer::Wrapper(self.parameters()?),
        };
        let mut transport = SmtpTransport::builder_dangerous(&self.host)
            .port(self.port)
            .tls(layer)
            .timeout(Some(PATIENCE));
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            transport = transport.credentials(Credentials::new(user.clone(), password.clone()));
        }
        // The dialogue's errors are the server's words; they do not repeat the password.
        let sent = transport.build().send(&mail);
        sent.with_context(|| format!("{}:{}", self.host, self.port))?;
        Ok(())
    }

    fn parameters(&self) -> Result<TlsParameters> {
        TlsParameters::new(self.host.clone()).context("reading this machine's certificates")
    }
}

fn mailbox(address: &str) -> Result<Mailbox> {
    let parsed = address.parse();
    parsed.with_context(|| format!("{address:?} is no mail address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_sent_in_clear_text_to_another_machine() {
        let mail = |host: &str| Mail {
            host: host.to_owned(),
            port: 25,
            tls: Tls::None,
            from: "a@example.org".to_owned(),
            to: vec!["b@example.org".to_owned()],
            user: Some("a".to_owned()),
            password: Some("s3cret".to_owned()),
        };
        let error = mail("mail.example.org").check().unwrap_err().to_string();
        assert!(
            error.contains("--tls") && !error.contains("s3cret"),
            "{error}"
        );
        mail("127.0.0.1").check().unwrap();
    }
}
