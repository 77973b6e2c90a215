//! Writes small files so that a reader sees the old one or the new one, never a part.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Replaces `path` by a file that only its owner can read.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content).with_context(|| format!("writing {}", path.display()))
}

/// Two commands may write the same file at once: each writes one of its own, and the last to finish stays.
fn write(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    let mut new = tempfile::Builder::new().prefix(&name).tempfile_in(dir)?;
    new.write_all(content)?;
    new.as_file().sync_data()?;
    new.persist(path)?;
    Ok(())
}

/// Adds lines to a file that only its owner can read, created if need be, in one piece.
pub fn append_private(path: &Path, lines: &str) -> Result<()> {
    let written = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(lines.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
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
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_link_in_the_place_of_a_file_is_replaced_and_never_followed() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name);
        fs::write(name("victim"), "mine").unwrap();
        for hard in [false, true] {
            let _ = fs::remove_file(name("report"));
            if hard {
                fs::hard_link(name("victim"), name("report")).unwrap();
            } else {
                std::os::unix::fs::symlink(name("victim"), name("report")).unwrap();
            }
            write_private(&name("report"), b"new").unwrap();
            assert_eq!(fs::read_to_string(name("victim")).unwrap(), "mine");
            assert_eq!(fs::read_to_string(name("report")).unwrap(), "new");
            assert!(!fs::symlink_metadata(name("report")).unwrap().is_symlink());
        }
    }

    #[test]
    fn commands_that_write_a_file_at_once_all_succeed_and_leave_one_of_them_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared");
        let texts: Vec<String> = (0..8).map(|n| n.to_string().repeat(4096)).collect();
        std::thread::scope(|scope| {
            for text in &texts {
                scope.spawn(|| {
                    for _ in 0..20 {
                        write_private(&path, text.as_bytes()).unwrap();
                    }
                });
            }
        });
        assert!(texts.contains(&fs::read_to_string(&path).unwrap()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
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
