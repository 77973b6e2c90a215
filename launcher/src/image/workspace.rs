//! The directory a pull works in: inside the home, so that the last step is a rename, and gone
//! afterwards however the pull ended.

use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::sys::statvfs::statvfs;

use super::Source;
use crate::paths::Paths;
use crate::removal::remove_tree;

/// Room a pull takes at its peak, in MiB: the official image is 0.4 GiB packed and 1.1 GiB
/// unpacked; Debian's packages 0.3 GiB.
fn needed_mib(source: &Source) -> u64 {
    match source {
        Source::Debian => 1024,
        _ => 3 * 1024,
    }
}

/// The directory, while it is there.
#[derive(Debug)]
pub struct Workspace {
    dir: PathBuf,
    log: File,
    log_path: PathBuf,
}

impl Workspace {
    /// Removes what a killed pull left, checks for room, and begins anew.
    pub fn create(paths: &Paths, source: &Source) -> Result<Self> {
        let dir = paths.workspace();
        remove_tree(&dir).with_context(|| format!("removing {}", dir.display()))?;
        check_room(paths.home(), needed_mib(source))?;
        let log_path = paths.pull_log();
        let log =
            File::create(&log_path).with_context(|| format!("writing {}", log_path.display()))?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir.join("tmp"))
            .with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self { dir, log, log_path })
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The image being made.
    pub fn image(&self) -> PathBuf {
        self.dir.join("netdata.sif")
    }
    /// For the runtime's temporary files.
    pub fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }
    /// Another name in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    /// Where the tools' output goes.
    pub fn log(&mut self) -> &mut File {
        &mut self.log
    }
    /// Its name, for messages.
    pub fn log_path(&self) -> &Path {
        &self.log_path
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.dir) {
            tell!("warning: {} is left behind: {error}", self.dir.display());
        }
    }
}

fn check_room(dir: &Path, needed_mib: u64) -> Result<()> {
    let stat = statvfs(dir).with_context(|| format!("asking for the room in {}", dir.display()))?;
    let free_mib = stat.blocks_available() * stat.fragment_size() / (1024 * 1024);
    if free_mib < needed_mib {
        bail!(
            "{} has {free_mib} MiB free, a pull needs {needed_mib}: make room, or use another --home",
            dir.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_is_left_of_a_pull_even_of_read_only_directories() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        let workspace = Workspace::create(&paths, &Source::Debian).unwrap();
        let inner = workspace.path("rootfs/sealed");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), "").unwrap();
        fs::set_permissions(&inner, Permissions::from_mode(0o500)).unwrap();
        drop(workspace);
        assert!(!dir.path().join(".pull").exists());
    }

    #[test]
    fn what_a_killed_pull_left_is_gone_when_the_next_begins() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        fs::create_dir_all(dir.path().join(".pull/old")).unwrap();
        let workspace = Workspace::create(&paths, &Source::Debian).unwrap();
        assert!(!workspace.path("old").exists());
    }

    #[test]
    fn a_full_disk_is_noticed_before_anything_is_downloaded() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_room(dir.path(), u64::MAX).unwrap_err().to_string();
        assert!(error.contains("MiB free"), "{error}");
    }
}
