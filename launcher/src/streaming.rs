//! Netdata's stream.conf as the launcher writes it: a child sends to one parent, a parent has one key a child.
//! And what a parent's netdata.conf must say beside it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::paths::Paths;
use crate::settings::Secret;

/// Its name, in `state/config` and inside.
pub const FILE: &str = "stream.conf";
/// Where a parent's certificate lies, in `state/config` and inside.
pub const SSL: &str = "ssl";
const MARK: &str = "# Written by launcher stream.";

/// Where a child sends to.
#[derive(Debug)]
pub struct Parent {
    /// `HOST:PORT`, checked.
    pub address: String,
    /// Without encryption.
    pub plain: bool,
    /// What the parent gave out.
    pub key: Secret,
}

/// A child that a parent takes in.
#[derive(Debug)]
pub struct Child {
    /// What it has to send.
    pub key: Secret,
    /// Where it may come from.
    pub from: String,
}

/// A key is a UUID, as Netdata wants it.
pub fn key(text: &str) -> Result<Secret> {
    let text = text.trim();
    let fits = text.len() == 36
        && text.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        });
    // The text itself stays out of the message.
    ensure!(
        fits,
        "the key is no UUID: launcher stream --accept FILE on the parent makes one"
    );
    Ok(Secret::new(text.to_lowercase()))
}

/// `HOST:PORT`, and nothing more.
pub fn address(text: &str) -> Result<String> {
    let wrong = "give HOST:PORT, an IPv6 address in brackets";
    let (host, port) = text.rsplit_once(':').context(wrong)?;
    ensure!(port.parse::<u16>().is_ok_and(|port| port > 0), "{wrong}");
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let ip: Option<IpAddr> = match bracketed {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    };
    let name = !host.is_empty()
        && host
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'));
    ensure!(ip.is_some() || name, "{wrong}");
    Ok(text.to_owned())
}

/// Whether an address, or each of Netdata's patterns for some, is of this machine itself: what goes there needs no
/// encryption.
pub fn on_loopback(patterns: &str) -> bool {
    let mut all = patterns.split_whitespace().peekable();
    all.peek().is_some()
        && all.all(|pattern| {
            let host = pattern.trim_start_matches('[').trim_end_matches(']');
            let ip = host.parse::<IpAddr>();
            host == "localhost" || host == "127.*" || ip.is_ok_and(|ip| ip.is_loopback())
        })
}

/// A child's file.
pub fn child_conf(parent: &Parent) -> String {
    let tls = if parent.plain { "" } else { ":SSL" };
    // The key says who it is; a parent of this kind has a certificate of its own making.
    format!(
        "{MARK}\n[stream]\n    enabled = yes\n    destination = {}{tls}\n    api key = {}\n    \
         ssl skip certificate verification = yes\n",
        parent.address,
        parent.key.reveal()
    )
}

/// Netdata calls every loopback address so.
const ALLOWED: &str = "allow from = localhost ";

/// A parent's file: one section a child.
pub fn parent_conf(children: &[Child]) -> String {
    let mut text = format!("{MARK}\n");
    for child in children {
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "[{}]\n    enabled = yes\n    type = api\n    allow from = localhost {}\n    default memory mode = dbengine\n",
            child.key.reveal(),
            child.from
        );
    }
    text
}

/// The children of a file that [`parent_conf`] wrote.
pub fn children(text: &str) -> Vec<Child> {
    let mut children: Vec<Child> = vec![];
    for line in text.lines().map(str::trim) {
        let section = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(key) = section.and_then(|section| key(section).ok()) {
            children.push(Child {
                key,
                from: "*".to_owned(),
            });
        } else if let (Some(child), Some(from)) = (children.last_mut(), line.strip_prefix(ALLOWED))
        {
            from.clone_into(&mut child.from);
        }
    }
    children
}

/// Every key in a file, of children or of ourselves: what looks like one counts.
pub fn keys(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words
        .filter(|word| key(word).is_ok())
        .map(str::to_owned)
        .collect()
}

/// The user's file; an empty text if there is none.
pub fn own(paths: &Paths) -> Result<String> {
    let path = file(paths);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Where it is.
pub fn file(paths: &Paths) -> PathBuf {
    paths.state_dir("config").join(FILE)
}

/// Whether the launcher wrote it, so that it may write it anew.
pub fn is_ours(text: &str) -> bool {
    text.is_empty() || text.starts_with(MARK)
}

/// What a parent adds to netdata.conf: streaming is open to its children, and encrypted where it has a certificate.
/// `inside` is the user's configuration directory in the container.
pub fn web_options(paths: &Paths, inside: &Path) -> Result<String> {
    let children = children(&own(paths)?);
    if children.is_empty() {
        return Ok(String::new());
    }
    let mut from: Vec<&str> = children.iter().map(|child| child.from.as_str()).collect();
    from.dedup();
    let mut text = format!(
        "[web]\n    allow streaming from = localhost {}\n",
        from.join(" ")
    );
    if paths.state_dir("config").join(SSL).join("key.pem").exists() {
        let ssl = inside.join(SSL);
        let _ = write!(
            text,
            "    ssl key = {0}/key.pem\n    ssl certificate = {0}/cert.pem\n",
            ssl.display()
        );
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "11111111-2222-3333-4444-55555555555a";

    #[test]
    fn only_a_uuid_is_a_key_and_no_error_shows_it() {
        assert_eq!(
            key(&format!(" {}\n", KEY.to_uppercase())).unwrap().reveal(),
            KEY
        );
        for bad in [
            "",
            "secret",
            "11111111-2222-3333-4444-55555555555g",
            "11111111222233334444555555555555aaaa",
        ] {
            let error = format!("{:#}", key(bad).unwrap_err());
            assert!(bad.is_empty() || !error.contains(bad), "{error}");
        }
    }

    #[test]
    fn every_key_of_a_file_is_known() {
        let child = child_conf(&Parent {
            plain: false,
            address: "parent:1".to_owned(),
            key: key(KEY).unwrap(),
        });
        assert_eq!(keys(&child), [KEY]);
        let accepted = [Child {
            key: key(KEY).unwrap(),
            from: "*".to_owned(),
        }];
        assert_eq!(keys(&parent_conf(&accepted)), [KEY]);
    }

    #[test]
    fn an_address_is_a_host_and_a_port_and_nothing_more() {
        assert!(address("parent.example:19999").is_ok());
        assert!(address("127.0.0.1:1").is_ok());
        assert!(address("[::1]:1").is_ok());
        for bad in [
            "parent",
            "parent:0",
            "a b:1",
            "x\n[stream]:1",
            ":1",
            "[::1:1",
            "::1:1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_parents_children_are_read_back() {
        let both = [
            Child {
                key: key(KEY).unwrap(),
                from: "10.0.0.*".to_owned(),
            },
            Child {
                key: key(&KEY.replace('1', "0")).unwrap(),
                from: "*".to_owned(),
            },
        ];
        let read = children(&parent_conf(&both));
        let shown: Vec<(&str, &str)> = read
            .iter()
            .map(|c| (c.key.reveal(), c.from.as_str()))
            .collect();
        assert_eq!(shown[0], (KEY, "10.0.0.*"));
        assert_eq!(shown.len(), 2);
        assert_eq!(
            children(&child_conf(&Parent {
                address: "a:1".to_owned(),
                plain: true,
                key: key(KEY).unwrap(),
            }))
            .len(),
            0
        );
    }

    #[test]
    fn only_addresses_of_this_machine_are_on_loopback() {
        for here in ["127.0.0.1", "localhost", "127.* ::1", "[::1]"] {
            assert!(on_loopback(here), "{here}");
        }
        for elsewhere in [
            "",
            "*",
            "127.0.0.1 10.*",
            "127.example",
            "!127.0.0.1",
            "12*",
        ] {
            assert!(!on_loopback(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_child_encrypts_unless_told_otherwise() {
        let conf = |plain| {
            child_conf(&Parent {
                address: "a:1".to_owned(),
                plain,
                key: key(KEY).unwrap(),
            })
        };
        assert!(conf(false).contains("destination = a:1:SSL\n"));
        assert!(conf(true).contains("destination = a:1\n"));
    }

    #[test]
    fn streaming_is_open_only_on_a_parent() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        assert_eq!(web_options(&paths, Path::new("/etc/netdata")).unwrap(), "");
        let child = Child {
            key: key(KEY).unwrap(),
            from: "10.1.*".to_owned(),
        };
        fs::write(file(&paths), parent_conf(&[child])).unwrap();
        let text = web_options(&paths, Path::new("/etc/netdata")).unwrap();
        assert_eq!(text, "[web]\n    allow streaming from = localhost 10.1.*\n");
    }
}
