//! `vnodes/vnodes.conf`, as go.d has it: nodes of their own in the dashboard for what another machine tells.

use std::collections::BTreeMap;
use std::sync::Arc;

use netdata_plugin::module::Host;
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::de::NodeDeserializer;
use super::job::LabelName;
use super::problem::Problems;
use super::yaml::{Node, Value};

/// One node.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What a job's `vnode` says; the host's name where it is missing.
    name: Option<String>,
    hostname: String,
    guid: Guid,
    #[serde(default)]
    labels: BTreeMap<LabelName, String>,
}

/// What a node is known by for ever.
#[derive(Debug)]
struct Guid(String);

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let dashes = [8, 13, 18, 23];
        let fits = |(at, c): (usize, char)| {
            if dashes.contains(&at) {
                c == '-'
            } else {
                c.is_ascii_hexdigit()
            }
        };
        if text.len() == 36 && text.char_indices().all(fits) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(de::Error::custom(
                "expected a UUID, as `uuidgen` prints one",
            ))
        }
    }
}

/// The nodes of a file; one with a mistake is left out.
pub fn read(root: &Node, problems: &mut Problems) -> Vec<Arc<Host>> {
    let list = match &root.value {
        Value::List(list) => list,
        // A file with every line commented out, as the agent's own stock file is.
        Value::Map(entries) if entries.is_empty() => return vec![],
        _ => {
            let what = format!("expected a list of nodes, found {}", root.kind());
            problems.add(root.place, None, what);
            return vec![];
        }
    };
    let mut hosts: Vec<Arc<Host>> = vec![];
    for node in list {
        let entry = match Entry::deserialize(NodeDeserializer(node)) {
            Ok(entry) => entry,
            Err(fault) => {
                problems.add(fault.place.unwrap_or(node.place), None, fault.message());
                continue;
            }
        };
        let name = entry.name.unwrap_or_else(|| entry.hostname.clone());
        if hosts
            .iter()
            .any(|host| host.name == name || host.guid == entry.guid.0)
        {
            let what = "a node above has this name or this guid already".to_owned();
            problems.add(node.place, None, what);
            continue;
        }
        let labels = entry.labels.into_iter();
        hosts.push(Arc::new(Host {
            name,
            hostname: entry.hostname,
            guid: entry.guid.0,
            labels: labels.map(|(name, value)| (name.0, value)).collect(),
        }));
    }
    hosts
}
