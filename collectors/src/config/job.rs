//! What every job of every module may say.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use netdata_plugin::module::{Collector, Host, Job, Settings};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::values::{Seconds, Whole};

/// Most jobs in a file.
const MAX_JOBS: usize = 1000;
/// Where charts stand by themselves: `priority` moves them away from here.
const PRIORITY: u32 = 70_000;

/// The options of one module. They may stand at the top of its file, for every job, and within a job.
pub trait Options: DeserializeOwned + Clone + PartialEq + Send + 'static {
    /// The module's name: its file is `rs.d/<MODULE>.conf`.
    const MODULE: &'static str;
    /// Seconds between two ticks where the file does not say.
    const UPDATE_EVERY: u32;
    /// Most jobs that may be listed: 1 where the module has a single job that finds its things itself.
    const MAX_JOBS: usize = MAX_JOBS;

    /// Keys that every listed job has to have although they have a default at the top of the file, where
    /// they mean nothing.
    const NEEDED: &'static [&'static str] = &[];

    /// What several options together have to fulfil.
    ///
    /// # Errors
    /// The key to look at, and what is wrong with it.
    fn check(&self) -> Result<(), (&'static str, String)> {
        Ok(())
    }
}

/// Options that every module's jobs share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shared {
    /// Seconds between two ticks; never fewer than the agent asks for.
    pub update_every: Option<Seconds>,
    /// Longest pause in seconds before a job that failed is tried again; 0: it is not.
    pub autodetection_retry: Option<Whole<0, 86_400>>,
    /// Where the charts stand on the dashboard: lower is higher up.
    pub priority: Option<Whole<1, 1_000_000>>,
    /// Labels of every chart.
    pub labels: BTreeMap<LabelName, String>,
    /// The virtual node, of vnodes/vnodes.conf, that the charts belong to.
    pub vnode: Option<String>,
}

/// The name of a label: letters, digits, `_`, `.` and `-`, and no `_` in front, which is Netdata's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelName(pub String);

impl<'de> Deserialize<'de> for LabelName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 64 || name.starts_with('_') || !name.chars().all(fits) {
            return Err(serde::de::Error::custom(
                "the name of a label has up to 64 letters, digits, _ . - and does not begin with _",
            ));
        }
        Ok(Self(name))
    }
}

/// One job as configured, or (from [`Configured::base`]) what the file says for jobs that nobody listed.
#[derive(Clone, Debug, PartialEq)]
pub struct JobConfig<T> {
    /// Its name; empty for the base.
    pub name: String,
    /// What every module has.
    pub shared: Shared,
    /// What this module has.
    pub options: T,
    pub(super) host: Option<Arc<Host>>,
    pub(super) revision: u64,
    pub(super) least_every: u32,
}

/// A module's file.
#[derive(Clone, Debug, PartialEq)]
pub struct Configured<T> {
    /// What stands outside `jobs:`; `None` where an option without a default is missing there.
    pub base: Option<JobConfig<T>>,
    /// `jobs:`, in order, those without a mistake.
    pub jobs: Vec<JobConfig<T>>,
    /// Names of the jobs with a mistake.
    pub broken: Vec<String>,
}

impl<T: Options> JobConfig<T> {
    /// Seconds between two ticks.
    #[must_use]
    pub fn update_every(&self) -> u32 {
        let configured = self.shared.update_every.map(Seconds::get);
        configured.unwrap_or(T::UPDATE_EVERY).max(self.least_every)
    }

    /// Its name, or `otherwise` where nobody listed it.
    #[must_use]
    pub fn name_or<'a>(&'a self, otherwise: &'a str) -> &'a str {
        if self.name.is_empty() {
            otherwise
        } else {
            &self.name
        }
    }

    /// The job for the supervisor, under `name`: the configured one's own, or that of what was found.
    pub fn job(
        &self,
        name: &str,
        start: impl FnOnce() -> anyhow::Result<Box<dyn Collector>> + Send + 'static,
    ) -> Job {
        let shared = &self.shared;
        let labels = shared.labels.iter();
        Job {
            name: name.to_owned(),
            update_every: self.update_every(),
            settings: Settings {
                labels: labels
                    .map(|(name, value)| (name.0.clone(), value.clone()))
                    .collect(),
                priority_shift: shared
                    .priority
                    .map_or(0, |at| i64::from(at.get()) - i64::from(PRIORITY)),
                longest_pause: shared
                    .autodetection_retry
                    .map(|retry| Duration::from_secs(retry.get().into())),
                host: self.host.clone(),
                listed: !self.name.is_empty(),
                revision: self.revision,
            },
            start: Box::new(start),
        }
    }
}

impl<T> Configured<T> {
    /// The configuration of a module's single job: the one that is listed, else what stands outside `jobs:`.
    /// `None` if there is a mistake in the listed one.
    #[must_use]
    pub fn only(&self) -> Option<&JobConfig<T>> {
        match (self.jobs.first(), self.broken.is_empty()) {
            (None, true) => self.base.as_ref(),
            (job, _) => job,
        }
    }

    /// What the file says for every job, with the defaults where it is silent.
    #[cfg(test)]
    pub(super) fn said(self) -> Option<(u32, u32, u32, T)>
    where
        T: Options,
    {
        let base = self.base?;
        let shared = &base.shared;
        assert!(shared.labels.is_empty() && shared.vnode.is_none());
        Some((
            base.update_every(),
            shared.autodetection_retry.map_or(60, Whole::get),
            shared.priority.map_or(PRIORITY, Whole::get),
            base.options,
        ))
    }

    pub(super) fn new(base: Option<JobConfig<T>>) -> Self {
        Self {
            base,
            jobs: vec![],
            broken: vec![],
        }
    }
}
