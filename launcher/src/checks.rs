//! What `doctor` looks at: a table of checks, one file an area. Each says what it found and, where that is not
//! well, what to do. None changes anything, and none may hold the others up.

mod gpu;
mod host;
mod image;
mod netdata;
mod network;
mod runtime;
mod servers;
mod settings;
mod storage;

use std::sync::mpsc::channel;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::ask::Answer;
use crate::cli::StartFlags;
use crate::container;
use crate::instance::{Record, State};
use crate::paths::Paths;
use crate::process::Proc;
use crate::report::Report;
use crate::runtime::{Container, Runtime};
use crate::settings::{Layers, Settings};

/// The longest check starts a container.
const PATIENCE: Duration = Duration::from_secs(45);

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Nothing to look at here.
    Skip,
    /// Well.
    Pass,
    /// Works, but something is lost.
    Warn,
    /// Netdata or its charts cannot work.
    Fail,
}

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it is.
    pub level: Level,
    /// In a few words.
    pub found: String,
    /// What to do, where it is not well.
    pub hint: Option<String>,
}

impl Finding {
    fn pass(found: impl Into<String>) -> Self {
        Self::new(Level::Pass, found, None)
    }
    fn skip(found: impl Into<String>) -> Self {
        Self::new(Level::Skip, found, None)
    }
    fn warn(found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Level::Warn, found, Some(hint.into()))
    }
    fn fail(found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Level::Fail, found, Some(hint.into()))
    }
    fn new(level: Level, found: impl Into<String>, hint: Option<String>) -> Self {
        // What is found is often a name of somebody else's making.
        let found: String = found.into();
        Self {
            level,
            found: found.chars().filter(|c| !c.is_control()).collect(),
            hint,
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Check {
    /// Its name, for scripts.
    pub id: &'static str,
    /// The question it answers.
    pub what: &'static str,
    run: fn(&Machine) -> Finding,
}

/// Every check, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Check> {
    let areas = [
        settings::CHECKS,
        runtime::CHECKS,
        storage::CHECKS,
        host::CHECKS,
        network::CHECKS,
        image::CHECKS,
        gpu::CHECKS,
        netdata::CHECKS,
        servers::CHECKS,
    ];
    areas.into_iter().flatten()
}

/// What the checks look at: the machine, this home, and what runs from it.
#[derive(Debug)]
pub struct Machine {
    paths: Paths,
    proc: Proc,
    layers: Layers,
    settings: Option<Settings>,
    /// Why there are none.
    wrong_setting: Option<String>,
    runtime: Option<Runtime>,
    container: Option<Container>,
    record: Option<Record>,
    report: Option<Report>,
    members: Vec<i32>,
    /// What the plugin reads of the GPUs inside the image, once for all who ask.
    gpus: OnceLock<Option<Answer>>,
}

impl Machine {
    /// Reads what several checks need. What cannot be read is None, and some check says why.
    pub fn read(
        paths: &Paths,
        proc: &Proc,
        layers: &Layers,
        flags: &StartFlags,
        instance: &crate::instance::Instance,
    ) -> Self {
        let (settings, wrong_setting) = match Settings::resolve(flags, layers) {
            Ok(settings) => (Some(settings), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let container = settings.as_ref().and_then(|settings| {
            let container = container::trial(paths, proc, settings).ok()?;
            let asked = settings.image.as_deref();
            let image = asked
                .and_then(crate::image::finished)
                .unwrap_or(container.image);
            // As `start` does it after a first attempt.
            let unpack = runtime::usable_fuse().is_err();
            Some(Container {
                image,
                unpack,
                ..container
            })
        });
        let record = match instance.state() {
            Ok(State::Running(record)) => Some(record),
            _ => None,
        };
        Self {
            report: record
                .as_ref()
                .map(|record| Report::of(record, paths, proc, instance)),
            members: record.as_ref().map_or_else(Vec::new, |record| {
                instance
                    .members(record)
                    .iter()
                    .map(|member| member.pid)
                    .collect()
            }),
            paths: paths.clone(),
            proc: proc.clone(),
            layers: layers.clone(),
            settings,
            wrong_setting,
            gpus: OnceLock::new(),
            runtime: Runtime::find().ok(),
            container,
            record,
        }
    }

    /// A container to try something in: with an image, or not at all.
    pub fn container(&self) -> Option<(&Runtime, &Container)> {
        let container = self.container.as_ref()?;
        (container.image.is_file() && container.lib.is_dir()).then_some(())?;
        Some((self.runtime.as_ref()?, container))
    }
}

/// Runs a check, but does not wait for it longer than it may take.
pub fn run(check: &'static Check, machine: &Arc<Machine>) -> Finding {
    let (sender, receiver) = channel();
    let machine = Arc::clone(machine);
    let started = thread::Builder::new()
        .name(check.id.to_owned())
        .spawn(move || sender.send((check.run)(&machine)));
    if let Err(error) = started {
        return Finding::warn(format!("could not look: {error}"), "see the limits above");
    }
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        let found = format!("no answer within {} s", PATIENCE.as_secs());
        Finding::warn(found, "a file server or the driver may hang")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_a_name_of_its_own() {
        let mut ids: Vec<&str> = all().map(|check| check.id).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count);
        assert!(count > 25, "only {count} checks");
    }

    #[test]
    fn what_is_not_well_says_what_to_do() {
        assert!(Finding::fail("a", "b").hint.is_some() && Finding::warn("a", "b").hint.is_some());
        assert_eq!(Finding::pass("a\u{1b}[2J").found, "a[2J");
    }
}
