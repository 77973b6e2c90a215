//! Where configuration is read from, and how much of it.

use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use netdata_plugin::module::Host;

use super::divide::divide;
use super::hosts;
use super::job::{Configured, Options};
#[cfg(test)]
use super::keys::keys_of;
use super::plugin::Plugin;
use super::problem::{Problem, Problems};
use super::yaml::Node;

/// Largest file read: a configuration is written by hand.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Nodes that jobs may put their charts on.
const VNODES: &str = "vnodes/vnodes.conf";
/// Which modules run.
const PLUGIN: &str = "rs.d.conf";

/// Where configuration is looked for.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The user's: `-c`, else `NETDATA_USER_CONFIG_DIR`.
    pub user: Option<PathBuf>,
    /// What came with the plugin: `NETDATA_STOCK_CONFIG_DIR`.
    pub stock: Option<PathBuf>,
    /// Shortest interval in seconds that a job may have, from the command line.
    pub update_every: u32,
}

/// What the registry knows of a module's options.
#[derive(Clone, Copy)]
pub struct Kind {
    /// Every mistake in the module's file.
    pub check: fn(&Source) -> Vec<Problem>,
    /// The module's own keys.
    #[cfg(test)]
    pub keys: fn() -> &'static [&'static str],
    /// Whether two files say the same outside `jobs:`, defaults included.
    #[cfg(test)]
    pub same_base: fn(&Source, &Source) -> bool,
    /// Its interval where nothing is configured, in seconds.
    #[cfg(test)]
    pub update_every: u32,
}

impl Kind {
    /// For a module with options `T`.
    #[must_use]
    pub const fn of<T: Options>() -> Self {
        Self {
            check: |source| source.module::<T>().1,
            #[cfg(test)]
            keys: keys_of::<T>,
            #[cfg(test)]
            same_base: |left, right| {
                let read = |source: &Source| source.module::<T>().0.map(Configured::said);
                let (left, right) = (read(left), read(right));
                left == right
            },
            #[cfg(test)]
            update_every: T::UPDATE_EVERY,
        }
    }
}

impl Source {
    /// `rs.d.conf` and its mistakes; `None` if it has any. `known` are the modules that there are.
    #[must_use]
    pub fn plugin(&self, known: &[&str]) -> (Option<Plugin>, Vec<Problem>) {
        match self.tree(PLUGIN) {
            Ok(None) => (Some(Plugin::default()), vec![]),
            Ok(Some((root, mut problems))) => {
                let read = Plugin::read(&root, known, &mut problems);
                (read, problems.into_list())
            }
            Err(problem) => (None, vec![problem]),
        }
    }

    /// A module's file and every mistake in it; `None` if it has one that concerns every job.
    #[must_use]
    pub fn module<T: Options>(&self) -> (Option<Configured<T>>, Vec<Problem>) {
        let (hosts, mut found) = self.hosts();
        let name = format!("rs.d/{}.conf", T::MODULE);
        let (root, mut problems) = match self.tree(&name) {
            Ok(Some(read)) => read,
            Ok(None) => (Node::empty_map(), Problems::of(PathBuf::from(name))),
            Err(problem) => {
                found.push(problem);
                return (None, found);
            }
        };
        let configured = divide(&root, &hosts, self.update_every, &mut problems);
        found.extend(problems.into_list());
        (configured, found)
    }

    /// The nodes of `vnodes/vnodes.conf` and the mistakes in it.
    #[must_use]
    pub fn hosts(&self) -> (Vec<Arc<Host>>, Vec<Problem>) {
        match self.tree(VNODES) {
            Ok(None) => (vec![], vec![]),
            Ok(Some((root, mut problems))) => {
                let hosts = hosts::read(&root, &mut problems);
                (hosts, problems.into_list())
            }
            Err(problem) => (vec![], vec![problem]),
        }
    }

    /// The file in use for each name: `rs.d.conf` and one for each module; `None` where there is none.
    #[must_use]
    pub fn in_use(&self, modules: &[&str]) -> Vec<(String, Option<PathBuf>)> {
        let names = modules.iter().map(|module| format!("rs.d/{module}.conf"));
        let names = std::iter::once(PLUGIN.to_owned()).chain(names);
        let used = |name: &String| self.candidates(name).into_iter().find(|path| path.exists());
        names
            .map(|name| {
                let file = used(&name);
                (name, file)
            })
            .collect()
    }

    /// A directory given that is none.
    #[must_use]
    pub fn problems_of_dirs(&self) -> Vec<Problem> {
        let dirs = [&self.user, &self.stock].into_iter().flatten();
        dirs.filter(|dir| !dir.is_dir())
            .map(|dir| Problem {
                file: dir.as_path().into(),
                place: None,
                job: None,
                what: "there is no such directory".to_owned(),
            })
            .collect()
    }

    /// Every file that a module's configuration depends on, there or not.
    #[must_use]
    pub fn files_of(&self, module: &str) -> Vec<PathBuf> {
        let names = [format!("rs.d/{module}.conf"), VNODES.to_owned()];
        names
            .iter()
            .flat_map(|name| self.candidates(name))
            .collect()
    }

    /// Every file that says which modules run, there or not.
    #[must_use]
    pub fn files_of_plugin(&self) -> Vec<PathBuf> {
        self.candidates(PLUGIN)
    }

    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let dirs = [&self.user, &self.stock].into_iter().flatten();
        dirs.map(|dir| dir.join(name)).collect()
    }

    /// The first file of this name that there is, as a tree.
    fn tree(&self, name: &str) -> Result<Option<(Node, Problems)>, Problem> {
        for path in self.candidates(name) {
            let refused = |place, what| Problem {
                file: path.clone().into(),
                place,
                job: None,
                what,
            };
            let Some(text) = read_bounded(&path).map_err(|what| refused(None, what))? else {
                continue;
            };
            let root = Node::parse(&text).map_err(|(place, what)| refused(place, what))?;
            let root = root.unwrap_or_else(Node::empty_map);
            return Ok(Some((root, Problems::of(path))));
        }
        Ok(None)
    }
}

fn read_bounded(path: &Path) -> Result<Option<String>, String> {
    let file = match std::fs::metadata(path) {
        // A pipe would be waited for.
        Ok(metadata) if !metadata.is_file() => return Err("not a regular file".to_owned()),
        Ok(_) => std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let mut bytes = vec![];
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err("larger than 1 MiB, which no configuration is".to_owned());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("line {line} is not UTF-8")
    })?;
    Ok(Some(text))
}
