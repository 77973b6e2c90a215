//! One command at a time may change a home. The kernel drops the lock with its holder, so a crash
//! leaves none behind.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::interrupt;

/// Longer than any `start` takes with its default bound, so that two starts at once both succeed.
pub const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(100);

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

/// Takes the lock, waiting up to `patience` for its holder. `verb` is what others are told.
pub fn take(path: &Path, verb: &str, patience: Duration) -> Result<Lock> {
    let file = open(path, true).with_context(|| format!("opening the lock {}", path.display()))?;
    take_file(file, path, verb, patience)
}

/// The same where the home is still there; `uninstall` may have removed it.
pub fn take_existing(path: &Path, verb: &str, patience: Duration) -> Result<Option<Lock>> {
    match open(path, false) {
        Ok(file) => take_file(file, path, verb, patience).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("opening the lock {}", path.display())),
    }
}

fn open(path: &Path, create: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(create)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn take_file(mut file: File, path: &Path, verb: &str, patience: Duration) -> Result<Lock> {
    let deadline = Instant::now() + patience;
    let mut told = false;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                // Only for the message below: failing to write it is no reason to fail.
                let _ = lock.set_len(0);
                let _ = lock.rewind();
                let _ = write!(lock, "launcher {verb} (pid {})", std::process::id());
                return Ok(Lock { _file: lock });
            }
            Err((back, Errno::EWOULDBLOCK)) => file = back,
            Err((_, error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
        let holder = holder(&mut file);
        if Instant::now() >= deadline {
            bail!(
                "{holder} is still working on this home after {} s",
                patience.as_secs()
            );
        }
        if !told {
            tell!("waiting for {holder} to finish");
            told = true;
        }
        interrupt::check()?;
        thread::sleep(POLL);
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file
        .rewind()
        .and_then(|()| file.take(100).read_to_string(&mut text));
    match read {
        Ok(n) if n > 0 => text.chars().filter(|c| !c.is_control()).collect(),
        _ => "another launcher command".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_was_removed_is_not_made_for_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert!(
            take_existing(&path, "start", Duration::ZERO)
                .unwrap()
                .is_none()
        );
        assert!(!path.exists());
        drop(take(&path, "start", Duration::ZERO).unwrap());
        assert!(
            take_existing(&path, "start", Duration::ZERO)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn a_second_command_is_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = take(&path, "start", Duration::ZERO).unwrap();
        let error = take(&path, "stop", Duration::ZERO).unwrap_err().to_string();
        assert!(error.starts_with("launcher start (pid "), "{error}");
        drop(first);
        take(&path, "stop", Duration::ZERO).unwrap();
    }
}
