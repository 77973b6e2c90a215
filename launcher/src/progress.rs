//! What is going on, on stderr: a moving line on a terminal, otherwise one line a step.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::removal;

const TICK: Duration = Duration::from_millis(120);
/// How often it is looked how much there is.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
const MIB: f64 = 1024.0 * 1024.0;

/// One step under way.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
    /// How much there is by now; empty where nobody measures it.
    amount: Arc<Mutex<String>>,
}

/// As long as it lives, the amount is measured and shown.
#[derive(Debug)]
pub struct Measuring {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins with a first step.
    pub fn start(step: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        let plain = bar.is_hidden();
        // The template is constant; the default one shows the message too.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}  {prefix:.dim}")
        {
            bar.set_style(style);
        }
        let progress = Self {
            bar,
            plain,
            amount: Arc::default(),
        };
        progress.step(step);
        progress.bar.enable_steady_tick(TICK);
        progress
    }

    /// Shows nothing.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            plain: false,
            amount: Arc::default(),
        }
    }

    /// Says what is being done now.
    pub fn step(&self, step: &str) {
        if self.plain {
            tell!("{step}");
        }
        self.bar.set_prefix("");
        self.bar.set_message(step.to_owned());
    }

    /// The same, but not again while it is still being done.
    pub fn step_once(&self, step: &str) {
        if self.bar.message() != step {
            self.step(step);
        }
    }

    /// Adds the latest news of the step; only a terminal shows it.
    pub fn detail(&self, text: &str) {
        let amount = self.amount.lock().map(|amount| amount.clone());
        let text: String = text.chars().take(60).collect();
        self.bar
            .set_prefix(amount.unwrap_or_default() + text.as_str());
    }

    /// Shows how much is written below `dirs` from now on, and how fast. A runtime that is not asked by a terminal
    /// tells nothing of it.
    #[must_use]
    pub fn measure(&self, dirs: Vec<PathBuf>) -> Measuring {
        let ended = Arc::new(AtomicBool::new(false));
        let thread = (!self.bar.is_hidden()).then(|| {
            let (bar, shown, ended) = (
                self.bar.clone(),
                Arc::clone(&self.amount),
                Arc::clone(&ended),
            );
            thread::spawn(move || {
                let size = || dirs.iter().map(|dir| removal::size(dir)).sum::<u64>();
                let (first, began) = (size(), Instant::now());
                let mut next = MEASURE_EVERY;
                while !ended.load(Ordering::Relaxed) {
                    thread::sleep(TICK);
                    if began.elapsed() < next {
                        continue;
                    }
                    let text = amount(size().saturating_sub(first), began.elapsed());
                    bar.set_prefix(text.clone());
                    if let Ok(mut shown) = shown.lock() {
                        *shown = text;
                    }
                    next = began.elapsed() + MEASURE_EVERY;
                }
                if let Ok(mut shown) = shown.lock() {
                    shown.clear();
                }
            })
        });
        Measuring { ended, thread }
    }
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// With the average rate since the beginning.
fn amount(bytes: u64, elapsed: Duration) -> String {
    let mib = bytes as f64 / MIB;
    let rate = mib / elapsed.as_secs_f64().max(0.001);
    format!("{mib:.0} MiB, {rate:.1} MiB/s  ")
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_its_rate() {
        let amount = |mib: u64, seconds| amount(mib << 20, Duration::from_secs(seconds));
        assert_eq!(amount(412, 20).trim(), "412 MiB, 20.6 MiB/s");
        assert_eq!(amount(0, 0).trim(), "0 MiB, 0.0 MiB/s");
    }
}
