//! One process of the probe's own user, held by its directory in /proc: whatever is read through that is of
//! this very process, also if its pid becomes another's meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use super::protocol::ProcessId;
use crate::processes::{Listeners, Stat, effective_uid};

/// Most addresses told of one process; a server has one to ten.
const MAX_ADDRESSES: usize = 64;
/// Most open files looked at.
const MAX_FILES: usize = 1 << 20;
/// Longest environment read.
const MAX_ENVIRON: u64 = 256 << 10;
/// Longest value of a variable told.
const MAX_VALUE: usize = 256;
/// The variables that may be told: which GPUs, which job. Nothing else of an environment leaves here.
const VARIABLES: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID"];

/// What a process uses, as far as it may be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries of `/proc/PID/fd`.
    pub open_files: Option<u64>,
    /// `read_bytes` of `/proc/PID/io`: fetched from disks since its start.
    pub read_bytes: Option<u64>,
    /// `write_bytes`, likewise.
    pub write_bytes: Option<u64>,
}

/// The effective user of the process `id` below the /proc at `root`, whoever that is.
#[must_use]
pub fn owner(root: &Path, id: ProcessId) -> Option<u32> {
    let started = || {
        let stat = fs::read(root.join(format!("{}/stat", id.pid))).ok()?;
        Some(Stat::parse(&stat)?.start_ticks)
    };
    let uid = effective_uid(root, id.pid)?;
    // Looked at last: it was this very process that was asked about.
    (started() == Some(id.start_ticks)).then_some(uid)
}

/// An open process.
#[derive(Debug)]
pub struct Process {
    dir: File,
}

impl Process {
    /// Opens the process `id` below the /proc at `root`. `None` if it has ended, or is not wholly the user
    /// `own`'s.
    #[must_use]
    pub fn open(root: &Path, id: ProcessId, own: u32) -> Option<Self> {
        let dir = File::open(root.join(id.pid.to_string())).ok()?;
        let process = Self { dir };
        let stat = process.read("stat", 4096)?;
        let stat = Stat::parse(&stat)?;
        let ours = stat.start_ticks == id.start_ticks && !stat.is_dead();
        (ours && process.belongs_to(own)).then_some(process)
    }

    /// Real, effective, saved and file-system uid: a program that has taken on another user's rights keeps
    /// its secrets.
    fn belongs_to(&self, own: u32) -> bool {
        let Some(status) = self.read("status", 16 << 10) else {
            return false;
        };
        let status = String::from_utf8_lossy(&status);
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        uids.is_some_and(|uids| {
            let mut uids = uids.split_ascii_whitespace();
            uids.clone().count() == 4 && uids.all(|uid| uid.parse() == Ok(own))
        })
    }

    /// A path of the process's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.dir.as_raw_fd()))
    }

    fn read(&self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(self.path(name)).ok()?;
        file.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Where it listens, the lowest port first. `None` if its files cannot be looked at, or if its network is
    /// not this machine's: a port of another namespace would be somebody else's here.
    #[must_use]
    pub fn listening(&self) -> Option<Vec<SocketAddr>> {
        let same =
            fs::read_link(self.path("ns/net")).ok()? == fs::read_link("/proc/self/ns/net").ok()?;
        let sockets: BTreeSet<u64> = self.files()?.filter_map(|fd| socket_inode(&fd)).collect();
        if !same {
            return None;
        }
        let mut addresses: Vec<SocketAddr> = Listeners::read(Path::new("/proc"))
            .iter()
            .filter(|socket| sockets.contains(&socket.inode))
            .map(|socket| SocketAddr::new(socket.ip, socket.port))
            .collect();
        addresses.sort_by_key(|address| (address.port(), address.ip()));
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        Some(addresses)
    }

    fn files(&self) -> Option<impl Iterator<Item = PathBuf>> {
        let entries = fs::read_dir(self.path("fd")).ok()?;
        Some(entries.flatten().take(MAX_FILES).map(|entry| entry.path()))
    }

    /// Open files and disk I/O.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let io = self.read("io", 4096).unwrap_or_default();
        Usage {
            open_files: self.files().map(|files| files.count() as u64),
            read_bytes: number(&io, "read_bytes:"),
            write_bytes: number(&io, "write_bytes:"),
        }
    }

    /// `Pss` of `/proc/PID/smaps_rollup`, in bytes. Slow: the kernel walks all its pages.
    #[must_use]
    pub fn pss_bytes(&self) -> Option<u64> {
        let kib = number(&self.read("smaps_rollup", 16 << 10)?, "Pss:")?;
        kib.checked_mul(1024)
    }

    /// The variables that say where it runs, as far as their values are plain.
    #[must_use]
    pub fn place(&self) -> Vec<(&'static str, String)> {
        let environ = self.read("environ", MAX_ENVIRON).unwrap_or_default();
        let value = |name: &str| {
            environ.split(|&byte| byte == 0).find_map(|entry| {
                let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
                let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b",._:/-".contains(byte);
                let plain = value.len() <= MAX_VALUE && value.iter().all(plain);
                plain.then(|| String::from_utf8_lossy(value).into_owned())
            })
        };
        VARIABLES
            .iter()
            .filter_map(|name| Some((*name, value(name)?)))
            .collect()
    }
}

/// `socket:[4711]`, as the link of an open file reads.
fn socket_inode(fd: &Path) -> Option<u64> {
    let link = fs::read_link(fd).ok()?;
    let inode = link.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// The first number after `name` at the beginning of a line.
fn number(text: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::processes::tests::FakeProc;

    const PROC: &str = "/proc";

    fn own_uid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn this() -> ProcessId {
        let stat = fs::read("/proc/self/stat").unwrap();
        ProcessId {
            pid: std::process::id(),
            start_ticks: Stat::parse(&stat).unwrap().start_ticks,
        }
    }

    #[test]
    fn a_process_listens_where_its_own_sockets_do_and_not_where_others_do() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = socket.local_addr().unwrap();
        let process = Process::open(Path::new(PROC), this(), own_uid()).unwrap();
        assert!(process.listening().unwrap().contains(&here));
        drop(socket);
        assert!(!process.listening().unwrap().contains(&here));
    }

    #[test]
    fn an_open_file_is_counted_and_memory_is_read() {
        let process = Process::open(Path::new(PROC), this(), own_uid()).unwrap();
        assert!(process.usage().open_files.unwrap() >= 3);
        assert!(process.pss_bytes().unwrap() > 100_000);
    }

    #[test]
    fn a_reused_pid_and_another_users_process_are_not_opened() {
        let other = ProcessId {
            start_ticks: this().start_ticks + 1,
            ..this()
        };
        assert!(Process::open(Path::new(PROC), other, own_uid()).is_none());
        assert!(Process::open(Path::new(PROC), this(), own_uid() + 1).is_none());
    }

    #[test]
    fn a_process_with_another_users_rights_is_not_ours() {
        let proc = FakeProc::new();
        proc.process(10, 1, "su", 'S', &["su"]);
        let id = ProcessId {
            pid: 10,
            start_ticks: 110,
        };
        assert!(Process::open(proc.path(), id, 1000).is_some());
        proc.file("10/status", "Name:\tsu\nUid:\t1000\t0\t0\t0\n");
        assert!(Process::open(proc.path(), id, 1000).is_none());
        proc.file("10/status", "Name:\tsu\nUid:\t1000\n");
        assert!(Process::open(proc.path(), id, 1000).is_none());
        proc.process(10, 1, "su", 'Z', &["su"]);
        assert!(Process::open(proc.path(), id, 1000).is_none());
    }

    #[test]
    fn of_an_environment_only_two_plain_variables_are_told() {
        let proc = FakeProc::new();
        proc.process(10, 1, "python", 'S', &["python"]);
        let environ = "HF_TOKEN=s3cret\0CUDA_VISIBLE_DEVICES=0,GPU-1f\0SLURM_JOB_ID=1 2\n= x\0";
        proc.file("10/environ", environ);
        proc.file("10/io", "rchar: 1\nread_bytes: 4096\nwrite_bytes: x\n");
        let id = ProcessId {
            pid: 10,
            start_ticks: 110,
        };
        let process = Process::open(proc.path(), id, 1000).unwrap();
        let expected = [("CUDA_VISIBLE_DEVICES", "0,GPU-1f".to_owned())];
        assert_eq!(process.place(), expected);
        let usage = Usage {
            read_bytes: Some(4096),
            ..Usage::default()
        };
        assert_eq!(process.usage(), usage);
    }
}
