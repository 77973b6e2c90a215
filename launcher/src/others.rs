//! Other Netdata on the machine: the distribution's, another user's, or another home's.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::unistd::{Uid, User};

use crate::api::Api;
use crate::ports;
use crate::process::{Proc, Process};

/// It answers at once, or it is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// One that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its process; of several of that user, the first.
    pub pid: i32,
    /// Whose it is.
    pub user: String,
    /// As it says itself.
    pub version: String,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, user, version } = self;
        write!(f, "Netdata {version} of user {user} (pid {pid})")
    }
}

/// Every process called netdata but `ours`.
pub fn processes(proc: &Proc, ours: &[i32]) -> Vec<Process> {
    let mut others = proc.all();
    others.retain(|process| process.comm == "netdata" && !ours.contains(&process.pid));
    others
}

/// The one that answers on `port`. Nobody is asked but a listener of a user who runs a Netdata.
pub fn answering(proc: &Proc, ours: &[i32], port: u16) -> Option<Other> {
    let others = processes(proc, ours);
    let (pid, uid) = ports::listeners(proc, port).iter().find_map(|listener| {
        let mut theirs = others
            .iter()
            .filter(|other| proc.uid(other.pid) == Some(listener.uid));
        Some((theirs.next()?.pid, listener.uid))
    })?;
    let api = Api::with_patience(Ipv4Addr::LOCALHOST.into(), port, PATIENCE);
    let version = api.info().ok()?.version;
    let plain: String = version
        .chars()
        .filter(|c| !c.is_control())
        .take(40)
        .collect();
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    (!plain.is_empty()).then(|| Other {
        pid,
        user: user.map_or_else(|| uid.to_string(), |user| user.name),
        version: plain,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_netdata_that_answers_is_found_and_other_servers_are_not_asked() {
        let root = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let uid = Uid::effective();
        fs::create_dir(root.path().join("net")).unwrap();
        let table = format!(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \x20  0: 0100007F:{port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000  {uid}        0 991 1 0 100 0 0 10 0\n"
        );
        fs::write(root.path().join("net/tcp"), table).unwrap();
        let proc = Proc::at(root.path());
        let process = |comm: &str| {
            let dir = crate::process::fake::process(root.path(), 77, 77, 1, 'S');
            let stat = fs::read_to_string(dir.join("stat")).unwrap();
            fs::write(dir.join("stat"), stat.replace("a) b", comm)).unwrap();
        };
        // No Netdata of that user: the listener is a server of something else.
        process("sglang");
        assert_eq!(answering(&proc, &[], port), None);
        process("netdata");
        assert_eq!(answering(&proc, &[77], port), None, "our own");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            let body = r#"{"version":"v1.37.1"}"#;
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        });
        let found = answering(&proc, &[], port).unwrap();
        assert_eq!((found.pid, found.version.as_str()), (77, "v1.37.1"));
        server.join().unwrap();
    }
}
