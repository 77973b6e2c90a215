//! Small files of processes, read into a buffer that is kept: what is read of thousands of them allocates nothing.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::Stat;

/// Longest `stat` is 400 bytes.
const MAX_STAT: usize = 4096;
/// Longest `status` is 2 KiB; only lists of processors and of memory nodes make it longer, behind what is wanted.
pub(super) const MAX_STATUS: usize = 4096;
/// What is asked for at first: most command lines are shorter.
const FIRST: usize = 4096;

/// Reads files below `/proc/PID`.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    /// The same, open: inside a container the way to it leads over several file systems, each of which has to be asked
    /// for each file.
    dir: Option<File>,
    path: String,
    buffer: Vec<u8>,
}

impl Files {
    /// Of the /proc at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            dir: None,
            path: String::new(),
            buffer: vec![],
        }
    }

    /// Where they are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `/proc/PID/stat`; `None` if the process has ended.
    pub fn stat(&mut self, pid: u32) -> Option<Stat<'_>> {
        Stat::parse(self.read(pid, "stat", MAX_STAT)?)
    }

    /// Whether the number is a process's and not a thread's, which has the same files.
    pub fn is_process(&mut self, pid: u32) -> bool {
        let Some(status) = self.read(pid, "status", MAX_STATUS) else {
            return false;
        };
        let status = String::from_utf8_lossy(status);
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:"));
        group.and_then(|group| group.trim().parse().ok()) == Some(pid)
    }

    /// The first `limit` bytes of a file of a process that may end at any moment: what cannot be read is not there.
    pub fn read(&mut self, pid: u32, name: &str, limit: usize) -> Option<&[u8]> {
        self.path.clear();
        write!(self.path, "{pid}/{name}").ok()?;
        let dir = match &self.dir {
            Some(dir) => dir,
            None => self.dir.insert(File::open(&self.root).ok()?),
        };
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(dir, self.path.as_str(), flags, Mode::empty()).ok()?);
        let mut end = 0;
        loop {
            let room = limit.min((end * 2).max(FIRST));
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
            let got = file.read(&mut self.buffer[end..room]).ok()?;
            end += got;
            // The kernel fills what it is given, as far as there is something.
            if end < room || end == limit {
                return Some(&self.buffer[..end]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::FakeProc;
    use super::*;

    #[test]
    fn a_file_of_any_length_is_read_whole_up_to_the_limit() {
        let proc = FakeProc::new();
        let text: Vec<u8> = (0..30_000).map(|i| (i % 251) as u8).collect();
        proc.file("8/cmdline", &text);
        let mut files = Files::new(proc.path());
        for limit in [1, 4095, 4096, 4097, 8192, 29_999, 30_000, 30_001, 65_536] {
            let expected = &text[..limit.min(text.len())];
            assert_eq!(files.read(8, "cmdline", limit), Some(expected), "{limit}");
        }
        // A shorter one leaves nothing of the longer one.
        proc.file("8/cmdline", "short");
        assert_eq!(files.read(8, "cmdline", 65_536), Some(&b"short"[..]));
        assert_eq!(files.read(9, "cmdline", 65_536), None);
    }
}
