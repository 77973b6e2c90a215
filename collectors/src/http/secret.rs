//! Secrets from files. Each is read anew for every request, so that one that is rotated is taken up; none is
//! ever part of an error, a log line or a label.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context as _, bail};

/// Longest secret.
const MAX_BYTES: u64 = 64 * 1024;

/// The text of `path`, without the line's end.
///
/// # Errors
/// Names the file, and says what to do if others than its owner may read it, or if it is not the user's own.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let metadata = file
        .metadata()
        .with_context(|| format!("cannot look at {shown}"))?;
    let own = nix::unistd::geteuid().as_raw();
    if !metadata.is_file() {
        bail!("{shown} is no file");
    }
    if metadata.uid() != own && metadata.uid() != 0 {
        bail!("{shown} belongs to another user: a secret is only read from a file of one's own");
    }
    if metadata.mode() & 0o077 != 0 {
        bail!("{shown} holds a secret and may be read by others: chmod 600 {shown}");
    }
    let mut text = String::new();
    file.by_ref()
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {shown}"))?;
    if text.len() as u64 > MAX_BYTES {
        bail!(
            "{shown} has more than {} KiB, which no secret has",
            MAX_BYTES / 1024
        );
    }
    text.truncate(text.trim_ascii_end().len());
    if text.is_empty() {
        bail!("{shown} is empty");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn the_lines_end_is_no_part_of_a_secret() {
        let (_dir, path) = secret("hunter2 \r\n", 0o600);
        assert_eq!(read(&path).unwrap(), "hunter2");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused_and_not_quoted() {
        for mode in [0o640, 0o604, 0o660] {
            let (_dir, path) = secret("hunter2", mode);
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains("chmod 600"), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_empty_a_long_and_a_missing_file_are_errors() {
        assert!(read(&secret("\n", 0o600).1).is_err());
        let (_dir, long) = secret(&"x".repeat(70_000), 0o600);
        assert!(read(&long).unwrap_err().to_string().contains("KiB"));
        assert!(read(Path::new("/nonexistent")).is_err());
    }
}
