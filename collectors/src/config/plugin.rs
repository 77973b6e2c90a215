//! `rs.d.conf`: which modules run.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::de::NodeDeserializer;
use super::problem::{Problems, did_you_mean, shown};
use super::yaml::{Node, Value};

/// `rs.d.conf`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Plugin {
    /// The whole plugin, on or off.
    pub enabled: bool,
    /// Modules that `modules` does not name, on or off.
    pub default_run: bool,
    /// Single modules, on or off.
    pub modules: BTreeMap<String, bool>,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            enabled: true,
            default_run: true,
            modules: BTreeMap::new(),
        }
    }
}

impl Plugin {
    /// Whether `module` shall run.
    #[must_use]
    pub fn runs(&self, module: &str) -> bool {
        let own = self.modules.get(module).copied();
        self.enabled && own.unwrap_or(self.default_run)
    }

    /// Reads it; `None` if it has a mistake. A module that is not `known` is one.
    pub(super) fn read(root: &Node, known: &[&str], problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let read = Self::deserialize(NodeDeserializer(root));
        if let Err(fault) = &read {
            problems.add(fault.place.unwrap_or(root.place), None, fault.message());
        }
        if let Value::Map(entries) = &root.value
            && let Some((_, modules)) = entries.iter().find(|(key, _)| key.name == "modules")
            && let Value::Map(modules) = &modules.value
        {
            for (key, _) in modules {
                if !known.contains(&key.name.as_str()) {
                    let hint = did_you_mean(&key.name, known.iter().copied());
                    let name = shown(&key.name);
                    problems.add(
                        key.place,
                        None,
                        format!("modules: there is no module {name}{hint}"),
                    );
                }
            }
        }
        read.ok().filter(|_| problems.len() == before)
    }
}
