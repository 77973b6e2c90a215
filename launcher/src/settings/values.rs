//! The types of the settings: each can only hold a value that may be used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

/// Which addresses the dashboard answers on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Every address of the machine.
    All,
    /// This one. Where it is not a loopback address, 127.0.0.1 answers too: the launcher and the
    /// features kept to localhost need it.
    One(IpAddr),
}

impl Listen {
    /// Whether only this machine can connect.
    pub fn is_loopback(self) -> bool {
        matches!(self, Self::One(ip) if ip.is_loopback())
    }

    /// The address at which the launcher itself reaches Netdata.
    pub fn local(self) -> IpAddr {
        match self {
            Self::One(ip) if ip.is_loopback() => ip,
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

impl FromStr for Listen {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "*" | "all" => return Ok(Self::All),
            "localhost" => return Ok(Self::One(IpAddr::V4(Ipv4Addr::LOCALHOST))),
            _ => {}
        }
        match text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
        {
            Ok(ip) if ip.is_unspecified() => Ok(Self::All),
            Ok(ip) => Ok(Self::One(ip)),
            Err(_) => bail!("not an address: give an IP address of this machine, localhost or *"),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One(ip) => ip.fmt(f),
        }
    }
}

/// Whether the container gets the NVIDIA driver's libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpu {
    /// If there is a driver.
    Auto,
    /// In any case.
    On,
    /// Never.
    Off,
}

impl FromStr for Gpu {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "auto" => Ok(Self::Auto),
            "on" | "yes" => Ok(Self::On),
            "off" | "no" => Ok(Self::Off),
            _ => bail!("give auto, on or off"),
        }
    }
}

/// `SRC:DST[:ro|rw]`, read-only unless it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindSpec {
    /// Outside the container.
    pub source: PathBuf,
    /// Inside it.
    pub destination: PathBuf,
    /// Whether the container may write to it.
    pub writable: bool,
}

impl FromStr for BindSpec {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.trim().split(':');
        let source = parts.next().unwrap_or_default();
        let destination = parts.next().unwrap_or(source);
        let writable = match (parts.next(), parts.next()) {
            (None | Some("ro"), None) => false,
            (Some("rw"), None) => true,
            _ => bail!("give SRC:DST, SRC:DST:ro or SRC:DST:rw"),
        };
        ensure!(
            destination.starts_with('/'),
            "the place inside, {destination:?}, must begin with /"
        );
        let source = std::path::absolute(source).context("give SRC:DST[:ro|rw]")?;
        ensure!(source.exists(), "{} does not exist", source.display());
        Ok(Self {
            source,
            destination: destination.into(),
            writable,
        })
    }
}

/// Text that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: String) -> Self {
        Self(text)
    }
    /// For the one file it belongs in.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

pub(super) fn port(text: &str) -> Result<u16> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("not a port: give a number from 1 to 65535"),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration> {
    match text.trim_end_matches('s').parse() {
        Ok(seconds) if (1..=3600).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => bail!("give seconds from 1 to 3600"),
    }
}

pub(super) fn yes_or_no(text: &str) -> Result<bool> {
    match text {
        "yes" | "on" | "true" | "1" => Ok(true),
        "no" | "off" | "false" | "0" => Ok(false),
        _ => bail!("give yes or no"),
    }
}

/// Netdata takes no less than 64 MB a resolution, and has three.
pub(super) fn history_mib(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(mib) if (256..=1 << 20).contains(&mib) => Ok(mib),
        _ => bail!("give MiB from 256 to 1048576"),
    }
}

pub(super) fn history_days(text: &str) -> Result<u32> {
    match text.parse() {
        Ok(days) if (1..=3650).contains(&days) => Ok(days),
        _ => bail!("give days from 1 to 3650"),
    }
}

/// It goes into netdata.conf, one line an option.
pub(super) fn line(text: &str) -> Result<String> {
    ensure!(
        !text.chars().any(char::is_control),
        "control characters are not allowed"
    );
    Ok(text.to_owned())
}

pub(super) fn hostname(text: &str) -> Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    ensure!(
        text.len() <= 255 && text.chars().all(fits),
        "a host name has letters, digits, '-', '_' and '.' only"
    );
    Ok(text.to_owned())
}

pub(super) fn existing(text: &str) -> Result<PathBuf> {
    let path = std::path::absolute(text)?;
    ensure!(path.exists(), "there is no such file or directory");
    Ok(path)
}

/// The container's loader looks for this very name.
pub(super) fn nvml_library(text: &str) -> Result<PathBuf> {
    let path = existing(text)?;
    ensure!(
        path.file_name()
            .is_some_and(|name| name == "libnvidia-ml.so.1"),
        "the file must be named libnvidia-ml.so.1"
    );
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_all_addresses_is_all() {
        for text in ["*", "all", "0.0.0.0", "::", "[::]"] {
            assert_eq!(text.parse::<Listen>().unwrap(), Listen::All, "{text}");
        }
        assert!("localhost".parse::<Listen>().unwrap().is_loopback());
        assert!("::1".parse::<Listen>().unwrap().is_loopback());
        assert!("127.0.0.1\nallow".parse::<Listen>().is_err());
    }

    #[test]
    fn an_address_of_the_network_is_reached_over_loopback() {
        let listen: Listen = "192.0.2.7".parse().unwrap();
        assert_eq!(listen.local().to_string(), "127.0.0.1");
        assert_eq!("::1".parse::<Listen>().unwrap().local().to_string(), "::1");
    }

    #[test]
    fn a_bind_is_read_only_unless_it_says_rw() {
        assert!(!"/:/x".parse::<BindSpec>().unwrap().writable);
        assert!("/:/x:rw".parse::<BindSpec>().unwrap().writable);
        for bad in ["/:x", "/:/x:wr", "/:/x:ro:ro", "/does/not/exist:/x"] {
            assert!(bad.parse::<BindSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_name_cannot_add_a_line_to_netdata_conf() {
        assert!(hostname("gpu-1.example").is_ok());
        assert!(hostname("a\n[web]").is_err());
    }

    #[test]
    fn port_zero_is_not_a_port() {
        assert!(port("0").is_err() && port("65536").is_err() && port("19999").is_ok());
    }
}
