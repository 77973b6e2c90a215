//! A page that takes long to render, as one does on a busy event loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Longest time that may be set, in milliseconds.
const LONGEST_MS: u64 = 60_000;

/// In milliseconds; 0 for a page that takes no longer than it does.
#[derive(Default)]
pub struct Slow(AtomicU64);

impl Slow {
    /// Sets the time; 0 ends it.
    ///
    /// # Errors
    /// If `text` is no number of milliseconds up to a minute.
    pub fn set(&self, text: &str) -> Result<(), String> {
        let ms = text.parse().ok().filter(|ms| *ms <= LONGEST_MS);
        let ms = ms.ok_or_else(|| format!("`{text}` is not a time from 0 to {LONGEST_MS} ms"))?;
        self.0.store(ms, Ordering::Relaxed);
        Ok(())
    }

    /// How much longer the page takes.
    pub fn delay(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_force_until_0() {
        let slow = Slow::default();
        assert_eq!(slow.delay(), Duration::ZERO);
        slow.set("150").unwrap();
        assert!(slow.set("60001").is_err() && slow.set("-1").is_err());
        assert_eq!(slow.delay(), Duration::from_millis(150));
        slow.set("0").unwrap();
        assert_eq!(slow.delay(), Duration::ZERO);
    }
}
