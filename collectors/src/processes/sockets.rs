//! Who listens on which TCP port, as the kernel says when asked, else as the tables `/proc/net/tcp` and `tcp6`
//! of the namespace that the root shows do.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::sock_diag;

/// The listening TCP sockets of this network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listeners(Vec<Socket>);

/// What is known of a port on an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A socket of that user listens there.
    Own,
    /// Only another user's does.
    Other,
    /// Nothing listens there.
    None,
}

/// `TCP_LISTEN` of the kernel, as it stands in the table.
const LISTEN: &str = "0A";

impl Listeners {
    /// Asks, or reads both tables. What cannot be read lists nothing.
    #[must_use]
    pub fn read(proc_root: &Path) -> Self {
        if shows_our_network(proc_root)
            && let Ok(found) = sock_diag::listening()
        {
            return Self(found);
        }
        // `net` belongs to the reading process; where `self` is not visible, init's is the host's.
        Self::of(&["self/net", "1/net", "net"].map(|dir| proc_root.join(dir)))
    }

    /// Those of the network namespace of process `pid`.
    #[must_use]
    pub fn beside(proc_root: &Path, pid: u32) -> Self {
        Self::of(&[proc_root.join(format!("{pid}/net"))])
    }

    /// Of both tables in the first of `dirs` that has them.
    fn of(dirs: &[PathBuf]) -> Self {
        let table = |name: &str| {
            let mut tables = dirs.iter().map(|dir| fs::read_to_string(dir.join(name)));
            tables.find_map(Result::ok).unwrap_or_default()
        };
        let (v4, v6) = (table("tcp"), table("tcp6"));
        Self(v4.lines().chain(v6.lines()).filter_map(entry).collect())
    }

    /// Every socket.
    pub fn iter(&self) -> impl Iterator<Item = &Socket> {
        self.0.iter()
    }

    /// Whether `uid` listens where a connection to `ip` and `port` would arrive.
    #[must_use]
    pub fn at(&self, ip: IpAddr, port: u16, uid: u32) -> Listener {
        let mut found = Listener::None;
        for socket in &self.0 {
            let reaches = socket.ip == ip
                || socket.ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                || (socket.ip == IpAddr::V4(Ipv4Addr::UNSPECIFIED) && ip.is_ipv4());
            if socket.port == port && reaches {
                if socket.uid == uid {
                    return Listener::Own;
                }
                found = Listener::Other;
            }
        }
        found
    }
}

/// Whether what the tables below `proc_root` list is what our own sockets see.
fn shows_our_network(proc_root: &Path) -> bool {
    let namespace = |root: &Path| {
        fs::metadata(root.join("self/ns/net"))
            .map(|it| it.ino())
            .ok()
    };
    let theirs = namespace(proc_root);
    theirs.is_some() && theirs == namespace(Path::new("/proc"))
}

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The address it is bound to.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// Whose it is, as our user namespace sees it.
    pub uid: u32,
    /// What tells it from every other socket: `/proc/PID/fd` names it.
    pub inode: u64,
}

/// A line of the table, if it is a listening socket's.
fn entry(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    Some(Socket {
        ip: ip(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid,
        inode,
    })
}

/// An address as the kernel prints it: words of 32 bits in the machine's byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| -> Option<[u8; 4]> {
        let word = u32::from_str_radix(hex.get(8 * i..8 * i + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for i in 0..4 {
                bytes[4 * i..4 * i + 4].copy_from_slice(&word(i)?);
            }
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::users::tests::FakeProc;
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    #[test]
    fn only_listening_sockets_count_and_each_with_its_owner() {
        let proc = FakeProc::new();
        proc.file(
            "self/net/tcp",
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n\
             0: 0100007F:7530 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 77\n\
             1: 00000000:7531 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1001 0 78\n\
             2: 0100007F:7532 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000 0 79\n\
             garbage\n",
        );
        let listeners = Listeners::read(proc.path());
        assert_eq!(listeners.at(LOOPBACK, 30000, 1000), Listener::Own);
        assert_eq!(listeners.at(LOOPBACK, 30000, 1001), Listener::Other);
        assert_eq!(listeners.at(LOOPBACK, 30001, 1001), Listener::Own);
        assert_eq!(listeners.at(LOOPBACK, 30002, 1000), Listener::None);
        assert_eq!(listeners.at(LOOPBACK6, 30001, 1001), Listener::None);
    }

    #[test]
    fn the_wildcard_of_ipv6_takes_ipv4_too() {
        let proc = FakeProc::new();
        let any = "0".repeat(32);
        let local = "00000000000000000000000001000000";
        proc.file(
            "1/net/tcp6",
            format!(
                "0: {any}:7530 {any}:0000 0A 0:0 0:0 0 1000 0 1\n\
                 1: {local}:7531 {any}:0000 0A 0:0 0:0 0 1000 0 2\n"
            ),
        );
        let listeners = Listeners::read(proc.path());
        assert_eq!(listeners.at(LOOPBACK, 30000, 1000), Listener::Own);
        assert_eq!(listeners.at(LOOPBACK6, 30001, 1000), Listener::Own);
        assert_eq!(listeners.at(LOOPBACK, 30001, 1000), Listener::None);
    }

    #[test]
    fn the_sockets_beside_a_process_are_those_of_its_own_network() {
        let proc = FakeProc::new();
        let line = "0: 00000000:7530 0:0 0A 0:0 0:0 0 1000 0 1\n";
        proc.file("10/net/tcp", line);
        assert_eq!(Listeners::beside(proc.path(), 10).iter().count(), 1);
        assert_eq!(Listeners::beside(proc.path(), 11).iter().count(), 0);
        assert_eq!(Listeners::read(proc.path()).iter().count(), 0);
    }

    #[test]
    fn a_socket_of_this_test_is_found_in_the_real_table() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let listeners = Listeners::read(Path::new("/proc"));
        let uid = nix::unistd::geteuid().as_raw();
        assert_eq!(listeners.at(LOOPBACK, port, uid), Listener::Own);
    }
}
