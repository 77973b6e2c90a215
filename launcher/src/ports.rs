//! Who listens on a port: this user's process by name, or else the user it belongs to.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, Result, bail};
use nix::unistd::{Uid, User};
use procfs::FromReadSI;
use procfs::net::{TcpNetEntries, TcpState};

use crate::process::{Proc, Process};
use crate::settings::Listen;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its address.
    pub address: SocketAddr,
    /// Who opened it.
    pub uid: u32,
    /// The socket's inode.
    pub inode: u64,
}

/// Every listener on `port`.
pub fn listeners(proc: &Proc, port: u16) -> Vec<Listener> {
    ["net/tcp", "net/tcp6"]
        .iter()
        .flat_map(|table| read(proc, table, port))
        .collect()
}

fn read(proc: &Proc, table: &str, port: u16) -> Vec<Listener> {
    let Ok(file) = File::open(proc.path(table)) else {
        return Vec::new();
    };
    let Ok(entries) = TcpNetEntries::from_read(file, procfs::current_system_info()) else {
        return Vec::new();
    };
    entries
        .0
        .into_iter()
        .filter(|e| e.state == TcpState::Listen && e.local_address.port() == port)
        .map(|e| Listener {
            address: e.local_address,
            uid: e.uid,
            inode: e.inode,
        })
        .collect()
}

/// Fails if Netdata could not listen there, and says who does.
pub fn check_free(proc: &Proc, listen: Listen, port: u16) -> Result<()> {
    let wanted = match listen {
        Listen::All => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Listen::One(ip) => ip,
    };
    for ip in [wanted, listen.local()] {
        match TcpListener::bind((ip, port)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AddrInUse => bail!(taken(proc, port)),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("port {port} is reserved for root: use --port with a number above 1023")
            }
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                bail!("{ip} is not an address of this machine: use another --listen")
            }
            Err(error) => {
                return Err(error).with_context(|| format!("listening on {ip} port {port}"));
            }
        }
    }
    Ok(())
}

/// Fails where somebody else's program answers at this address: what it says is not what `members` say. Where nobody
/// listens yet, nothing is wrong.
pub fn check_ours(proc: &Proc, members: &[Process], ip: IpAddr, port: u16) -> Result<()> {
    let own = Uid::effective().as_raw();
    let ours = |listener: &Listener| {
        let mut held = members
            .iter()
            .filter_map(|member| proc.holds_socket(member.pid, listener.inode));
        // Where no member's files may be looked at, the user is all that is known.
        let known = held.next();
        listener.uid == own && known.is_none_or(|first| first || held.any(|holds| holds))
    };
    let answering = answering(listeners(proc, port), ip);
    match answering.iter().find(|listener| !ours(listener)) {
        None => Ok(()),
        Some(other) => bail!(
            "port {port} is answered by {}, not by this Netdata\nstop that, or choose another port: --port {}",
            describe(proc, other),
            next(port)
        ),
    }
}

/// Those that the kernel hands a connection to `ip` to: the more exactly bound come first.
fn answering(listeners: Vec<Listener>, ip: IpAddr) -> Vec<Listener> {
    let rank = |listener: &Listener| match listener.address.ip() {
        exact if exact == ip => Some(0),
        IpAddr::V4(any) if any.is_unspecified() && ip.is_ipv4() => Some(1),
        IpAddr::V6(any) if any.is_unspecified() => Some(2),
        _ => None,
    };
    let best = listeners.iter().filter_map(rank).min();
    let mut answering = listeners;
    answering.retain(|listener| best.is_some() && rank(listener) == best);
    answering
}

/// The message for a port in use.
pub fn taken(proc: &Proc, port: u16) -> String {
    let holders: Vec<String> = listeners(proc, port)
        .iter()
        .map(|listener| describe(proc, listener))
        .collect();
    let by = match holders.first() {
        Some(holder) => format!(" by {holder}"),
        None => String::new(),
    };
    format!(
        "port {port} is already used{by}\nstop that, or choose another port: --port {}",
        next(port)
    )
}

fn describe(proc: &Proc, listener: &Listener) -> String {
    if let Some(Process { comm, pid, .. }) = proc.socket_holder(listener.inode) {
        return format!("{} (pid {pid})", comm.escape_debug());
    }
    let user = User::from_uid(Uid::from_raw(listener.uid)).ok().flatten();
    user.map_or_else(
        || format!("user id {}", listener.uid),
        |user| format!("user {}", user.name),
    )
}

/// A port to suggest.
fn next(port: u16) -> u16 {
    if port < 1024 {
        19998
    } else {
        port.checked_add(1).unwrap_or(19998)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::fake;
    use std::fs;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
        \x20  0: 0100007F:4E1F 00000000:0000 0A 00000000:00000000 00:00000000 00000000  4242        0 991 1 0 100 0 0 10 0\n\
        \x20  1: 0100007F:4E1F 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1001        0 992 1 0 100 0 0 10 0\n";

    fn proc() -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("net")).unwrap();
        fs::write(root.path().join("net/tcp"), TCP).unwrap();
        let proc = Proc::at(root.path());
        (root, proc)
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let (_root, proc) = proc();
        let found = listeners(&proc, 19999);
        let address = "127.0.0.1:19999".parse().unwrap();
        assert_eq!(
            found,
            [Listener {
                address,
                uid: 4242,
                inode: 991
            }]
        );
        assert!(listeners(&proc, 80).is_empty());
    }

    #[test]
    fn a_process_that_may_be_looked_at_is_named() {
        let (root, proc) = proc();
        let dir = fake::process(root.path(), 77, 77, 1, 'S');
        std::os::unix::fs::symlink("socket:[991]", dir.join("fd/5")).unwrap();
        let message = taken(&proc, 19999);
        assert!(
            message.starts_with("port 19999 is already used by a) b (pid 77)\n"),
            "{message}"
        );
    }

    #[test]
    fn another_users_process_is_named_by_its_user() {
        let (_root, proc) = proc();
        let message = taken(&proc, 19999);
        assert!(message.contains("by user id 4242"), "{message}");
        assert!(message.contains("--port 20000"), "{message}");
    }

    #[test]
    fn the_more_exactly_bound_listener_answers() {
        let at = |address: &str| Listener {
            address: address.parse().unwrap(),
            uid: 1,
            inode: 1,
        };
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let all = [
            at("[::]:1"),
            at("0.0.0.0:1"),
            at("127.0.0.1:1"),
            at("[::1]:1"),
        ];
        for (count, address) in [(4, "127.0.0.1:1"), (2, "0.0.0.0:1"), (1, "[::]:1")] {
            assert_eq!(answering(all[..count].to_vec(), ip), [at(address)]);
        }
        assert!(answering(all[3..].to_vec(), ip).is_empty());
    }

    #[test]
    fn a_listener_that_no_process_of_ours_holds_is_somebody_elses() {
        let (root, proc) = proc();
        let uid = Uid::effective().as_raw();
        let table = TCP.replace("4242", &uid.to_string());
        fs::write(root.path().join("net/tcp"), table).unwrap();
        let (ours, theirs) = (
            fake::process(root.path(), 77, 77, 1, 'S'),
            fake::process(root.path(), 78, 78, 1, 'S'),
        );
        let members = proc.session(77);
        let check = || check_ours(&proc, &members, Ipv4Addr::LOCALHOST.into(), 19999);
        let socket = |dir: &std::path::Path| {
            std::os::unix::fs::symlink("socket:[991]", dir.join("fd/5")).unwrap();
        };
        socket(&theirs);
        let error = check().unwrap_err().to_string();
        assert!(error.contains("answered by a) b (pid 78)"), "{error}");
        socket(&ours);
        check().unwrap();
        // Of another user it is not ours whoever holds it.
        fs::write(root.path().join("net/tcp"), TCP).unwrap();
        assert!(check().is_err());
        fs::write(root.path().join("net/tcp"), "").unwrap();
        check().unwrap();
    }

    #[test]
    fn a_port_in_use_is_found_by_trying_it() {
        let held = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        let listen = Listen::One(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let error = check_free(&Proc::system(), listen, port)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(held);
        check_free(&Proc::system(), listen, port).unwrap();
    }
}
