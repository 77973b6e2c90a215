//! Counts calls by name into a file, for tests that ask how much a program reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Names the file when the scenario does not.
const LOG_VARIABLE: &str = "FAKE_NVML_CALL_LOG";
/// How often the file is written while calls come in.
const WRITE_EVERY: Duration = Duration::from_millis(500);

struct Counts {
    by_name: BTreeMap<&'static str, u64>,
    written: Option<Instant>,
}

static COUNTS: Mutex<Counts> = Mutex::new(Counts {
    by_name: BTreeMap::new(),
    written: None,
});

/// Counts one call, and writes the file if it is time. A file that cannot be written is ignored:
/// the reader of the log finds it missing.
pub fn count(name: &'static str, path: Option<&str>) {
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    *counts.by_name.entry(name).or_default() += 1;
    if counts
        .written
        .is_none_or(|written| written.elapsed() >= WRITE_EVERY)
    {
        counts.written = Some(Instant::now());
        counts.write(path);
    }
}

/// Writes the file now.
pub fn flush(path: Option<&str>) {
    COUNTS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write(path);
}

impl Counts {
    fn write(&self, path: Option<&str>) {
        // Read once: the program around us may change its environment from another thread.
        static VARIABLE: OnceLock<Option<String>> = OnceLock::new();
        let variable = VARIABLE.get_or_init(|| std::env::var(LOG_VARIABLE).ok());
        let Some(path) = path.or(variable.as_deref()) else {
            return;
        };
        let path = path.replace("{pid}", &std::process::id().to_string());
        let mut text = String::new();
        for (name, count) in &self.by_name {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} {count}");
        }
        let _ = fs::write(path, text);
    }
}
