//! Configuration files in go.d's form: the user's directory first, then the stock one, then built-in
//! defaults, so that no file at all is a valid set-up. The only file that knows YAML.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Largest file read: a configuration is written by hand.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Where configuration is looked for.
#[derive(Clone, Debug, Default)]
pub struct Dirs {
    /// The user's: `-c`, else `NETDATA_USER_CONFIG_DIR`.
    pub user: Option<PathBuf>,
    /// What came with the plugin: `NETDATA_STOCK_CONFIG_DIR`.
    pub stock: Option<PathBuf>,
}

/// `rs.d.conf`.
#[derive(Debug, Deserialize, PartialEq, Eq)]
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
    pub fn runs(&self, module: &str) -> bool {
        self.enabled
            && self
                .modules
                .get(module)
                .copied()
                .unwrap_or(self.default_run)
    }
}

impl Dirs {
    /// Reads `name` (`rs.d.conf`, `rs.d/nvidia.conf`) from the first directory that has it.
    ///
    /// # Errors
    /// Name the file, the line and the key; a file that cannot be read is an error too, not an absence.
    pub fn read<T: DeserializeOwned + Default>(&self, name: &str) -> anyhow::Result<T> {
        for dir in [&self.user, &self.stock].into_iter().flatten() {
            let path = dir.join(name);
            match read_bounded(&path) {
                Ok(Some(text)) => return parse(&text).with_context(|| path.display().to_string()),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(T::default())
    }
}

fn read_bounded(path: &Path) -> anyhow::Result<Option<String>> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(anyhow!("{}: {error}", path.display())),
    };
    if size > MAX_FILE_BYTES {
        bail!(
            "{}: larger than {MAX_FILE_BYTES} bytes, which no configuration is",
            path.display()
        );
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(Some(text))
}

fn parse<T: DeserializeOwned + Default>(text: &str) -> anyhow::Result<T> {
    // A file with every line commented out holds no document.
    let empty = |line: &str| matches!(line.trim(), "" | "---") || line.trim().starts_with('#');
    if text.lines().all(empty) {
        return Ok(T::default());
    }
    // With its drawing of the source the message would span lines; the log takes one.
    serde_saphyr::from_str(text).map_err(|error| {
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or("not understood");
        let Some(place) = error.location() else {
            return anyhow!("{message}");
        };
        let place = format!("line {}, column {}", place.line(), place.column());
        // The library says the place at the end; people look for it at the front.
        anyhow!(
            "{place}: {}",
            message.trim_end_matches(&format!(" at {place}"))
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(user: Option<&str>, stock: Option<&str>) -> (tempfile::TempDir, Dirs) {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: Option<&str>| {
            let dir = root.path().join(name);
            std::fs::create_dir(&dir).unwrap();
            if let Some(text) = text {
                std::fs::write(dir.join("rs.d.conf"), text).unwrap();
            }
            Some(dir)
        };
        let dirs = Dirs {
            user: write("user", user),
            stock: write("stock", stock),
        };
        (root, dirs)
    }

    #[test]
    fn no_file_means_everything_runs() {
        let (_root, dirs) = dirs(None, None);
        assert!(dirs.read::<Plugin>("rs.d.conf").unwrap().runs("nvidia"));
    }

    #[test]
    fn the_users_file_replaces_the_stock_one() {
        let (_root, dirs) = dirs(
            Some("modules:\n  nvidia: no\n"),
            Some("modules:\n  sglang: no\n"),
        );
        let plugin: Plugin = dirs.read("rs.d.conf").unwrap();
        assert!(!plugin.runs("nvidia"));
        assert!(plugin.runs("sglang"));
    }

    #[test]
    fn a_file_of_comments_is_an_empty_one() {
        let (_root, dirs) = dirs(Some("# enabled: no\n\n---\n  # modules:\n"), None);
        assert_eq!(dirs.read::<Plugin>("rs.d.conf").unwrap(), Plugin::default());
    }

    #[test]
    fn what_is_off_by_default_can_be_switched_on_alone() {
        let (_root, dirs) = dirs(Some("default_run: no\nmodules: {sglang: yes}\n"), None);
        let plugin: Plugin = dirs.read("rs.d.conf").unwrap();
        assert!(plugin.runs("sglang") && !plugin.runs("nvidia"));
    }

    #[test]
    fn a_mistake_names_file_line_and_key() {
        let (_root, dirs) = dirs(Some("enabled: yes\nmodule:\n  nvidia: no\n"), None);
        let error = format!("{:#}", dirs.read::<Plugin>("rs.d.conf").unwrap_err());
        assert!(error.contains("user/rs.d.conf: line 2"), "{error}");
        assert!(error.contains("module"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn a_bad_value_names_its_line() {
        let (_root, dirs) = dirs(Some("# a comment\nenabled: perhaps\n"), None);
        let error = format!("{:#}", dirs.read::<Plugin>("rs.d.conf").unwrap_err());
        assert!(error.contains("line 2"), "{error}");
    }
}
