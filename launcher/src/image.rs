//! The image Netdata runs from: where it comes from, and how it becomes `netdata.sif`. A pull works
//! in a directory of its own and renames at the end, so the image is the old one or the new one.

mod debian;
mod registry;
mod workspace;

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::child::{self, Outcome};
use crate::files;
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::Runtime;
use crate::settings::DEFAULT_IMAGE;
use workspace::Workspace;

/// What the runtime keeps of its downloads, within [`Paths::cache`].
const RUNTIME_CACHE: &str = "runtime";

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `docker://`, `oras://` or `library://`.
    Registry(String),
    /// `docker-archive:`, `oci:` or `oci-archive:`.
    Archive(String),
    /// A definition file.
    Definition(PathBuf),
    /// A finished image, used where it is.
    Sif(PathBuf),
    /// The distribution's own Netdata packages.
    Debian,
}

impl Source {
    /// Reads what the user wrote; files must exist.
    pub fn parse(text: &str) -> Result<Self> {
        let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
        if text == "debian" {
            return Ok(Self::Debian);
        }
        if has(&["docker://", "oras://", "library://"]) {
            return Ok(Self::Registry(text.to_owned()));
        }
        if has(&["docker-archive:", "oci:", "oci-archive:"]) {
            return Ok(Self::Archive(text.to_owned()));
        }
        let path = std::path::absolute(text).with_context(|| format!("the image {text}"))?;
        let Ok(meta) = fs::metadata(&path) else {
            bail!(
                "the image {text}: no such file\n\
                 give docker://NAME, a SIF file, docker-archive:FILE, oci:DIR, FILE.def or debian"
            );
        };
        if meta.is_file() && path.extension().is_some_and(|extension| extension == "def") {
            return Ok(Self::Definition(path));
        }
        check_sif(&path)?;
        Ok(Self::Sif(path))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(text) | Self::Archive(text) => f.write_str(text),
            Self::Definition(path) | Self::Sif(path) => path.display().fmt(f),
            Self::Debian => f.write_str("debian"),
        }
    }
}

/// What is known of `netdata.sif`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageRecord {
    /// As the user wrote it.
    pub source: String,
    /// Seconds since 1970.
    pub pulled_at: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Version of the Netdata inside, where the source tells.
    pub version: Option<String>,
}

impl ImageRecord {
    /// None where there is no record, or one that cannot be read.
    pub fn load(paths: &Paths) -> Option<Self> {
        serde_json::from_slice(&fs::read(paths.image_record()).ok()?).ok()
    }
}

/// The image to start from, pulled if need be.
///
/// A finished image that was asked for is used where it is. Otherwise `netdata.sif`, unless it is
/// missing or something else was asked for than what it was made from.
pub fn ensure(runtime: &Runtime, paths: &Paths, asked: Option<&str>) -> Result<PathBuf> {
    let source = asked.map(Source::parse).transpose()?;
    if let Some(Source::Sif(path)) = source {
        return Ok(path);
    }
    if paths.image().exists() {
        let made_from = ImageRecord::load(paths).map(|record| record.source);
        let fits = match (&source, made_from) {
            (Some(source), Some(made_from)) => source.to_string() == made_from,
            _ => true,
        };
        if fits {
            check_sif(&paths.image())?;
            return Ok(paths.image());
        }
    }
    pull(runtime, paths, asked)?;
    Ok(paths.image())
}

/// The finished image that was asked for, if it is one.
pub fn finished(asked: &str) -> Option<PathBuf> {
    match Source::parse(asked) {
        Ok(Source::Sif(path)) => Some(path),
        _ => None,
    }
}

/// Gets the image: the one asked for, or else a newer one of the same source.
pub fn pull(runtime: &Runtime, paths: &Paths, asked: Option<&str>) -> Result<ImageRecord> {
    let earlier = ImageRecord::load(paths).map(|record| record.source);
    let source = Source::parse(asked.or(earlier.as_deref()).unwrap_or(DEFAULT_IMAGE))?;
    let mut workspace = Workspace::create(paths, &source)?;
    let progress = Progress::start(&format!("getting {source}"));
    let version = match &source {
        Source::Registry(name) => registry::pull(runtime, name, &mut workspace, &progress)?,
        Source::Archive(from) => {
            build(runtime, from.as_ref(), &mut workspace, &progress)?;
            None
        }
        Source::Definition(file) => {
            build(runtime, file.as_os_str(), &mut workspace, &progress)?;
            None
        }
        Source::Debian => Some(debian::pull(runtime, &mut workspace, &progress)?),
        Source::Sif(path) => {
            let copied = fs::copy(path, workspace.image());
            copied.with_context(|| format!("copying {}", path.display()))?;
            None
        }
    };
    let new = workspace.image();
    check_sif(&new)?;
    let bytes = fs::metadata(&new)
        .with_context(|| format!("reading {}", new.display()))?
        .len();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let record = ImageRecord {
        source: source.to_string(),
        pulled_at: now,
        bytes,
        version,
    };
    fs::rename(&new, paths.image())
        .with_context(|| format!("replacing {}", paths.image().display()))?;
    let json = serde_json::to_vec_pretty(&record).context("writing the image's record")?;
    files::write_private(&paths.image_record(), &json)?;
    Ok(record)
}

/// `apptainer build`, with its error in one message.
fn build(
    runtime: &Runtime,
    from: &std::ffi::OsStr,
    workspace: &mut Workspace,
    progress: &Progress,
) -> Result<()> {
    let command = runtime.build(
        from,
        &workspace.image(),
        &workspace.tmp(),
        &Paths::cache()?.join(RUNTIME_CACHE),
    );
    match child::run(command, workspace.log(), progress, None)? {
        Outcome::Ended { status, .. } if status.success() => Ok(()),
        Outcome::Ended { tail, .. } => bail!(
            "{} build {} failed: {}\nall of its output is in {}",
            runtime.name(),
            from.to_string_lossy(),
            fatal(&tail),
            workspace.log_path().display()
        ),
        Outcome::Silent => bail!("{} build printed nothing", runtime.name()),
    }
}

/// The runtime's one `FATAL:` line, or else the last thing it said.
fn fatal(tail: &[String]) -> String {
    let line = tail
        .iter()
        .rev()
        .find(|line| line.starts_with("FATAL:"))
        .or(tail.last());
    line.map_or("it said nothing", |line| {
        line.trim_start_matches("FATAL:").trim()
    })
    .to_owned()
}

/// Tells a SIF file from everything else by its header.
pub fn check_sif(path: &Path) -> Result<()> {
    /// After 32 bytes of launch script.
    const MAGIC: &[u8] = b"SIF_MAGIC";
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(32))?;
        file.read_exact(&mut magic)
    });
    if read.is_err() || magic != MAGIC {
        bail!("{} is not a SIF image (or cannot be read)", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sif(path: &Path) {
        let mut content = vec![b'#'; 32];
        content.extend_from_slice(b"SIF_MAGIC\0");
        fs::write(path, content).unwrap();
    }

    #[test]
    fn every_kind_of_source_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.sif");
        sif(&file);
        let definition = dir.path().join("a.def");
        fs::write(&definition, "Bootstrap: docker\n").unwrap();
        assert_eq!(Source::parse("debian").unwrap(), Source::Debian);
        assert!(matches!(
            Source::parse("docker://a/b:c").unwrap(),
            Source::Registry(_)
        ));
        assert!(matches!(
            Source::parse("oci:/x").unwrap(),
            Source::Archive(_)
        ));
        let parse = |path: &Path| Source::parse(path.to_str().unwrap()).unwrap();
        assert_eq!(parse(&file), Source::Sif(file.clone()));
        assert_eq!(parse(&definition), Source::Definition(definition.clone()));
    }

    #[test]
    fn a_file_that_is_no_image_and_a_missing_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.sif");
        fs::write(&file, "short").unwrap();
        let error = Source::parse(file.to_str().unwrap())
            .unwrap_err()
            .to_string();
        assert!(error.contains("is not a SIF image"), "{error}");
        let error = Source::parse("netdata/netdata").unwrap_err().to_string();
        assert!(error.contains("docker://NAME"), "{error}");
    }

    #[test]
    fn the_fatal_line_is_the_reason() {
        let tail = ["INFO: a", "FATAL:   no such host", "INFO: b"].map(str::to_owned);
        assert_eq!(fatal(&tail), "no such host");
        assert_eq!(fatal(&tail[..1]), "INFO: a");
        assert_eq!(fatal(&[]), "it said nothing");
    }
}
