//! Counts calls by name into a file, and the CPU time they take, for tests that ask how much a program reads and
//! what that costs beside the library's own part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Names the file when the scenario does not.
const LOG_VARIABLE: &str = "FAKE_NVML_CALL_LOG";
/// How often the file is written while calls come in.
const WRITE_EVERY: Duration = Duration::from_millis(500);

/// The line with the CPU time of all calls, ns.
const CPU_LINE: &str = "cpu_ns";

static CPU_NS: AtomicU64 = AtomicU64::new(0);

/// The file that the environment names. Read once: the program around us may change its environment from
/// another thread.
fn named() -> Option<&'static str> {
    static VARIABLE: OnceLock<Option<String>> = OnceLock::new();
    let variable = VARIABLE.get_or_init(|| std::env::var(LOG_VARIABLE).ok());
    variable.as_deref()
}

/// Runs a call; its CPU time is kept where the environment names a log.
pub fn timed<T>(call: impl FnOnce() -> T) -> T {
    if named().is_none() {
        return call();
    }
    let began_ns = cpu_of_this_thread_ns();
    let outcome = call();
    let took_ns = cpu_of_this_thread_ns().saturating_sub(began_ns);
    CPU_NS.fetch_add(took_ns + looking_ns(), Ordering::Relaxed);
    outcome
}

/// What it costs to look at that clock: a system call, half of each look lies outside of what is measured.
fn looking_ns() -> u64 {
    const LOOKS: u64 = 500;
    static COST: OnceLock<u64> = OnceLock::new();
    *COST.get_or_init(|| {
        let began_ns = cpu_of_this_thread_ns();
        for _ in 0..LOOKS {
            std::hint::black_box(cpu_of_this_thread_ns());
        }
        cpu_of_this_thread_ns().saturating_sub(began_ns) / LOOKS
    })
}

fn cpu_of_this_thread_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local; the clock is one that every Linux has.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

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
        let Some(path) = path.or(named()) else {
            return;
        };
        let path = path.replace("{pid}", &std::process::id().to_string());
        let mut text = String::new();
        if named().is_some() {
            let _ = writeln!(text, "{CPU_LINE} {}", CPU_NS.load(Ordering::Relaxed));
        }
        for (name, count) in &self.by_name {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} {count}");
        }
        // Whole or not at all, for whoever reads meanwhile; where only the file itself may be written, as it comes.
        let new = format!("{path}.new");
        if fs::write(&new, &text)
            .and_then(|()| fs::rename(&new, &path))
            .is_err()
        {
            let _ = fs::write(path, text);
        }
    }
}
