//! The image Netdata runs from: where it comes from, and how it becomes `netdata.sif`. A pull works
//! in a directory of its own and renames at the end, so the image is the old one or the new one.

mod debian;
mod digest;
mod record;
mod registry;
mod sif;
mod workspace;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};

use crate::ask::ask;
use crate::child::{self, Outcome};
use crate::paths::Paths;
use crate::progress::Progress;
use crate::runtime::{Container, Runtime};
use crate::settings::DEFAULT_IMAGE;
pub use record::ImageRecord;
pub use sif::check as check_sif;
use workspace::Workspace;

/// What the runtime keeps of its downloads, within [`Paths::cache`].
const RUNTIME_CACHE: &str = "runtime";
/// A container starts in 0.3 s; one that has to be unpacked first in 15.
const VERSION: Duration = Duration::from_secs(30);

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

/// Gives the image that runs here a name of this machine's, so that it is there until the end of what runs, whatever
/// another machine puts in its place. Where files cannot have two names, there is nothing to be done about it.
pub fn hold(paths: &Paths) {
    let Some(held) = paths.held_image() else {
        return;
    };
    let _ = fs::remove_file(&held);
    if let Err(error) = fs::hard_link(paths.image(), &held) {
        tell!(
            "warning: no second name for the image ({error}): do not update it from another machine while it runs here"
        );
    }
}

/// Takes that name away.
pub fn release(paths: &Paths) {
    if let Some(held) = paths.held_image() {
        let _ = fs::remove_file(held);
    }
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
    fetch(runtime, paths, asked)?.install(paths)
}

/// An image that is whole, beside the one in use.
#[derive(Debug)]
pub struct Fetched {
    workspace: Workspace,
    /// What is known of it.
    pub record: ImageRecord,
}

impl Fetched {
    /// Where it is until it is installed.
    pub fn path(&self) -> PathBuf {
        self.workspace.image()
    }

    /// Puts it in the place of the one in use.
    pub fn install(self, paths: &Paths) -> Result<ImageRecord> {
        fs::rename(self.path(), paths.image())
            .with_context(|| format!("replacing {}", paths.image().display()))?;
        self.record.store(paths)?;
        Ok(self.record.clone())
    }
}

/// The same, leaving the one in use where it is.
pub fn fetch(runtime: &Runtime, paths: &Paths, asked: Option<&str>) -> Result<Fetched> {
    let earlier = ImageRecord::load(paths).map(|record| record.source);
    let source = Source::parse(asked.or(earlier.as_deref()).unwrap_or(DEFAULT_IMAGE))?;
    let mut workspace = Workspace::create(paths, &source)?;
    let progress = Progress::start(&format!("getting {source}"));
    let mut packaged = None;
    match &source {
        Source::Registry(name) => registry::pull(runtime, name, &mut workspace, &progress)?,
        Source::Archive(from) => build(runtime, from.as_ref(), &mut workspace, &progress)?,
        Source::Definition(file) => build(runtime, file.as_os_str(), &mut workspace, &progress)?,
        Source::Debian => packaged = Some(debian::pull(runtime, &mut workspace, &progress)?),
        Source::Sif(path) => {
            let copied = fs::copy(path, workspace.image());
            copied.with_context(|| format!("copying {}", path.display()))?;
        }
    }
    let new = workspace.image();
    check_sif(&new)?;
    progress.step("looking what it holds");
    let bytes = fs::metadata(&new)
        .with_context(|| format!("reading {}", new.display()))?
        .len();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let sha256 = digest::of_file(&new)?;
    let digest = match source {
        Source::Registry(_) => {
            digest::in_cache(&Paths::cache()?.join(RUNTIME_CACHE), &new, &sha256)
        }
        _ => None,
    };
    let record = ImageRecord {
        source: source.to_string(),
        pulled_at: now,
        bytes,
        version: packaged.or_else(|| version(runtime, paths, &new)),
        digest,
        sha256: Some(sha256),
    };
    Ok(Fetched { workspace, record })
}

/// What the Netdata inside says of itself. Whether it runs is found out by starting it.
fn version(runtime: &Runtime, paths: &Paths, image: &Path) -> Option<String> {
    let container = Container {
        image: image.to_owned(),
        lib: paths.state_dir("empty"),
        ..Container::default()
    };
    let answer = ask(runtime.exec(&container, &["netdata", "-V"]), VERSION)?;
    // The runtime has warnings of its own.
    let version = answer
        .text
        .lines()
        .find_map(|line| line.trim().strip_prefix("netdata "))?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    (answer.ok && version.len() < 40 && version.chars().all(plain)).then(|| version.to_owned())
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
    let _measuring = progress.measure(vec![workspace.dir().to_owned(), Paths::cache()?]);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sif(path: &Path) {
        let mut content = vec![0; 128];
        content[32..41].copy_from_slice(b"SIF_MAGIC");
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
