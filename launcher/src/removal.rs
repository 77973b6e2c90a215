//! Removes what the launcher made, and says how much it was. Only names that it knows are touched.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::paths::Paths;

/// What a removal did, or would do.
#[derive(Debug)]
pub struct Removal {
    dry_run: bool,
    bytes: u64,
}

impl Removal {
    /// With `dry_run` nothing is removed.
    pub fn new(dry_run: bool) -> Self {
        Self { dry_run, bytes: 0 }
    }

    /// Removes a file or a tree, following no link, and says so. A missing one is removed already.
    pub fn take(&mut self, path: &Path, what: &str) -> Result<()> {
        let Ok(meta) = fs::symlink_metadata(path) else {
            return Ok(());
        };
        let bytes = size(path);
        let mib = bytes as f64 / (1024.0 * 1024.0);
        let verb = if self.dry_run {
            "would remove"
        } else {
            "removed"
        };
        if !self.dry_run {
            let gone = if meta.is_dir() {
                remove_tree(path)
            } else {
                fs::remove_file(path)
            };
            gone.with_context(|| format!("removing {}", path.display()))?;
        }
        self.bytes += bytes;
        out!("{verb} {} ({what}, {mib:.1} MiB)", path.display());
        Ok(())
    }

    /// Removes what the launcher keeps of its downloads; others may have put something beside it.
    pub fn take_downloads(&mut self, cache: &Path) -> Result<()> {
        for name in Paths::CACHED {
            self.take(&cache.join(name), "downloads")?;
        }
        self.take_empty(cache);
        Ok(())
    }

    /// Removes a directory if nothing is left in it.
    pub fn take_empty(&mut self, dir: &Path) {
        if !self.dry_run && fs::remove_dir(dir).is_ok() {
            out!("removed {}", dir.display());
        }
    }

    /// All of it together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a file or a tree takes on disk; what cannot be read counts nothing.
pub fn size(path: &Path) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return 0;
    };
    let below = match fs::read_dir(path) {
        Ok(entries) if meta.is_dir() => entries.flatten().map(|entry| size(&entry.path())).sum(),
        _ => 0,
    };
    meta.blocks() * 512 + below
}

/// Removes a tree, also where an unpacked image made directories unwritable. A missing one is fine.
pub fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    make_writable(dir)?;
    fs::remove_dir_all(dir)
}

fn make_writable(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path())?;
        }
    }
    Ok(())
}
