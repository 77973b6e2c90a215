//! Whose a process on a GPU is: as /proc says, and where our user namespace hides it and no login session or batch
//! job names it, as the host probe says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::host_probe::{HostProbe, ProcessId};
use crate::processes::{is_hidden, owner};

/// Answers kept; beyond, all are asked for anew.
const MOST_KNOWN: usize = 1024;

/// Asks, and keeps what the probe said.
pub struct Owners {
    proc_root: PathBuf,
    probe: Arc<HostProbe>,
    known: RefCell<BTreeMap<ProcessId, u32>>,
}

impl Owners {
    /// Of the processes below `proc_root`.
    pub fn new(proc_root: PathBuf, probe: Arc<HostProbe>) -> Self {
        Self {
            proc_root,
            probe,
            known: RefCell::default(),
        }
    }

    /// The user of a process, in the host's numbers; still a hidden one where nobody can tell.
    pub fn of(&self, id: ProcessId) -> Option<u32> {
        let uid = owner(&self.proc_root, id.pid)?;
        if !is_hidden(uid) {
            return Some(uid);
        }
        let mut known = self.known.borrow_mut();
        if let Some(uid) = known.get(&id) {
            return Some(*uid);
        }
        let Some(told) = self.probe.owner(id) else {
            return Some(uid);
        };
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(id, told);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::host_probe::SOCKET_NAME;
    use crate::processes::Users;
    use crate::processes::tests::FakeProc;

    const ID: ProcessId = ProcessId {
        pid: 10,
        start_ticks: 110,
    };

    /// A container's /proc, which hides whose process 10 is.
    fn container() -> FakeProc {
        let proc = FakeProc::new();
        proc.passwd("nobody:x:65534:65534::/:\nmarie:x:1000:1000::/:\nkurt:x:1003:1003::/:\n");
        proc.file("10/status", "Uid:\t65534\t65534\t65534\t65534\n");
        proc.file("10/cgroup", "0::/system.slice/docker-3.scope\n");
        proc
    }

    /// What a chart calls the owner of process 10: by default, and where users are identified.
    fn shown(proc: &FakeProc, owners: &Owners) -> [String; 2] {
        let users = Users::new(proc.path(), 1000);
        let uid = owners.of(ID);
        [users.shown(uid), users.identifying(proc.path()).shown(uid)]
    }

    /// A probe that answers once.
    fn probe(dir: &std::path::Path, uid: u32) -> std::thread::JoinHandle<()> {
        use std::io::{BufRead as _, BufReader, Write as _};
        let listener = UnixListener::bind(dir.join(SOCKET_NAME)).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            writeln!(stream, "rs.d-host-probe 1").unwrap();
            let mut asked = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            reader.read_line(&mut asked).unwrap();
            assert_eq!(asked, "owner 10:110\n");
            write!(stream, "= {uid}\nok\n").unwrap();
        })
    }

    #[test]
    fn a_hidden_user_is_unknown_without_a_probe_and_never_nobody() {
        let proc = container();
        let owners = Owners::new(proc.path().to_owned(), Arc::new(HostProbe::new(None)));
        assert_eq!(shown(&proc, &owners), ["unknown", "unknown"]);
    }

    #[test]
    fn the_probe_says_whose_a_process_is_and_is_asked_once() {
        let (proc, run) = (container(), tempfile::tempdir().unwrap());
        let probe = probe(run.path(), 1003);
        let client = Arc::new(HostProbe::new(Some(run.path())));
        let owners = Owners::new(proc.path().to_owned(), client);
        assert_eq!(shown(&proc, &owners), ["other", "kurt"]);
        probe.join().unwrap();
        // It is gone, and what it said still holds.
        assert_eq!(shown(&proc, &owners), ["other", "kurt"]);
    }

    #[test]
    fn a_login_session_names_its_user_without_a_probe() {
        let proc = container();
        proc.file(
            "10/cgroup",
            "0::/user.slice/user-1003.slice/session-4.scope\n",
        );
        let owners = Owners::new(proc.path().to_owned(), Arc::new(HostProbe::new(None)));
        assert_eq!(shown(&proc, &owners), ["other", "kurt"]);
    }
}
