//! Writes small files so that a reader sees the old one or the new one, never a part.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Replaces `path` by a file that only its owner can read.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content).with_context(|| format!("writing {}", path.display()))
}

fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // One that a crash left may have another mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

/// Writes into the file that is there: what is bound into a running container stays the same file.
pub fn rewrite_private(path: &Path, content: &[u8]) -> Result<()> {
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(content));
    written.with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name);
        fs::write(name("victim"), "mine").unwrap();
        for trap in ["report", "report.new"] {
            for hard in [false, true] {
                let _ = fs::remove_file(name(trap));
                if hard {
                    fs::hard_link(name("victim"), name(trap)).unwrap();
                } else {
                    std::os::unix::fs::symlink(name("victim"), name(trap)).unwrap();
                }
                write_private(&name("report"), b"new").unwrap();
                assert_eq!(fs::read_to_string(name("victim")).unwrap(), "mine");
                assert_eq!(fs::read_to_string(name("report")).unwrap(), "new");
                assert!(!fs::symlink_metadata(name("report")).unwrap().is_symlink());
            }
        }
    }

    #[test]
    fn a_replaced_file_becomes_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "old").unwrap();
        write_private(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
