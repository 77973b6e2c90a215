//! Leaves series out of `/metrics`, as a server that has not seen that event yet.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Withhold(Mutex<Vec<String>>);

impl Withhold {
    /// Leaves out series whose `name{labels}` starts with `prefix`.
    pub fn add(&self, prefix: &str) {
        let mut prefixes = self.lock();
        if !prefixes.iter().any(|known| known == prefix) {
            prefixes.push(prefix.to_owned());
        }
    }

    /// Ends one withholding.
    ///
    /// # Errors
    /// If `prefix` was not withheld.
    pub fn restore(&self, prefix: &str) -> Result<(), String> {
        let mut prefixes = self.lock();
        let before = prefixes.len();
        prefixes.retain(|known| known != prefix);
        if prefixes.len() == before {
            return Err(format!("`{prefix}` is not withheld"));
        }
        Ok(())
    }

    /// The prefixes in force.
    pub fn prefixes(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_withheld_until_restored() {
        let withhold = Withhold::default();
        withhold.add("sglang:a{");
        withhold.add("sglang:a{");
        assert_eq!(withhold.prefixes(), ["sglang:a{"]);
        assert!(withhold.restore("sglang:a").is_err());
        withhold.restore("sglang:a{").unwrap();
        assert!(withhold.prefixes().is_empty());
    }
}
