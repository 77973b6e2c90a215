//! Listening TCP sockets from the kernel's socket diagnosis (netlink), which looks at listening sockets only.
//! `/proc/net/tcp` walks the whole hash table of connections for every reader: 3 ms on a machine with 24 GiB.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::libc::{
    AF_INET, AF_INET6, IPPROTO_TCP, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::sockets::Socket;

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// Bit of `TCP_LISTEN` in the mask of states.
const LISTEN: u32 = 1 << 10;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2` and `struct inet_diag_msg`.
const REQUEST: usize = 56;
const MESSAGE: usize = 72;
/// The kernel answers at once; a filter that swallows the request must not hang us.
const ANSWERS_WITHIN_MS: i64 = 500;
/// Answers read at most, 16 KiB each: some 100,000 sockets.
const MAX_ANSWERS: usize = 512;

/// Address, port and owner of every listening TCP socket of our network namespace.
///
/// # Errors
/// As the system's: the kernel may lack the module, a container may forbid the socket.
pub(super) fn listening() -> io::Result<Vec<Socket>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    setsockopt(
        &socket,
        ReceiveTimeout,
        &TimeVal::milliseconds(ANSWERS_WITHIN_MS),
    )?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump(&socket, family, &mut found)?;
    }
    Ok(found)
}

fn dump(socket: &OwnedFd, family: i32, found: &mut Vec<Socket>) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    send(fd, &request(family), MsgFlags::empty())?;
    let mut buffer = [0; 16 * 1024];
    for _ in 0..MAX_ANSWERS {
        let len = recv(fd, &mut buffer, MsgFlags::empty())?;
        if take(&buffer[..len], found)? {
            return Ok(());
        }
    }
    Err(io::Error::new(
        ErrorKind::InvalidData,
        "an answer without end",
    ))
}

fn request(family: i32) -> [u8; HEADER + REQUEST] {
    let mut bytes = [0; HEADER + REQUEST];
    let len = (HEADER + REQUEST) as u32;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());
    bytes[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&((NLM_F_REQUEST | NLM_F_DUMP) as u16).to_ne_bytes());
    bytes[HEADER] = family as u8;
    bytes[HEADER + 1] = IPPROTO_TCP as u8;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&LISTEN.to_ne_bytes());
    bytes
}

/// Reads one answer; says whether it was the last.
fn take(mut answer: &[u8], found: &mut Vec<Socket>) -> io::Result<bool> {
    let cut_off = || io::Error::new(ErrorKind::InvalidData, "an answer that is cut off");
    while !answer.is_empty() {
        let len = u32_at(answer, 0).ok_or_else(cut_off)? as usize;
        let kind = i32::from(u16::from_ne_bytes([answer[4], answer[5]]));
        let body = answer.get(HEADER..len).ok_or_else(cut_off)?;
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = u32_at(body, 0).ok_or_else(cut_off)? as i32;
                return Err(io::Error::from_raw_os_error(code.saturating_neg()));
            }
            _ => found.extend(entry(body)),
        }
        answer = answer.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// One `inet_diag_msg`.
fn entry(body: &[u8]) -> Option<Socket> {
    let body: &[u8; MESSAGE] = body.get(..MESSAGE)?.try_into().ok()?;
    let port = u16::from_be_bytes([body[4], body[5]]);
    let ip = match i32::from(body[0]) {
        AF_INET => IpAddr::from([body[8], body[9], body[10], body[11]]),
        AF_INET6 => {
            let bytes: [u8; 16] = body[8..24].try_into().ok()?;
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(Socket {
        ip,
        port,
        uid: u32_at(body, 64)?,
        inode: u32_at(body, 68)?.into(),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn the_kernel_names_a_listening_socket_of_each_family_with_its_owner() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let v6 = TcpListener::bind("[::1]:0").ok();
        let found = listening().unwrap();
        let uid = nix::unistd::geteuid().as_raw();
        for socket in [Some(v4), v6].into_iter().flatten() {
            let at = socket.local_addr().unwrap();
            let is_it = |it: &&Socket| (it.ip, it.port) == (at.ip(), at.port());
            let it = found.iter().find(is_it);
            let it = it.unwrap_or_else(|| panic!("{at} is missing: {found:?}"));
            let link = format!("/proc/self/fd/{}", socket.as_raw_fd());
            let link = std::fs::read_link(link).unwrap();
            assert_eq!(link.to_str(), Some(&*format!("socket:[{}]", it.inode)));
            assert_eq!(it.uid, uid);
        }
    }

    #[test]
    fn a_cut_off_answer_is_an_error_and_one_of_other_things_says_nothing() {
        let mut found = vec![];
        assert!(take(&[1, 2, 3], &mut found).is_err());
        let mut long = [0; HEADER];
        long[0] = 200;
        assert!(take(&long, &mut found).is_err());
        long[0] = HEADER as u8;
        assert!(!take(&long, &mut found).unwrap());
        long[0] = 3;
        assert!(take(&long, &mut found).is_err());
        assert_eq!(found, []);
    }

    #[test]
    fn a_mapped_address_is_the_one_it_stands_for() {
        let mut body = [0; MESSAGE];
        body[0] = AF_INET6 as u8;
        body[4..6].copy_from_slice(&30_000_u16.to_be_bytes());
        body[18..24].copy_from_slice(&[255, 255, 127, 0, 0, 1]);
        body[64..68].copy_from_slice(&1000_u32.to_ne_bytes());
        let expected = Socket {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 30_000,
            uid: 1000,
            inode: 0,
        };
        assert_eq!(entry(&body), Some(expected));
    }
}
