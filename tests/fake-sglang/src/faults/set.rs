//! Shows other values than captured: a full cache, a long queue.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Set(Mutex<BTreeMap<String, f64>>);

impl Set {
    /// Takes `PREFIX=VALUE`, for series whose `name{labels}` starts so; `PREFIX=` ends it.
    ///
    /// # Errors
    /// If it is neither.
    pub fn set(&self, text: &str) -> Result<(), String> {
        // Labels hold `=` as well.
        let (prefix, value) = text.rsplit_once('=').unwrap_or_default();
        if prefix.is_empty() {
            return Err(format!("`{text}` is not PREFIX=VALUE"));
        }
        if value.is_empty() {
            return match self.lock().remove(prefix) {
                Some(_) => Ok(()),
                None => Err(format!("`{prefix}` is not set")),
            };
        }
        let value = value
            .parse()
            .map_err(|_| format!("`{value}` is no number"))?;
        self.lock().insert(prefix.to_owned(), value);
        Ok(())
    }

    /// What is set.
    pub fn values(&self) -> BTreeMap<String, f64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, f64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_set_until_it_is_taken_back() {
        let set = Set::default();
        set.set("x{a=\"b\"}=1.5").unwrap();
        assert_eq!(set.values()["x{a=\"b\"}"], 1.5);
        set.set("x{a=\"b\"}=").unwrap();
        assert!(set.values().is_empty());
        assert!(set.set("x").is_err() && set.set("x=y").is_err() && set.set("x=").is_err());
    }
}
