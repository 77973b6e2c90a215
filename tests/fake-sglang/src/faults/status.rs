//! Answers every request with one status, whatever was asked.

use std::sync::atomic::{AtomicU16, Ordering};

/// 0 and 200 leave the answers alone.
#[derive(Default)]
pub struct Status(AtomicU16);

impl Status {
    /// Sets the status; 200 ends it.
    ///
    /// # Errors
    /// If `text` is no final HTTP status.
    pub fn set(&self, text: &str) -> Result<(), String> {
        let code = text.parse().ok().filter(|code| (200..=599).contains(code));
        let code = code.ok_or_else(|| format!("`{text}` is not a status from 200 to 599"))?;
        self.0.store(code, Ordering::Relaxed);
        Ok(())
    }

    /// The status to answer with, if one is forced.
    pub fn forced(&self) -> Option<u16> {
        Some(self.0.load(Ordering::Relaxed)).filter(|code| !matches!(code, 0 | 200))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_status_lasts_until_200() {
        let status = Status::default();
        assert_eq!(status.forced(), None);
        status.set("503").unwrap();
        assert_eq!(status.forced(), Some(503));
        assert!(status.set("99").is_err() && status.set("up").is_err());
        assert_eq!(status.forced(), Some(503));
        status.set("200").unwrap();
        assert_eq!(status.forced(), None);
    }
}
