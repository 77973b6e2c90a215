//! Versions of what runs beside Netdata: noted at its start, when they are known anyway.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::files;
use crate::paths::Paths;

const FILE: &str = "versions.json";

/// As each says itself, on one line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    /// `rs.d.plugin 0.1.0`.
    pub plugin: Option<String>,
    /// `apptainer version 1.4.5`.
    pub runtime: Option<String>,
}

impl Versions {
    /// Those of the last start; unknown where there is no note, or one that cannot be read.
    pub fn load(paths: &Paths) -> Self {
        let note = fs::read(paths.generated(FILE)).unwrap_or_default();
        serde_json::from_slice(&note).unwrap_or_default()
    }

    /// Notes them.
    pub fn store(&self, paths: &Paths) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).context("noting versions")?;
        files::write_private(&paths.generated(FILE), &json)
    }

    /// The known ones.
    pub fn shown(&self) -> String {
        let known: Vec<&str> = [&self.plugin, &self.runtime]
            .into_iter()
            .filter_map(|version| version.as_deref())
            .collect();
        known.join(", ")
    }
}
