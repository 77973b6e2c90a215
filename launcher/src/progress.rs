//! What is going on, on stderr: a moving line on a terminal, otherwise one line a step.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(120);

/// One step under way.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    plain: bool,
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
        let progress = Self { bar, plain };
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
        self.bar
            .set_prefix(text.chars().take(60).collect::<String>());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
