//! Whose a process is, and what of that may be shown.

use std::fs;
use std::path::{Path, PathBuf};

use super::Files;
use super::files::MAX_STATUS;

/// What the kernel shows for every user that is not mapped into our user namespace.
const OVERFLOW_UID: u32 = 65534;

/// The effective user of process `pid`, as our namespace sees it. `/proc/PID` itself is no source: it
/// belongs to root for a process that may not be dumped.
#[must_use]
pub fn effective_uid(proc_root: &Path, pid: u32) -> Option<u32> {
    // The line is among the first, and the kernel writes the whole for every reader, however little he takes.
    let mut files = Files::new(proc_root);
    let status = String::from_utf8_lossy(files.read(pid, "status", MAX_STATUS)?);
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whose process `pid` is, in the host's numbers: where our user namespace hides the user, the slice of the
/// login session that the process was started in names it.
#[must_use]
pub fn owner(proc_root: &Path, pid: u32) -> Option<u32> {
    let uid = effective_uid(proc_root, pid)?;
    if uid != OVERFLOW_UID {
        return Some(uid);
    }
    let groups = fs::read_to_string(proc_root.join(format!("{pid}/cgroup"))).ok()?;
    slice_uid(&groups).or(Some(OVERFLOW_UID))
}

/// Whether that is no user, but what stands for all that our user namespace hides.
#[must_use]
pub fn is_hidden(uid: u32) -> bool {
    uid == OVERFLOW_UID
}

/// The user in a path of control groups: of a login session, `/user.slice/user-1000.slice/…`, or of a batch job,
/// `/slurm/uid_1000/job_7/…`. The first one counts: below, users name groups as they like.
fn slice_uid(groups: &str) -> Option<u32> {
    let of_path = |path: &str| {
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let session = part.strip_prefix("user-");
            let session = session.and_then(|part| part.strip_suffix(".slice"));
            let job = parts.peek().filter(|_| part.starts_with("slurm"));
            let job = job.and_then(|part| part.strip_prefix("uid_"));
            if let Some(uid) = session.or(job) {
                return uid.parse().ok();
            }
        }
        None
    };
    groups.lines().find_map(of_path)
}

/// Names for the label `user`: our own user's, and nobody else's.
#[derive(Clone, Debug)]
pub struct Users {
    own: u32,
    own_name: String,
    /// Where other users' names are read, if they may be shown.
    identify: Option<PathBuf>,
}

impl Users {
    /// Looks up `own` in the host's `etc/passwd`, which stands beside its `proc`, else in ours.
    #[must_use]
    pub fn new(proc_root: &Path, own: u32) -> Self {
        let hosts = proc_root.parent().map(|host| host.join("etc/passwd"));
        let name = hosts
            .as_deref()
            .and_then(|passwd| name_in(passwd, own))
            .or_else(|| name_in(Path::new("/etc/passwd"), own));
        Self {
            own,
            own_name: name.unwrap_or_else(|| own.to_string()),
            identify: None,
        }
    }

    /// The same, which shows other users' names too.
    #[must_use]
    pub fn identifying(self, proc_root: &Path) -> Self {
        let hosts = proc_root.parent().map(|host| host.join("etc/passwd"));
        Self {
            identify: hosts.or_else(|| Some(PathBuf::from("/etc/passwd"))),
            ..self
        }
    }

    /// As [`Users::label`], with the names of other users where they may be shown: the host's, else numbers.
    #[must_use]
    pub fn shown(&self, uid: Option<u32>) -> String {
        match (uid, &self.identify) {
            (Some(uid), Some(passwd)) if uid != self.own && uid != OVERFLOW_UID => {
                name_in(passwd, uid).unwrap_or_else(|| uid.to_string())
            }
            _ => self.label(uid).to_owned(),
        }
    }

    /// The label's value. In a rootless container every other user is the overflow uid, whose name
    /// `nobody` would be a lie; outside one, another user's name is not ours to show.
    #[must_use]
    pub fn label(&self, uid: Option<u32>) -> &str {
        match uid {
            None | Some(OVERFLOW_UID) => "unknown",
            Some(uid) if uid == self.own => &self.own_name,
            Some(_) => "other",
        }
    }
}

fn name_in(passwd: &Path, uid: u32) -> Option<String> {
    let passwd = fs::read_to_string(passwd).ok()?;
    let uid = uid.to_string();
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A /proc in a temporary folder, with an `etc` beside it.
    pub struct FakeProc {
        dir: tempfile::TempDir,
        root: PathBuf,
    }

    impl FakeProc {
        pub fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("proc");
            fs::create_dir(&root).unwrap();
            Self { dir, root }
        }

        pub fn path(&self) -> &Path {
            &self.root
        }

        pub fn file(&self, path: &str, text: impl AsRef<[u8]>) {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        pub fn process(&self, pid: u32, ppid: u32, comm: &str, state: char, argv: &[&str]) {
            self.started(pid, ppid, comm, state, argv, 100 + u64::from(pid));
        }

        pub fn started(
            &self,
            pid: u32,
            ppid: u32,
            comm: &str,
            state: char,
            argv: &[&str],
            start: u64,
        ) {
            self.stat(pid, ppid, comm, state, start, (0, 0), 0);
            self.file(
                &format!("{pid}/status"),
                "Name:\tx\nUid:\t1000\t1000\t1000\t1000\n",
            );
            self.file(&format!("{pid}/cmdline"), argv.join("\0") + "\0");
        }

        #[allow(clippy::too_many_arguments)]
        pub fn stat(
            &self,
            pid: u32,
            ppid: u32,
            comm: &str,
            state: char,
            start: u64,
            (user, system): (u64, u64),
            rss_pages: u64,
        ) {
            let text = format!(
                "{pid} ({comm}) {state} {ppid} 1 1 0 -1 0 0 0 0 0 {user} {system} 0 0 20 0 1 0 \
                 {start} 4096 {rss_pages} 0\n"
            );
            self.file(&format!("{pid}/stat"), text);
        }

        /// A socket of user 1000 that listens on 127.0.0.1.
        pub fn listen(&self, ports: &[u16]) {
            let line = |port: &u16| format!("0: 0100007F:{port:04X} 0:0 0A 0:0 0:0 0 1000 0 1\n");
            self.file("self/net/tcp", ports.iter().map(line).collect::<String>());
        }

        pub fn remove(&self, pid: u32) {
            fs::remove_dir_all(self.root.join(pid.to_string())).unwrap();
        }

        pub fn passwd(&self, text: &str) {
            fs::create_dir_all(self.dir.path().join("etc")).unwrap();
            fs::write(self.dir.path().join("etc/passwd"), text).unwrap();
        }
    }

    #[test]
    fn the_overflow_uid_is_unknown_and_never_nobody() {
        let proc = FakeProc::new();
        proc.passwd("nobody:x:65534:65534::/:\nmarie:x:1000:1000::/home/marie:\nx\n");
        let users = Users::new(proc.path(), 1000);
        assert_eq!(users.label(Some(1000)), "marie");
        assert_eq!(users.label(Some(65534)), "unknown");
        assert_eq!(users.label(Some(1001)), "other");
        assert_eq!(users.label(None), "unknown");
    }

    #[test]
    fn a_hidden_user_is_known_by_the_slice_of_the_session() {
        let proc = FakeProc::new();
        let hidden = "Uid:\t65534\t65534\t65534\t65534\n";
        proc.file("10/status", hidden);
        proc.file(
            "10/cgroup",
            "0::/user.slice/user-1003.slice/session-4.scope\n",
        );
        proc.file("11/status", hidden);
        proc.file("11/cgroup", "0::/system.slice/docker-3.scope\n");
        proc.file("12/status", hidden);
        proc.file("13/status", hidden);
        proc.file(
            "13/cgroup",
            "9:cpuset:/slurm_node7/uid_1004/job_88/step_0\n0::/system.slice/slurmd.service\n",
        );
        proc.file("14/status", hidden);
        proc.file(
            "14/cgroup",
            "0::/user.slice/user-1005.slice/slurm/uid_0/user-0.slice\n",
        );
        assert_eq!(owner(proc.path(), 10), Some(1003));
        assert_eq!(owner(proc.path(), 13), Some(1004));
        assert_eq!(owner(proc.path(), 14), Some(1005));
        assert_eq!(owner(proc.path(), 11), Some(65534));
        assert_eq!(owner(proc.path(), 12), None);
    }

    #[test]
    fn other_users_have_names_only_where_they_may_be_shown() {
        let proc = FakeProc::new();
        proc.passwd("marie:x:1000:1000::/:\nkurt:x:1003:1003::/:\nnobody:x:65534:65534::/:\n");
        let users = Users::new(proc.path(), 1000);
        assert_eq!(users.shown(Some(1003)), "other");
        let users = users.identifying(proc.path());
        assert_eq!(users.shown(Some(1003)), "kurt");
        assert_eq!(users.shown(Some(1004)), "1004");
        assert_eq!(users.shown(Some(65534)), "unknown");
        assert_eq!(users.shown(None), "unknown");
    }

    #[test]
    fn a_user_without_a_name_is_shown_by_number() {
        let users = Users::new(FakeProc::new().path(), 3_999_999);
        assert_eq!(users.label(Some(3_999_999)), "3999999");
    }

    #[test]
    fn the_effective_user_is_the_second_of_the_line() {
        let proc = FakeProc::new();
        proc.file(
            "10/status",
            "Name:\ta\nUid:\t1000\t1001\t1000\t1000\nGid:\t1\t1\t1\t1\n",
        );
        assert_eq!(effective_uid(proc.path(), 10), Some(1001));
        assert_eq!(effective_uid(proc.path(), 11), None);
    }
}
