//! Looks at what processes show to everybody and to their own user, again and again: their arguments and environments.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::ensure;

/// A process that lives shorter than this may be missed; most live longer.
const BETWEEN: Duration = Duration::from_millis(100);
/// Fewer looks prove nothing.
const LEAST: usize = 20;

/// A watch for some secrets, until it is ended.
pub struct Watch {
    ended: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
    watcher: JoinHandle<()>,
}

impl Watch {
    /// Begins to look for `secrets`.
    #[must_use]
    pub fn begin(secrets: &[&str]) -> Self {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        let (ended, looks, seen) = (Arc::default(), Arc::default(), Arc::default());
        let watcher = {
            let (ended, looks, seen): (Arc<AtomicBool>, Arc<AtomicUsize>, Arc<Mutex<Vec<String>>>) =
                (Arc::clone(&ended), Arc::clone(&looks), Arc::clone(&seen));
            thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    let found = shown(&secrets);
                    if let (false, Ok(mut seen)) = (found.is_empty(), seen.lock()) {
                        seen.extend(found);
                    }
                    looks.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(BETWEEN);
                }
            })
        };
        Self {
            ended,
            looks,
            seen,
            watcher,
        }
    }

    /// How often it looked at every process.
    #[must_use]
    pub fn looks(&self) -> usize {
        self.looks.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Errors
    /// A secret was shown, or it hardly looked.
    pub fn end(self) -> anyhow::Result<()> {
        self.ended.store(true, Ordering::Relaxed);
        ensure!(self.watcher.join().is_ok(), "the watch died");
        let looks = self.looks.load(Ordering::Relaxed);
        ensure!(looks >= LEAST, "only {looks} looks");
        let seen = self
            .seen
            .lock()
            .map(|seen| seen.clone())
            .unwrap_or_default();
        ensure!(seen.is_empty(), "shown by {seen:?}");
        Ok(())
    }
}

fn shown(secrets: &[String]) -> Vec<String> {
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        for name in ["cmdline", "environ"] {
            let path = entry.path().join(name);
            let text = std::fs::read(&path).unwrap_or_default();
            let holds = |secret: &&String| {
                text.windows(secret.len())
                    .any(|part| part == secret.as_bytes())
            };
            found.extend(
                secrets
                    .iter()
                    .find(holds)
                    .map(|_| path.display().to_string()),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use super::*;

    #[test]
    fn a_secret_in_an_argument_is_seen_and_another_is_not() -> anyhow::Result<()> {
        let secret = format!("s3cret-{}", std::process::id());
        // No shell: it becomes two processes before it is another program.
        let mut child = std::process::Command::new("sleep")
            .arg0(&secret)
            .arg("60")
            .spawn()?;
        // A program that has just begun has no arguments yet.
        let cmdline = format!("/proc/{}/cmdline", child.id());
        let begun = crate::wait_for("its arguments", Duration::from_secs(10), || {
            anyhow::ensure!(!std::fs::read(&cmdline)?.is_empty(), "none yet");
            Ok(())
        });
        let found = shown(&[secret]);
        let none = shown(&["s3cret-of-nobody".to_owned() + "-at-all"]);
        child.kill()?;
        child.wait()?;
        begun?;
        assert_eq!(found, [cmdline]);
        assert!(none.is_empty(), "{none:?}");
        Ok(())
    }
}
