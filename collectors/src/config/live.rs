//! A module's configuration that follows its files: every pass of discovery looks whether one of them has
//! changed. What has a mistake then leaves what runs alone.

use std::collections::BTreeSet;

use super::job::{Configured, Options};
use super::source::Source;
use super::watch::Watch;

/// The configuration of one module, kept up to date.
pub struct Live<T> {
    source: Source,
    current: Option<Configured<T>>,
    watch: Watch,
    first: bool,
    told: BTreeSet<String>,
    changed: bool,
}

impl<T: Options> Live<T> {
    /// Nothing is read before the first [`Self::refresh`].
    #[must_use]
    pub fn new(source: &Source) -> Self {
        Self {
            watch: Watch::new(source.files_of(T::MODULE)),
            source: source.clone(),
            current: None,
            first: true,
            told: BTreeSet::new(),
            changed: false,
        }
    }

    /// What is configured now. `None` as long as the file has had nothing but mistakes, which are logged
    /// once each: the module then has no jobs.
    pub fn refresh(&mut self) -> Option<&Configured<T>> {
        if self.watch.due() {
            self.read_again();
        }
        self.current.as_ref()
    }

    /// Whether the configuration has changed since this was asked last: what `Discover::reconfigured`
    /// answers.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    fn read_again(&mut self) {
        let first = std::mem::replace(&mut self.first, false);
        let (read, problems) = self.source.module::<T>();
        let lines: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
        for line in lines.difference(&self.told) {
            log::error!("{line}");
        }
        let mended = !self.told.is_empty() && lines.is_empty();
        self.told = lines;
        let next = match (read, &self.current) {
            (None, None) => {
                log::error!("this module runs once its file is corrected; a restart is not needed");
                return;
            }
            (None, Some(_)) => {
                log::error!("what was configured before goes on until the file is corrected");
                return;
            }
            (Some(read), None) => read,
            (Some(read), Some(current)) => keep_broken(read, current),
        };
        if self.current.as_ref() == Some(&next) {
            if mended {
                log::info!("the configuration is in order again");
            }
            return;
        }
        if !first {
            log::info!("the configuration has changed: what it concerns starts again");
        }
        self.changed = !first;
        self.current = Some(next);
    }
}

/// A job that has a mistake now goes on as it was.
fn keep_broken<T: Options>(mut read: Configured<T>, current: &Configured<T>) -> Configured<T> {
    for name in &read.broken {
        let before = current.jobs.iter().find(|job| job.name == *name);
        if let Some(job) = before {
            log::error!("job {name:?} goes on as it was configured before");
            read.jobs.push(job.clone());
        }
    }
    read
}

#[cfg(test)]
mod tests;
