//! Servers that the configuration names: it may add one that no process of this machine is known to be, on
//! another host for example, or give one that was found options of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Options;
use crate::config::{JobConfig, Url};
use crate::engine::{Server, Tree};

/// No process has this id: it marks a server that only the configuration knows.
const NO_PROCESS: u32 = 0;

/// Where the server of `url` is; `None` if its host is a name.
#[must_use]
pub fn address(url: &Url) -> Option<SocketAddr> {
    let ip = match url.host() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host.parse().ok()?,
    };
    Some(SocketAddr::new(ip, url.port()))
}

/// Whether one of `jobs` is for the server that goes by `name`.
#[must_use]
pub fn is_listed(name: &str, jobs: &[JobConfig<Options>]) -> bool {
    let urls = jobs.iter().filter_map(|job| job.options.url.as_ref());
    urls.filter_map(address)
        .any(|address| address.to_string() == name)
}

/// A server at `address` of which no process is known.
#[must_use]
pub fn tree(address: SocketAddr) -> Tree {
    Tree {
        pid: NO_PROCESS,
        start_ticks: 0,
        server: Server::new("sglang", &address.ip().to_string(), address.port()),
        listening: None,
        members: vec![],
    }
}

/// Whether only the configuration knows it.
#[must_use]
pub fn only_named(tree: &Tree) -> bool {
    tree.pid == NO_PROCESS
}

/// The page of `url`: `/metrics` where it names none.
#[must_use]
pub fn page(url: Option<&Url>) -> &str {
    match url.map_or("/", Url::path) {
        "/" => "/metrics",
        path => path,
    }
}
