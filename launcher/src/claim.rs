//! Netdata's claim.conf: a file rather than the environment, which every plugin would inherit. What `claim` was
//! given is kept in `state/config` and wins over the settings, as every file there does.

use std::fs;
use std::io;

use anyhow::{Context as _, Result};

use crate::paths::Paths;
use crate::settings::{Claim, Secret};

/// Its name, in `state/config`, in `state/generated` and inside.
pub const FILE: &str = "claim.conf";

/// Without one Netdata is not connected to anything.
const NONE: &str = "# launcher claim fills this in\n";

/// Where Netdata Cloud is.
const CLOUD: &str = "https://app.netdata.cloud";

/// The content for the container: the user's own file, else what the settings say.
pub fn conf(paths: &Paths, claim: Option<&Claim>) -> Result<String> {
    let own = paths.state_dir("config").join(FILE);
    match fs::read_to_string(&own) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Ok(claim.map_or_else(|| NONE.to_owned(), text))
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", own.display())),
    }
}

/// In Netdata's form. What is not set is left out.
pub fn text(claim: &Claim) -> String {
    let mut text = format!("[global]\n    token = {}\n", claim.token.reveal());
    let url = claim.url.as_deref().unwrap_or(CLOUD);
    text += &format!("    url = {url}\n");
    for (name, value) in [
        ("rooms", claim.rooms.as_deref()),
        ("proxy", claim.proxy.as_ref().map(Secret::reveal)),
    ] {
        if let Some(value) = value {
            text += &format!("    {name} = {value}\n");
        }
    }
    text
}

/// Whether an agent of this version reads the file: from 2.0 on.
pub fn is_read_by(version: &str) -> bool {
    let major = version.trim_start_matches('v').split('.').next();
    major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Claim {
        Claim {
            token: Secret::new("abc".to_owned()),
            rooms: Some("r1,r2".to_owned()),
            url: None,
            proxy: None,
        }
    }

    #[test]
    fn the_file_says_exactly_what_is_set() {
        let expected =
            "[global]\n    token = abc\n    url = https://app.netdata.cloud\n    rooms = r1,r2\n";
        assert_eq!(text(&claim()), expected);
        let all = Claim {
            url: Some("http://127.0.0.1:1".to_owned()),
            proxy: Some(Secret::new("socks5h://p:1".to_owned())),
            ..claim()
        };
        let expected = "[global]\n    token = abc\n    url = http://127.0.0.1:1\n    rooms = r1,r2\n    proxy = socks5h://p:1\n";
        assert_eq!(text(&all), expected);
    }

    #[test]
    fn the_users_own_file_wins_over_the_settings() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        assert_eq!(conf(&paths, None).unwrap(), NONE);
        assert_eq!(conf(&paths, Some(&claim())).unwrap(), text(&claim()));
        fs::write(paths.state_dir("config").join(FILE), "mine").unwrap();
        assert_eq!(conf(&paths, Some(&claim())).unwrap(), "mine");
    }

    #[test]
    fn only_agents_from_2_0_on_read_claim_conf() {
        assert!(is_read_by("v2.11.0") && is_read_by("10.0"));
        assert!(!is_read_by("v1.37.1") && !is_read_by(""));
    }
}
