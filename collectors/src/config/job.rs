//! What every job of every module may say, and how a module's file is divided into defaults and jobs.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use netdata_plugin::module::{Collector, Host, Job, Settings};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::de::{Fault, NodeDeserializer, unknown_key};
use super::keys::keys_of;
use super::problem::{Problems, did_you_mean, shown};
use super::values::{Seconds, Whole};
use super::yaml::{Key, Node, Value};

/// Longest name of a job.
const MAX_NAME: usize = 100;
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
    host: Option<Arc<Host>>,
    revision: u64,
    least_every: u32,
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

type Entries = Vec<(Key, Node)>;

/// Divides a module's file. `None` if what stands outside `jobs:` has a mistake: it would be in every job.
pub fn divide<T: Options>(
    root: &Node,
    hosts: &[Arc<Host>],
    least_every: u32,
    problems: &mut Problems,
) -> Option<Configured<T>> {
    let Value::Map(entries) = &root.value else {
        let what = format!("expected keys and values, found {}", root.kind());
        problems.add(root.place, None, what);
        return None;
    };
    let mut entries = entries.clone();
    let jobs = entries.iter().position(|(key, _)| key.name == "jobs");
    let jobs = jobs.map(|at| entries.remove(at).1);
    let base = Node {
        place: root.place,
        value: Value::Map(entries),
    };
    let mut reader = Reader {
        hosts,
        least_every,
        problems,
    };
    let found = reader.job::<T>(None, &base);
    let mut configured = match found {
        Found::Mistaken => return None,
        Found::Incomplete(_) => Configured::new(None),
        Found::Sound(job) => Configured::new(Some(job)),
    };
    match jobs {
        Some(jobs) if !jobs.is_nothing() => {
            let Value::List(list) = &jobs.value else {
                let what = format!("jobs: expected a list, found {}", jobs.kind());
                reader.problems.add(jobs.place, None, what);
                return None;
            };
            reader.jobs(list, &base, &mut configured);
        }
        _ => {}
    }
    Some(configured)
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

    fn new(base: Option<JobConfig<T>>) -> Self {
        Self {
            base,
            jobs: vec![],
            broken: vec![],
        }
    }
}

/// What became of one job's entries.
enum Found<T> {
    Sound(JobConfig<T>),
    /// An option that has no default is missing; otherwise nothing is wrong.
    Incomplete(String),
    /// The problems are recorded.
    Mistaken,
}

struct Reader<'a> {
    hosts: &'a [Arc<Host>],
    least_every: u32,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn jobs<T: Options>(&mut self, list: &[Node], base: &Node, configured: &mut Configured<T>) {
        let mut names: Vec<(String, usize)> = vec![];
        for (index, node) in list.iter().enumerate() {
            if index >= T::MAX_JOBS {
                let jobs = if T::MAX_JOBS == 1 { "job" } else { "jobs" };
                let what = format!(
                    "this module takes {} {jobs}: this one and those below do not run",
                    T::MAX_JOBS
                );
                self.problems.add(node.place, None, what);
                break;
            }
            let Some((name, merged)) = self.named(node, base) else {
                continue;
            };
            if let Some((_, line)) = names.iter().find(|(known, _)| *known == name) {
                let what = format!("name: the job in line {line} has this name already");
                self.problems.add(node.place, Some(&name), what);
                continue;
            }
            names.push((name.clone(), node.place.line));
            match self.job(Some(&name), &merged) {
                Found::Sound(job) => configured.jobs.push(job),
                Found::Incomplete(what) => {
                    self.problems.add(node.place, Some(&name), what);
                    configured.broken.push(name);
                }
                Found::Mistaken => configured.broken.push(name),
            }
        }
    }

    /// A job's name, and its entries with those of the base that it does not set itself.
    fn named(&mut self, node: &Node, base: &Node) -> Option<(String, Node)> {
        let Value::Map(entries) = &node.value else {
            let what = format!("jobs: expected a job with a name, found {}", node.kind());
            self.problems.add(node.place, None, what);
            return None;
        };
        let mut entries = entries.clone();
        let name = entries.iter().position(|(key, _)| key.name == "name");
        let name = name
            .map(|at| entries.remove(at).1)
            .filter(|name| !name.is_nothing());
        let Some(name) = name else {
            self.problems
                .add(node.place, None, "jobs: a job has no name".to_owned());
            return None;
        };
        let fits = |c: char| c.is_alphanumeric() || "_.:/@[]-".contains(c);
        match &name.value {
            Value::Scalar { text, .. }
                if text.chars().count() <= MAX_NAME && text.chars().all(fits) =>
            {
                let merged = Node {
                    place: node.place,
                    value: Value::Map(merge(entries, base)),
                };
                Some((text.clone(), merged))
            }
            _ => {
                let what =
                    format!("name: expected up to {MAX_NAME} letters, digits and _ . : / @ [ ] -");
                self.problems.add(name.place, None, what);
                None
            }
        }
    }

    fn job<T: Options>(&mut self, name: Option<&str>, node: &Node) -> Found<T> {
        let Value::Map(entries) = &node.value else {
            return Found::Mistaken;
        };
        let before = self.problems.len();
        let (shared, own) = (keys_of::<Shared>(), keys_of::<T>());
        let mut known: Vec<&str> = [shared, own].concat();
        known.push(if name.is_some() { "name" } else { "jobs" });
        for (key, _) in entries {
            if !known.contains(&key.name.as_str()) {
                self.problems
                    .add(key.place, name, unknown_key(&key.name, &known));
            }
        }
        let shared: Option<Shared> = self.settle(name, node, shared, &mut None);
        let mut missing = None;
        let options: Option<T> = self.settle(name, node, own, &mut missing);
        let place_of = |wanted: &str| {
            let entry = entries.iter().find(|(key, _)| key.name == wanted);
            entry.map_or(node.place, |(_, value)| value.place)
        };
        let absent = |key: &&&str| !entries.iter().any(|(known, _)| known.name == ***key);
        if let (Some(_), Some(key)) = (name, T::NEEDED.iter().find(absent)) {
            missing.get_or_insert(format!("{key} is missing"));
        }
        let vnode = shared.as_ref().and_then(|shared| shared.vnode.as_ref());
        let host = vnode.and_then(|wanted| self.hosts.iter().find(|host| host.name == *wanted));
        if let (Some(wanted), None) = (vnode, host) {
            let names = self.hosts.iter().map(|host| host.name.as_str());
            let what = format!(
                "vnode: vnodes/vnodes.conf has no {}{}",
                shown(wanted),
                did_you_mean(wanted, names)
            );
            self.problems.add(place_of("vnode"), name, what);
        }
        if let Some(Err((key, what))) = options.as_ref().map(T::check) {
            self.problems
                .add(place_of(key), name, format!("{key}: {what}"));
        }
        if self.problems.len() > before {
            return Found::Mistaken;
        }
        let mut hasher = DefaultHasher::new();
        (node, host).hash(&mut hasher);
        match (shared, options, missing) {
            (Some(shared), Some(options), None) => Found::Sound(JobConfig {
                name: name.unwrap_or_default().to_owned(),
                shared,
                options,
                host: host.map(Arc::clone),
                revision: hasher.finish(),
                least_every: self.least_every,
            }),
            (_, _, Some(missing)) => Found::Incomplete(missing),
            _ => Found::Mistaken,
        }
    }

    /// Reads those entries of `node` that are among `keys`. Every entry with a mistake is told, not only
    /// the first; if only one is missing that goes into `missing`.
    fn settle<S: DeserializeOwned>(
        &mut self,
        name: Option<&str>,
        node: &Node,
        keys: &[&str],
        missing: &mut Option<String>,
    ) -> Option<S> {
        let Value::Map(entries) = &node.value else {
            return None;
        };
        let ours = entries
            .iter()
            .filter(|(key, _)| keys.contains(&key.name.as_str()));
        let mut rest: Entries = ours.cloned().collect();
        let mut sound = true;
        loop {
            let node = Node {
                place: node.place,
                value: Value::Map(rest.clone()),
            };
            let fault: Fault = match S::deserialize(NodeDeserializer(&node)) {
                Ok(read) => return Some(read).filter(|_| sound),
                Err(fault) => fault,
            };
            // A key that was taken out below is missing now; that is no mistake of its own.
            if fault.missing && fault.keys.is_empty() {
                if sound {
                    *missing = Some(fault.what);
                }
                return None;
            }
            sound = false;
            self.problems
                .add(fault.place.unwrap_or(node.place), name, fault.message());
            let culprit = fault.keys.last().cloned();
            let before = rest.len();
            rest.retain(|(key, _)| Some(&key.name) != culprit.as_ref());
            if rest.len() == before {
                return None;
            }
        }
    }
}

/// `entries` of a job, and of the base what the job does not set itself; within labels and the like, of both.
fn merge(mut entries: Entries, base: &Node) -> Entries {
    let Value::Map(base) = &base.value else {
        return entries;
    };
    for (key, value) in base {
        let own = entries.iter_mut().find(|(own, _)| own.name == key.name);
        match own.map(|(_, node)| &mut node.value) {
            Some(Value::Map(own)) => *own = merge(std::mem::take(own), value),
            Some(_) => {}
            None => entries.push((key.clone(), value.clone())),
        }
    }
    entries
}
