//! `deliver`, run by Netdata's script inside the container once for each change of an alert.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::message::Level;
use super::{Channels, Message, now};
use crate::cli::DeliverArgs;

/// The same again within this time is a duplicate; later it is a reminder that somebody asked for.
const DUPLICATE_SECONDS: u64 = 600;
/// What is remembered longer than this is about something long gone.
const FORGET_SECONDS: u64 = 30 * 86_400;
/// No memory is this long.
const MAX_BYTES: u64 = 4 << 20;

/// What was told last about each alert.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    told: BTreeMap<String, Told>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    level: String,
    at: u64,
}

impl Memory {
    /// Whether to tell it; what is told is remembered.
    fn is_news(&mut self, message: &Message, now: u64) -> bool {
        self.told.retain(|_, told| told.at + FORGET_SECONDS > now);
        let level = message.level.name();
        let news = match self.told.get(&message.key) {
            // The end of what nobody was told of, because it began while alerts were muted.
            None => message.level != Level::Clear,
            Some(last) => last.level != level || last.at + DUPLICATE_SECONDS <= now,
        };
        if news {
            let told = Told {
                level: level.to_owned(),
                at: now,
            };
            self.told.insert(message.key.clone(), told);
        }
        news
    }
}

/// Tells the alert that the environment describes.
pub fn run(args: &DeliverArgs) -> Result<()> {
    let Some(message) = Message::from_environment() else {
        bail!("no alert is described");
    };
    let channels = Channels::read(&args.channels)?;
    if channels.names().is_empty() {
        out!("told nobody: no channel is set (launcher notify set)");
        return Ok(());
    }
    if let Some(left) = channels.muted_for() {
        out!("told nobody: muted for {left} more seconds");
        return Ok(());
    }
    if !remember(&args.memory, &message)? {
        out!("told already");
        return Ok(());
    }
    let results = channels.send(&message);
    let failed: Vec<String> = results
        .iter()
        .filter_map(|(name, result)| Some(format!("{name}: {:#}", result.as_ref().err()?)))
        .collect();
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    out!("told by {}", channels.names().join(", "));
    Ok(())
}

/// Several alerts may change at once: one at a time looks and writes.
fn remember(path: &Path, message: &Message) -> Result<bool> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    let mut file = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, error)| error)
        .with_context(|| format!("locking {}", path.display()))?;
    let mut text = String::new();
    let reader: &File = &file;
    reader
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .unwrap_or_default();
    // A memory that cannot be read is worse than none only by one duplicate.
    let mut memory: Memory = serde_json::from_str(&text).unwrap_or_default();
    let news = memory.is_news(message, now());
    let json = serde_json::to_vec(&memory).context("writing JSON")?;
    let written = file
        .rewind()
        .and_then(|()| file.set_len(0))
        .and_then(|()| file.write_all(&json));
    written.with_context(|| format!("writing {}", path.display()))?;
    Ok(news)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: Level) -> Message {
        Message {
            key: "node chart alert".to_owned(),
            level,
            title: String::new(),
            body: String::new(),
        }
    }

    #[test]
    fn each_change_is_told_once_and_a_reminder_after_a_while() {
        let mut memory = Memory::default();
        let mut news = |level, at| memory.is_news(&message(level), at);
        assert!(news(Level::Warning, 1000));
        assert!(!news(Level::Warning, 1001), "a duplicate");
        assert!(news(Level::Critical, 1002));
        assert!(news(Level::Clear, 1003));
        assert!(!news(Level::Clear, 1004), "a duplicate");
        assert!(news(Level::Warning, 1005));
        assert!(news(Level::Warning, 1005 + DUPLICATE_SECONDS), "a reminder");
    }

    #[test]
    fn the_end_of_what_nobody_was_told_of_is_not_told() {
        assert!(!Memory::default().is_news(&message(Level::Clear), 1));
    }

    #[test]
    fn a_memory_survives_the_process_and_a_broken_one_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        std::fs::write(&path, "no json at all").unwrap();
        assert!(remember(&path, &message(Level::Warning)).unwrap());
        assert!(!remember(&path, &message(Level::Warning)).unwrap());
    }
}
