//! Every variable the launcher reads: what `config` shows, and what is no typing error.

/// A variable.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// In the environment and in the `.env` file.
    pub name: &'static str,
    /// What holds where it is not set, in words.
    pub default: &'static str,
    /// Whether its value is shown to nobody.
    pub secret: bool,
}

const fn open(name: &'static str, default: &'static str) -> Known {
    Known {
        name,
        default,
        secret: false,
    }
}

const fn secret(name: &'static str, default: &'static str) -> Known {
    Known {
        name,
        default,
        secret: true,
    }
}

/// In the order in which `config` shows them.
pub const KNOWN: [Known; 21] = [
    open(
        "LAUNCHER_HOME",
        "$XDG_DATA_HOME/netdata-launcher, else ~/.local/share/netdata-launcher",
    ),
    open("LAUNCHER_ENV_FILE", "<home>/.env"),
    open(
        "LAUNCHER_STATE_DIR",
        "state/ in the home; below /var/tmp where the home is on a file server",
    ),
    open(
        "LAUNCHER_SHARED_HOME",
        "auto: several machines use it where it is on a file server",
    ),
    open("LAUNCHER_IMAGE", super::DEFAULT_IMAGE),
    open("LAUNCHER_PORT", "19999"),
    open("LAUNCHER_LISTEN", "* (every address)"),
    open("LAUNCHER_HOSTNAME", "this machine's name"),
    open("LAUNCHER_BINDS", "none beside the built-in ones"),
    open("LAUNCHER_GPU", "auto"),
    open("LAUNCHER_NVML_LIBRARY", "the driver's"),
    open("LAUNCHER_PLUGIN", "rs.d.plugin beside the launcher"),
    open("LAUNCHER_CONF_DIR", "conf.d beside the plugin"),
    open("LAUNCHER_TIMEOUT", "60"),
    open("LAUNCHER_HISTORY_MIB", "2048"),
    open("LAUNCHER_HISTORY_DAYS", "as many as fit"),
    open("LAUNCHER_BESIDE_ANOTHER", "no"),
    secret(
        "NETDATA_CLAIM_TOKEN",
        "none: not connected to Netdata Cloud",
    ),
    open("NETDATA_CLAIM_ROOMS", "none"),
    open("NETDATA_CLAIM_URL", "https://app.netdata.cloud"),
    // It may hold a password.
    secret("NETDATA_CLAIM_PROXY", "none"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_a_secret() {
        let is_secret = |name: &str| KNOWN.iter().any(|known| known.name == name && known.secret);
        assert!(is_secret("NETDATA_CLAIM_TOKEN") && is_secret("NETDATA_CLAIM_PROXY"));
    }
}
