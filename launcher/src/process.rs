//! What /proc says about processes. The root is a parameter, so that tests can lay out their own.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use procfs::FromRead;

/// A /proc file system.
#[derive(Clone, Debug)]
pub struct Proc {
    root: PathBuf,
}

/// One process that is really there: zombies and dying processes are not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Id of the session it is in: the pid of the process that began the session.
    pub session: i32,
    /// Start, in clock ticks after boot: with the pid and the boot id it names one process for ever.
    pub start_ticks: u64,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Its parent.
    pub parent: i32,
    /// Whether a signal holds it.
    pub stopped: bool,
}

/// What a process used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Time on a processor, user and system.
    pub cpu_seconds: f64,
    /// Resident memory; pages that processes share count for each.
    pub resident_bytes: u64,
}

/// A file by device and inode, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
}

impl FileId {
    /// Follows symbolic links. None where the file is missing or may not be seen.
    pub fn of(path: &Path) -> Option<Self> {
        let meta = fs::metadata(path).ok()?;
        Some(Self {
            device: meta.dev(),
            inode: meta.ino(),
        })
    }
}

impl Proc {
    /// The machine's own.
    pub fn system() -> Self {
        Self::at("/proc")
    }

    /// One laid out elsewhere.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A random name of the time since the last boot.
    pub fn boot_id(&self) -> Result<String> {
        let path = self.path("sys/kernel/random/boot_id");
        let id =
            fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(id.trim().to_owned())
    }

    /// The process, if it is alive.
    pub fn get(&self, pid: i32) -> Option<Process> {
        let file = File::open(self.root.join(pid.to_string()).join("stat")).ok()?;
        let stat = procfs::process::Stat::from_read(file).ok()?;
        let alive = !matches!(stat.state, 'Z' | 'X' | 'x');
        alive.then_some(Process {
            pid: stat.pid,
            session: stat.session,
            start_ticks: stat.starttime,
            comm: stat.comm,
            parent: stat.ppid,
            stopped: stat.state == 'T',
        })
    }

    /// Every process that is alive now.
    pub fn all(&self) -> Vec<Process> {
        let Ok(entries) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid| self.get(pid))
            .collect()
    }

    /// The processes of one session.
    pub fn session(&self, session: i32) -> Vec<Process> {
        let mut members = self.all();
        members.retain(|process| process.session == session);
        members
    }

    /// What `path` is for that process: inside its container, where it has one.
    pub fn seen_by(&self, pid: i32, path: &str) -> Option<FileId> {
        FileId::of(&self.path(&format!("{pid}/root{path}")))
    }

    /// Whether the process has that file open. False where its files may not be looked at.
    pub fn has_open(&self, pid: i32, file: FileId) -> bool {
        let Ok(entries) = fs::read_dir(self.path(&format!("{pid}/fd"))) else {
            return false;
        };
        entries
            .flatten()
            .any(|entry| FileId::of(&entry.path()) == Some(file))
    }

    /// Everybody who runs something.
    pub fn uids(&self) -> Vec<u32> {
        let mut uids: Vec<u32> = self
            .all()
            .iter()
            .filter_map(|process| self.uid(process.pid))
            .collect();
        uids.sort_unstable();
        uids.dedup();
        uids
    }

    /// Whose it is. None where it is gone.
    pub fn uid(&self, pid: i32) -> Option<u32> {
        Some(fs::metadata(self.path(&pid.to_string())).ok()?.uid())
    }

    /// Who holds the socket with this inode, among the processes that may be looked at.
    pub fn socket_holder(&self, inode: u64) -> Option<Process> {
        let mut all = self.all().into_iter();
        all.find(|process| self.holds_socket(process.pid, inode) == Some(true))
    }

    /// Whether the process holds the socket with this inode. None where its files may not be looked at.
    pub fn holds_socket(&self, pid: i32, inode: u64) -> Option<bool> {
        let wanted = format!("socket:[{inode}]");
        let mut entries = fs::read_dir(self.path(&format!("{pid}/fd")))
            .ok()?
            .flatten();
        Some(
            entries
                .any(|entry| fs::read_link(entry.path()).is_ok_and(|to| to == Path::new(&wanted))),
        )
    }

    /// What a process used since it started, without its children.
    pub fn usage(&self, pid: i32) -> Option<Usage> {
        let file = File::open(self.root.join(pid.to_string()).join("stat")).ok()?;
        let stat = procfs::process::Stat::from_read(file).ok()?;
        Some(Usage {
            cpu_seconds: (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64,
            resident_bytes: stat.rss * procfs::page_size(),
        })
    }

    /// Seconds since a process started.
    pub fn age_seconds(&self, process: &Process) -> Option<u64> {
        let uptime = fs::read_to_string(self.path("uptime")).ok()?;
        let seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
        let started = process.start_ticks as f64 / procfs::ticks_per_second() as f64;
        Some((seconds - started).max(0.0) as u64)
    }
}

/// Lays out processes below a directory as the kernel would.
#[cfg(test)]
pub mod fake {
    use super::*;

    /// Writes `boot_id`.
    pub fn boot(root: &Path, id: &str) {
        fs::create_dir_all(root.join("sys/kernel/random")).unwrap();
        fs::write(root.join("sys/kernel/random/boot_id"), format!("{id}\n")).unwrap();
    }

    /// Adds a process and returns its directory.
    pub fn process(root: &Path, pid: i32, session: i32, start: u64, state: char) -> PathBuf {
        let dir = root.join(pid.to_string());
        fs::create_dir_all(dir.join("fd")).unwrap();
        let zeros = "0 ".repeat(30);
        let stat = format!(
            "{pid} (a) b) {state} 1 {pid} {session} 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 {start} {zeros}\n"
        );
        fs::write(dir.join("stat"), stat).unwrap();
        dir
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zombie_is_dead() {
        let root = tempfile::tempdir().unwrap();
        fake::process(root.path(), 7, 7, 100, 'Z');
        fake::process(root.path(), 8, 7, 100, 'S');
        let proc = Proc::at(root.path());
        assert_eq!(proc.get(7), None);
        assert_eq!(
            proc.session(7).iter().map(|p| p.pid).collect::<Vec<_>>(),
            [8]
        );
    }

    #[test]
    fn a_name_with_a_parenthesis_is_read() {
        let root = tempfile::tempdir().unwrap();
        fake::process(root.path(), 8, 3, 4711, 'R');
        let process = Proc::at(root.path()).get(8).unwrap();
        assert_eq!(
            (process.comm.as_str(), process.session, process.start_ticks),
            ("a) b", 3, 4711)
        );
    }

    #[test]
    fn an_open_file_is_recognised_by_inode_whatever_its_name() {
        let root = tempfile::tempdir().unwrap();
        let dir = fake::process(root.path(), 8, 8, 1, 'S');
        let image = root.path().join("image");
        fs::write(&image, "").unwrap();
        std::os::unix::fs::symlink(&image, dir.join("fd/3")).unwrap();
        let proc = Proc::at(root.path());
        assert!(proc.has_open(8, FileId::of(&image).unwrap()));
        assert!(!proc.has_open(8, FileId::of(root.path()).unwrap()));
    }

    #[test]
    fn everybody_who_runs_something_is_named_once() {
        let root = tempfile::tempdir().unwrap();
        for pid in [7, 8] {
            fake::process(root.path(), pid, pid, 1, 'S');
        }
        let own = nix::unistd::Uid::effective().as_raw();
        assert_eq!(Proc::at(root.path()).uids(), [own]);
    }

    #[test]
    fn the_holder_of_a_socket_is_found() {
        let root = tempfile::tempdir().unwrap();
        let dir = fake::process(root.path(), 8, 8, 1, 'S');
        std::os::unix::fs::symlink("socket:[991]", dir.join("fd/5")).unwrap();
        let proc = Proc::at(root.path());
        assert_eq!(proc.socket_holder(991).map(|p| p.pid), Some(8));
        assert_eq!(proc.socket_holder(99), None);
    }
}
