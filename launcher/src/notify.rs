//! Where alerts are told: kept in a file that only its owner reads, handed to Netdata as a bound file, and used by the
//! launcher's own sender inside the container. Netdata's script would put the addresses, which are secrets, into the
//! arguments of curl, where every user of the machine sees them.

mod conf;
mod deliver;
mod mail;
mod message;
mod web;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::paths::Paths;
pub use conf::{ALARM_NOTIFY, CONFIG_INSIDE, SENDER_INSIDE, text as alarm_notify};
pub use deliver::run as deliver;
pub use mail::{Mail, Tls};
pub use message::Message;
pub use web::Hook;

/// Its name in `state/config`, which the user may keep, and in `state/generated`, which is bound.
pub const FILE: &str = "notify.json";

/// Where alerts go. None: not there.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Channels {
    /// A topic of ntfy.
    pub ntfy: Option<Hook>,
    /// An incoming webhook of Slack, or of what understands the same.
    pub slack: Option<Hook>,
    /// A workflow's webhook of Microsoft Teams.
    pub teams: Option<Hook>,
    /// Mail.
    pub smtp: Option<Mail>,
    /// Nothing is told before this time, in seconds since 1970.
    pub muted_until: u64,
}

impl Channels {
    /// Reads a file; a missing or empty one is none at all.
    pub fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // The error of the parser may quote a secret.
        serde_json::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "{}: line {} cannot be read: set it again with launcher notify set",
                path.display(),
                error.line()
            )
        })
    }

    /// Those of this home.
    pub fn load(paths: &Paths) -> Result<Self> {
        Self::read(&own(paths))
    }

    /// Keeps them, also for a Netdata that runs.
    pub fn store(&self, paths: &Paths) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).context("writing JSON")?;
        files::write_private(&own(paths), &json)?;
        files::rewrite_private(&paths.generated(FILE), &json)
    }

    /// Makes the file that is bound say the same.
    pub fn bind(paths: &Paths) -> Result<PathBuf> {
        let bound = paths.generated(FILE);
        let json = serde_json::to_vec_pretty(&Self::load(paths)?).context("writing JSON")?;
        files::write_private(&bound, &json)?;
        Ok(bound)
    }

    /// How long nothing is told any more, in seconds.
    pub fn muted_for(&self) -> Option<u64> {
        self.muted_until.checked_sub(now()).filter(|left| *left > 0)
    }

    /// The names of those that are set.
    pub fn names(&self) -> Vec<&'static str> {
        let set = [
            (self.ntfy.is_some(), "ntfy"),
            (self.slack.is_some(), "slack"),
            (self.teams.is_some(), "teams"),
            (self.smtp.is_some(), "smtp"),
        ];
        set.into_iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| name)
            .collect()
    }

    /// Every text that must not be shown.
    pub fn secrets(&self) -> Vec<String> {
        let hooks = [&self.ntfy, &self.slack, &self.teams];
        let hooks = hooks.into_iter().flatten();
        let mut secrets: Vec<String> = hooks
            .flat_map(|hook| [Some(hook.url.clone()), hook.token.clone()])
            .flatten()
            .collect();
        secrets.extend(self.smtp.as_ref().and_then(|mail| mail.password.clone()));
        secrets
    }

    /// Tells it everywhere; one result for each channel. An error names no secret.
    pub fn send(&self, message: &Message) -> Vec<(&'static str, Result<()>)> {
        let mut results = vec![];
        if let Some(hook) = &self.ntfy {
            results.push(("ntfy", web::ntfy(hook, message)));
        }
        if let Some(hook) = &self.slack {
            results.push(("slack", web::slack(hook, message)));
        }
        if let Some(hook) = &self.teams {
            results.push(("teams", web::teams(hook, message)));
        }
        if let Some(mail) = &self.smtp {
            results.push(("smtp", mail.send(message)));
        }
        results
    }
}

fn own(paths: &Paths) -> PathBuf {
    paths.state_dir("config").join(FILE)
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_kept_where_only_its_owner_reads_and_reaches_what_runs() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        let bound = Channels::bind(&paths).unwrap();
        let inode = fs::metadata(&bound).unwrap().ino();
        let channels = Channels {
            slack: Some(Hook::new("https://hooks.example/s3cret".to_owned(), None).unwrap()),
            ..Channels::default()
        };
        channels.store(&paths).unwrap();
        assert_eq!(Channels::load(&paths).unwrap().names(), ["slack"]);
        for file in [own(&paths), bound.clone()] {
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // A bound file is the same file for as long as the container lives.
        assert_eq!(fs::metadata(&bound).unwrap().ino(), inode);
        assert_eq!(
            Channels::read(&bound).unwrap().secrets(),
            ["https://hooks.example/s3cret"]
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_without_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a");
        fs::write(&file, "{\"slack\": {\"url\": \"s3cret\", \"s3cret\": 1}}").unwrap();
        let error = Channels::read(&file).err().unwrap().to_string();
        assert!(
            error.contains("cannot be read") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
