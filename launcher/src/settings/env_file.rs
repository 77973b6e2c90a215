//! Reads a `.env` file, which may hold secrets and lines for other programs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

/// No settings file is this long; something else was named by mistake.
const MAX_BYTES: u64 = 1 << 20;

/// What a file held.
#[derive(Debug, Default)]
pub struct EnvFile {
    /// Its variables.
    pub values: BTreeMap<String, String>,
    /// What the user should know, without any value.
    pub warnings: Vec<String>,
}

/// Reads `path`. A missing file is an empty one unless it was asked for by name.
///
/// # Errors
/// A file that belongs to somebody else, or that others can write to, is refused: whoever writes
/// it decides what runs.
pub fn read(path: &Path, named: bool) -> Result<EnvFile> {
    let shown = path.display();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
            return Ok(EnvFile::default());
        }
        Err(error) => return Err(error).with_context(|| format!("reading {shown}")),
    };
    let meta = file
        .metadata()
        .with_context(|| format!("reading {shown}"))?;
    if !meta.is_file() {
        bail!("{shown} is not a regular file");
    }
    if meta.uid() != Uid::effective().as_raw() {
        bail!("{shown} belongs to another user and is not read: make a copy of your own");
    }
    if meta.mode() & 0o022 != 0 {
        bail!("{shown} can be written by other users and is not read: chmod 600 {shown}");
    }
    let mut text = String::new();
    let read = file.by_ref().take(MAX_BYTES + 1).read_to_string(&mut text);
    read.with_context(|| format!("reading {shown}"))?;
    if text.len() as u64 > MAX_BYTES {
        bail!("{shown} is longer than 1 MiB: is it a settings file?");
    }
    let mut parsed = parse(&text, &shown.to_string());
    let secret = parsed
        .values
        .keys()
        .any(|key| key.starts_with("NETDATA_CLAIM_"));
    if secret && meta.mode() & 0o044 != 0 {
        parsed.warnings.push(format!(
            "{shown} holds a claim token and others can read it: chmod 600 {shown}"
        ));
    }
    Ok(parsed)
}

fn parse(text: &str, shown: &str) -> EnvFile {
    let mut parsed = EnvFile::default();
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok((key, value)) => {
                parsed.values.insert(key, value);
            }
            // The error holds the line, and the line perhaps a secret: only its number is told.
            Err(dotenvy::Error::LineParse(line, _)) => {
                let number = text.lines().position(|l| l.trim() == line.trim());
                let place = number.map_or(String::new(), |n| format!(", line {}", n + 1));
                parsed
                    .warnings
                    .push(format!("{shown}{place}: not NAME=VALUE, left out"));
            }
            Err(_) => {
                parsed
                    .warnings
                    .push(format!("{shown}: the rest cannot be read"));
                break;
            }
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn file(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_shared_file_is_read_with_its_quotes_and_comments() {
        let text = "# for the servers\nexport HF_TOKEN=abc\nLAUNCHER_PORT=\"20000\" # ours\n";
        let (_dir, path) = file(text, 0o600);
        let read = read(&path, false).unwrap();
        assert_eq!(read.values["LAUNCHER_PORT"], "20000");
        assert_eq!(read.values["HF_TOKEN"], "abc");
        assert!(read.warnings.is_empty());
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        for mode in [0o620, 0o602] {
            let (_dir, path) = file("LAUNCHER_PORT=1\n", mode);
            let error = read(&path, false).unwrap_err().to_string();
            assert!(error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_readable_token_is_warned_about_without_showing_it() {
        let (_dir, path) = file("NETDATA_CLAIM_TOKEN=s3cret\n", 0o644);
        let warnings = read(&path, false).unwrap().warnings.join("\n");
        assert!(
            warnings.contains("chmod 600") && !warnings.contains("s3cret"),
            "{warnings}"
        );
    }

    #[test]
    fn a_broken_line_is_numbered_but_not_shown_and_the_rest_is_read() {
        let (_dir, path) = file("A=1\nNETDATA_CLAIM_TOKEN s3cret\nB=2\n", 0o600);
        let read = read(&path, false).unwrap();
        assert_eq!(read.values.len(), 2);
        assert!(read.warnings[0].contains("line 2"), "{:?}", read.warnings);
        assert!(!read.warnings[0].contains("s3cret"));
    }

    #[test]
    fn only_a_file_asked_for_by_name_must_exist() {
        let missing = Path::new("/nonexistent/.env");
        assert!(read(missing, false).unwrap().values.is_empty());
        assert!(read(missing, true).is_err());
    }
}
