//! What the agent tells its plugins through the environment.

use std::path::PathBuf;

/// The version of a Netdata agent, as far as the protocol depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `2` of `v2.11.0`.
    pub major: u32,
    /// `11` of `v2.11.0`.
    pub minor: u32,
}

impl Version {
    /// First version that knows virtual nodes (`HOST_DEFINE`).
    pub const HOST_DEFINE: Self = Self {
        major: 1,
        minor: 39,
    };
    /// First version that draws heatmaps.
    pub const HEATMAP: Self = Self { major: 2, minor: 0 };
    /// First version whose functions we speak: with access as bits, and with payloads.
    pub const FUNCTIONS: Self = Self { major: 2, minor: 0 };

    /// Reads `v1.37.1`, `2.11.0-34-nightly`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches('v').split(['.', '-']);
        let mut next = || parts.next()?.parse().ok();
        Some(Self {
            major: next()?,
            minor: next()?,
        })
    }
}

/// The environment of a plugin. Only what is used is read: it may hold a claim token, so it is never
/// logged as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agent {
    /// `NETDATA_VERSION`; `None` when no agent runs us.
    pub version: Option<Version>,
    /// Whether `NETDATA_VERSION` is set at all, readable or not.
    pub present: bool,
    /// `NETDATA_HOST_PREFIX`, where the host's root is seen from inside a container.
    pub host_prefix: Option<PathBuf>,
    /// `NETDATA_USER_CONFIG_DIR`.
    pub user_config_dir: Option<PathBuf>,
    /// `NETDATA_STOCK_CONFIG_DIR`.
    pub stock_config_dir: Option<PathBuf>,
    /// `NETDATA_LOG_LEVEL`.
    pub log_level: Option<String>,
}

impl Agent {
    /// Reads it through `lookup`, which is `std::env::var` outside tests.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value = |name| lookup(name).filter(|value| !value.is_empty());
        Self {
            version: value("NETDATA_VERSION").as_deref().and_then(Version::parse),
            present: lookup("NETDATA_VERSION").is_some(),
            host_prefix: value("NETDATA_HOST_PREFIX").map(PathBuf::from),
            user_config_dir: value("NETDATA_USER_CONFIG_DIR").map(PathBuf::from),
            stock_config_dir: value("NETDATA_STOCK_CONFIG_DIR").map(PathBuf::from),
            log_level: value("NETDATA_LOG_LEVEL"),
        }
    }

    /// Whether the agent knows a feature introduced with `version`; an unknown agent gets the common
    /// subset.
    #[must_use]
    pub fn knows(&self, version: Version) -> bool {
        self.version.is_some_and(|ours| ours >= version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_decoration() {
        let version = |major, minor| Some(Version { major, minor });
        assert_eq!(Version::parse("v1.37.1"), version(1, 37));
        assert_eq!(Version::parse("2.11.0-34-nightly\n"), version(2, 11));
        assert_eq!(Version::parse("v2.9-rc1"), version(2, 9));
        assert_eq!(Version::parse("unknown"), None);
    }

    #[test]
    fn an_empty_variable_is_an_absent_one() {
        let agent = Agent::read(|name| (name == "NETDATA_HOST_PREFIX").then(String::new));
        assert_eq!(agent, Agent::default());
        assert!(!agent.knows(Version::HEATMAP));
    }
}
