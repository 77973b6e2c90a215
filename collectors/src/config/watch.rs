//! Whether files have changed: by time of change, size and inode. A change counts once it looks the same twice
//! in a row, so that no half-written file is taken.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// How a file looks from outside. `None` if there is none.
type Stamp = Option<(i64, i64, u64, u64)>;

/// Some files, there or not.
pub struct Watch {
    files: Vec<PathBuf>,
    /// Their look when they were read last.
    read: Option<Vec<Stamp>>,
    /// Their look when they were looked at last.
    seen: Vec<Stamp>,
}

impl Watch {
    /// Of `files`, not read yet.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            read: None,
            seen: vec![],
        }
    }

    /// Whether they have to be read (again) now; from then on they count as read.
    pub fn due(&mut self) -> bool {
        let now: Vec<Stamp> = self.files.iter().map(|file| stamp(file)).collect();
        let settled = self.read.is_none() || self.seen == now;
        let due = settled && self.read.as_ref() != Some(&now);
        if due {
            self.read = Some(now.clone());
        }
        self.seen = now;
        due
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.size(),
        metadata.ino(),
    ))
}
