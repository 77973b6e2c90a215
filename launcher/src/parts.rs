//! What the launcher brings along: the plugin and its stock configuration, beside it or in the lib directory.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::settings::Settings;

/// Where they are.
#[derive(Debug)]
pub struct Parts {
    /// The plugin's executable.
    pub plugin: PathBuf,
    /// Its stock configuration; without it built-in defaults hold.
    pub conf_dir: Option<PathBuf>,
}

impl Parts {
    /// What the settings name, else what is found from the launcher's own place.
    ///
    /// # Errors
    /// There is no plugin.
    pub fn find(settings: &Settings) -> Result<Self> {
        let program = env::current_exe()
            .and_then(fs::canonicalize)
            .context("finding the launcher")?;
        Self::beside(settings, program.parent().unwrap_or(Path::new("/")))
    }

    fn beside(settings: &Settings, beside: &Path) -> Result<Self> {
        let places = [beside.to_owned(), beside.join("../lib/netdata-launcher")];
        let find = |name: &str| {
            places
                .iter()
                .map(|dir| dir.join(name))
                .find(|path| path.exists())
        };
        let Some(plugin) = settings.plugin.clone().or_else(|| find("rs.d.plugin")) else {
            bail!(
                "rs.d.plugin is neither in {} nor in ../lib/netdata-launcher from there: \
                 name it with --plugin FILE",
                beside.display()
            );
        };
        Ok(Self {
            plugin,
            conf_dir: settings.conf_dir.clone().or_else(|| find("conf.d")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::StartFlags;
    use crate::settings::Layers;

    #[test]
    fn the_plugin_is_found_beside_the_launcher_and_in_the_lib_directory() {
        let settings = Settings::resolve(&StartFlags::default(), &Layers::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let lib = dir.path().join("lib/netdata-launcher");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(lib.join("conf.d")).unwrap();
        let error = Parts::beside(&settings, &bin).unwrap_err().to_string();
        assert!(error.contains("--plugin FILE"), "{error}");
        fs::write(lib.join("rs.d.plugin"), "").unwrap();
        let parts = Parts::beside(&settings, &bin).unwrap();
        assert!(parts.plugin.ends_with("lib/netdata-launcher/rs.d.plugin"));
        assert!(parts.conf_dir.is_some());
    }
}
