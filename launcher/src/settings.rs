//! The settings of one command: flags over environment over the `.env` file over defaults. Raw text
//! is turned into checked values here, once; nothing after this sees the raw text.

pub mod env_file;
mod known;
mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::cli::StartFlags;
pub use known::{KNOWN, Known};
pub use values::{BindSpec, Gpu, Listen, Secret};

/// The image pulled where none is named.
pub const DEFAULT_IMAGE: &str = "docker://netdata/netdata:stable";
/// Netdata's own port.
pub const DEFAULT_PORT: u16 = 19999;
/// How long `start` waits for the plugin's first charts. A cold start takes 4 to 10 s.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// What the history may take on disk: a busy GPU server writes 50 to 100 MiB a day.
const DEFAULT_HISTORY_MIB: u32 = 2048;

/// How much of the past is kept, whichever limit is met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Size on disk of all resolutions together.
    pub mib: u32,
    /// Age of the oldest value. None: as long as it fits.
    pub days: Option<u32>,
}

/// Marks an error as the user's.
#[derive(Clone, Copy, Debug)]
pub struct Invalid;

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting cannot be used")
    }
}

/// Where a value was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// In the environment of the command.
    Environment,
    /// In the `.env` file.
    File,
}

/// The environment and the `.env` file.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The environment of the command.
    pub environment: BTreeMap<String, String>,
    /// The file's lines; keys of other programs may be among them.
    pub file: BTreeMap<String, String>,
}

impl Layers {
    /// The variable, if it is set and not empty; the environment wins.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.find(key).map(|(value, _)| value)
    }

    /// The same, and where it was set.
    pub fn find(&self, key: &str) -> Option<(&str, Layer)> {
        [
            (&self.environment, Layer::Environment),
            (&self.file, Layer::File),
        ]
        .into_iter()
        .filter_map(|(values, layer)| Some((values.get(key)?.trim(), layer)))
        .find(|(value, _)| !value.is_empty())
    }

    /// `LAUNCHER_` variables that mean nothing, sorted.
    pub fn unknown(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self
            .environment
            .keys()
            .chain(self.file.keys())
            .map(String::as_str)
            .filter(|key| key.starts_with("LAUNCHER_"))
            .filter(|key| !KNOWN.iter().any(|known| known.name == *key))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn parse<T>(
        &self,
        flag: Option<&str>,
        key: &str,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let (text, name) = match (flag, self.get(key)) {
            (Some(flag), _) => (flag, format!("--{}", flag_name(key))),
            (None, Some(value)) => (value, key.to_owned()),
            (None, None) => return Ok(None),
        };
        parse(text)
            .map(Some)
            .with_context(|| format!("{name}={text}"))
    }
}

/// `LAUNCHER_NVML_LIBRARY` as the flag `nvml-library`.
fn flag_name(key: &str) -> String {
    key.trim_start_matches("LAUNCHER_")
        .to_lowercase()
        .replace('_', "-")
}

/// The checked settings of `pull`, `start` and `restart`.
#[derive(Debug)]
pub struct Settings {
    /// What was asked for, if anything was; see [`DEFAULT_IMAGE`].
    pub image: Option<String>,
    /// None leaves it to netdata.conf, and there to [`DEFAULT_PORT`].
    pub port: Option<u16>,
    /// None leaves it to netdata.conf, and there to every address.
    pub listen: Option<Listen>,
    /// The name Netdata goes by; None is the machine's.
    pub hostname: Option<String>,
    /// Further directories and files for the container.
    pub binds: Vec<BindSpec>,
    /// Whether the driver's libraries are brought in.
    pub gpu: Gpu,
    /// A library to use in place of the driver's NVML.
    pub nvml_library: Option<PathBuf>,
    /// The plugin, if it is not where it is looked for.
    pub plugin: Option<PathBuf>,
    /// The stock configuration, if it is not where it is looked for.
    pub conf_dir: Option<PathBuf>,
    /// How long to wait for the plugin's charts.
    pub timeout: Duration,
    /// How much of the past is kept.
    pub history: History,
    /// Whether another Netdata on the machine is no reason not to start.
    pub beside_another: bool,
    /// Netdata Cloud, if a token is set.
    pub claim: Option<Claim>,
}

/// What claims the agent to Netdata Cloud.
#[derive(Debug)]
pub struct Claim {
    /// The secret.
    pub token: Secret,
    /// Rooms to join, comma-separated ids.
    pub rooms: Option<String>,
    /// Cloud's address, if not Netdata's own.
    pub url: Option<String>,
    /// Proxy to reach it through.
    pub proxy: Option<Secret>,
}

impl Settings {
    /// Checks everything; the first thing wrong is an error that names where it was set.
    pub fn resolve(flags: &StartFlags, layers: &Layers) -> Result<Self> {
        let file = |text: &str| values::existing(text);
        let mut binds = Vec::new();
        let from_layers = layers.get("LAUNCHER_BINDS").unwrap_or_default();
        for text in from_layers
            .split(',')
            .filter(|text| !text.trim().is_empty())
        {
            binds.push(
                text.parse()
                    .with_context(|| format!("LAUNCHER_BINDS={text}"))?,
            );
        }
        for text in &flags.bind {
            binds.push(text.parse().with_context(|| format!("--bind {text}"))?);
        }
        let timeout = layers.parse(
            flags.timeout.as_deref(),
            "LAUNCHER_TIMEOUT",
            values::seconds,
        )?;
        let gpu = layers.parse(flags.gpu.as_deref(), "LAUNCHER_GPU", str::parse)?;
        let path = |flag: &Option<PathBuf>| flag.as_ref().map(|p| p.to_string_lossy().into_owned());
        let library = path(&flags.nvml_library);
        let plugin = path(&flags.plugin);
        let conf_dir = path(&flags.conf_dir);
        Ok(Self {
            image: layers.parse(flags.image.as_deref(), "LAUNCHER_IMAGE", values::line)?,
            port: layers.parse(flags.port.as_deref(), "LAUNCHER_PORT", values::port)?,
            listen: layers.parse(flags.listen.as_deref(), "LAUNCHER_LISTEN", str::parse)?,
            hostname: layers.parse(
                flags.hostname.as_deref(),
                "LAUNCHER_HOSTNAME",
                values::hostname,
            )?,
            binds,
            gpu: gpu.unwrap_or(Gpu::Auto),
            nvml_library: layers.parse(
                library.as_deref(),
                "LAUNCHER_NVML_LIBRARY",
                values::nvml_library,
            )?,
            plugin: layers.parse(plugin.as_deref(), "LAUNCHER_PLUGIN", file)?,
            conf_dir: layers.parse(conf_dir.as_deref(), "LAUNCHER_CONF_DIR", file)?,
            timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
            history: History {
                mib: layers
                    .parse(
                        flags.history_mib.as_deref(),
                        "LAUNCHER_HISTORY_MIB",
                        values::history_mib,
                    )?
                    .unwrap_or(DEFAULT_HISTORY_MIB),
                days: layers.parse(
                    flags.history_days.as_deref(),
                    "LAUNCHER_HISTORY_DAYS",
                    values::history_days,
                )?,
            },
            beside_another: flags.beside_another
                || layers
                    .parse(None, "LAUNCHER_BESIDE_ANOTHER", values::yes_or_no)?
                    .unwrap_or(false),
            claim: claim(layers)?,
        })
    }
}

fn claim(layers: &Layers) -> Result<Option<Claim>> {
    let token = Claim::value(layers, "NETDATA_CLAIM_TOKEN")?;
    token
        .map(|token| Claim::with_token(Secret::new(token), layers))
        .transpose()
}

impl Claim {
    /// This token, with the rest as it is set.
    pub fn with_token(token: Secret, layers: &Layers) -> Result<Self> {
        Ok(Self {
            token,
            rooms: Self::value(layers, "NETDATA_CLAIM_ROOMS")?,
            url: Self::value(layers, "NETDATA_CLAIM_URL")?,
            proxy: Self::value(layers, "NETDATA_CLAIM_PROXY")?.map(Secret::new),
        })
    }

    /// The values stay out of every error: two of them are secrets.
    fn value(layers: &Layers, key: &str) -> Result<Option<String>> {
        match layers.get(key) {
            Some(text) if text.chars().any(char::is_control) => {
                bail!("{key} has a line break or another control character in it")
            }
            text => Ok(text.map(str::to_owned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(environment: &[(&str, &str)], file: &[(&str, &str)]) -> Layers {
        let map = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        Layers {
            environment: map(environment),
            file: map(file),
        }
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let flags = StartFlags {
            port: Some("3".to_owned()),
            ..StartFlags::default()
        };
        let both = layers(&[("LAUNCHER_PORT", "2")], &[("LAUNCHER_PORT", "1")]);
        let file = layers(&[], &[("LAUNCHER_PORT", "1")]);
        let port = |flags: &StartFlags, layers| Settings::resolve(flags, layers).unwrap().port;
        let none = StartFlags::default();
        assert_eq!(port(&flags, &both), Some(3));
        assert_eq!(port(&none, &both), Some(2));
        assert_eq!(port(&none, &file), Some(1));
        assert_eq!(port(&none, &Layers::default()), None);
    }

    #[test]
    fn an_empty_variable_is_an_unset_one() {
        let layers = layers(&[("LAUNCHER_PORT", " ")], &[("LAUNCHER_PORT", "1")]);
        assert_eq!(
            Settings::resolve(&StartFlags::default(), &layers)
                .unwrap()
                .port,
            Some(1)
        );
    }

    #[test]
    fn an_error_names_where_the_value_was_set() {
        let layers = layers(&[], &[("LAUNCHER_PORT", "http")]);
        let error = Settings::resolve(&StartFlags::default(), &layers).unwrap_err();
        assert_eq!(error.to_string(), "LAUNCHER_PORT=http");
        let flags = StartFlags {
            listen: Some("nowhere".to_owned()),
            ..StartFlags::default()
        };
        let error = Settings::resolve(&flags, &layers_empty()).unwrap_err();
        assert_eq!(error.to_string(), "--listen=nowhere");
    }

    fn layers_empty() -> Layers {
        Layers::default()
    }

    #[test]
    fn binds_of_the_file_and_of_the_flags_add_up() {
        let layers = layers(&[], &[("LAUNCHER_BINDS", "/:/b:ro,/proc:/d")]);
        let flags = StartFlags {
            bind: vec!["/dev:/f:rw".to_owned()],
            ..StartFlags::default()
        };
        let binds = Settings::resolve(&flags, &layers).unwrap().binds;
        let shown: Vec<String> = binds
            .iter()
            .map(|b| b.destination.display().to_string())
            .collect();
        assert_eq!(shown, ["/b", "/d", "/f"]);
    }

    #[test]
    fn only_misspelt_variables_of_ours_are_unknown() {
        let layers = layers(
            &[("LAUNCHER_PROT", "1"), ("HOME", "/")],
            &[("OTHER_TOKEN", "x")],
        );
        assert_eq!(layers.unknown(), ["LAUNCHER_PROT"]);
    }

    #[test]
    fn a_token_is_never_shown() {
        let layers = layers(&[], &[("NETDATA_CLAIM_TOKEN", "s3cret")]);
        let settings = Settings::resolve(&StartFlags::default(), &layers).unwrap();
        assert!(!format!("{settings:?}").contains("s3cret"));
        let bad = Layers {
            file: [("NETDATA_CLAIM_TOKEN".to_owned(), "s3\ncret".to_owned())].into(),
            ..Layers::default()
        };
        let error = format!(
            "{:?}",
            Settings::resolve(&StartFlags::default(), &bad).unwrap_err()
        );
        assert!(
            error.contains("NETDATA_CLAIM_TOKEN") && !error.contains("cret"),
            "{error}"
        );
    }
}
