//! Where a server really is: its listening sockets say what its arguments may not, or no longer, say.

use std::net::SocketAddr;

use super::server::UNKNOWN_PORT;
use super::{Role, Server, Tree};
use crate::host_probe::ProcessId;

/// A router's port where nothing else is said.
const ROUTER_PORT: u16 = 30000;
/// Its port for `/metrics`, likewise.
const ROUTER_METRICS_PORT: u16 = 29000;

/// Corrects hosts and ports by what `listening` tells of a process, and leaves out servers of which no port is
/// known: those whose title has destroyed their arguments, as long as nobody tells their sockets.
pub fn locate(
    trees: &mut Vec<Tree>,
    mut listening: impl FnMut(ProcessId) -> Option<Vec<SocketAddr>>,
    start_ticks: impl Fn(u32) -> Option<u64>,
) {
    for tree in trees.iter_mut() {
        let main = ProcessId {
            pid: tree.pid,
            start_ticks: tree.start_ticks,
        };
        let mut found = listening(main);
        if found.as_ref().is_none_or(Vec::is_empty) {
            // Several tokenizer workers share a socket, which the main process need not hold.
            let worker = tree
                .members
                .iter()
                .find(|(_, role)| *role == Role::TokenizerWorker);
            let id = worker.and_then(|(pid, _)| {
                Some(ProcessId {
                    pid: *pid,
                    start_ticks: start_ticks(*pid)?,
                })
            });
            found = id.and_then(&mut listening).or(found);
        }
        if let Some(addresses) = &found {
            correct(&mut tree.server, addresses);
        }
        tree.listening = found;
    }
    trees.retain(|tree| tree.server.port != UNKNOWN_PORT);
}

/// Takes the address that is the server's own among those where its process listens: beside HTTP there may be
/// sockets between its processes, which speak something else.
fn correct(server: &mut Server, addresses: &[SocketAddr]) {
    let at = |port: u16| addresses.iter().find(|address| address.port() == port);
    let lowest = || {
        let not_metrics = |it: &&SocketAddr| !server.router || it.port() != ROUTER_METRICS_PORT;
        addresses.iter().find(not_metrics)
    };
    let destroyed = server.port == UNKNOWN_PORT;
    let elsewhere = !server.port_given
        && (destroyed || server.config_file || server.router || server.engine != "sglang");
    let own = match at(server.port) {
        Some(own) => Some(own),
        None if server.router && destroyed => at(ROUTER_PORT).or_else(lowest),
        // A file, a variable or a router may have set it. Otherwise it does not listen yet.
        None if elsewhere => lowest(),
        None => None,
    };
    let Some(own) = own.copied() else { return };
    server.port = own.port();
    // An address in place of a name.
    server.host = own.ip().to_string();
    if server.router && server.metrics_port.is_none_or(|port| at(port).is_none()) {
        let other = || addresses.iter().find(|it| it.port() != own.port());
        server.metrics_port = at(ROUTER_METRICS_PORT).or_else(other).map(SocketAddr::port);
    }
}
