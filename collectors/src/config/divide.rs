//! How a module's file is divided into defaults and jobs, and what is wrong in each of them.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use netdata_plugin::module::Host;
use serde::de::DeserializeOwned;

use super::de::{Fault, NodeDeserializer, unknown_key};
use super::job::{Configured, JobConfig, Options, Shared};
use super::keys::keys_of;
use super::problem::{Problems, did_you_mean, shown};
use super::yaml::{Key, Node, Value};

/// Longest name of a job.
const MAX_NAME: usize = 100;

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
