//! What an update can go back to: the image, and Netdata's databases and identity as they were before a newer
//! Netdata touched them, which an older one could not read any more. Kept from before the update until the new
//! image has come up once, whatever happens in between.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::sys::statvfs::statvfs;

use crate::files;
use crate::paths::Paths;
use crate::removal::{remove_tree, size};

/// History, and with `lib` the node's identity and its claim.
const DATA: [&str; 2] = ["lib", "cache"];
/// Says that everything is there; its content is nothing.
const COMPLETE: &str = "complete";
/// Room that a copy leaves.
const MARGIN_BYTES: u64 = 64 << 20;

fn dir(paths: &Paths) -> PathBuf {
    paths.state_dir("before-update")
}

/// The image and its record, and the names they are kept under.
pub fn images(paths: &Paths) -> [(PathBuf, PathBuf); 2] {
    [paths.image(), paths.image_record()].map(|path| {
        let kept = path.with_extension(match path.extension() {
            Some(extension) => format!("{}.before", extension.to_string_lossy()),
            None => "before".to_owned(),
        });
        (path, kept)
    })
}

/// Whether there is something to go back to: an update whose image has not come up yet.
pub fn is_kept(paths: &Paths) -> bool {
    dir(paths).join(COMPLETE).exists()
}

/// Fails if the copy would not fit. Asked before anything is stopped.
pub fn check_room(paths: &Paths) -> Result<()> {
    if is_kept(paths) {
        return Ok(());
    }
    let needed: u64 = DATA.iter().map(|name| size(&paths.state_dir(name))).sum();
    let place = paths.state_dir("cache");
    let stat =
        statvfs(&place).with_context(|| format!("asking for the room in {}", place.display()))?;
    let free = stat.blocks_available() * stat.fragment_size();
    if free < needed + MARGIN_BYTES {
        bail!(
            "{} has {} MiB free, a copy of the history for the way back needs {}: make room, or update without one: \
             launcher pull, launcher restart",
            place.display(),
            free >> 20,
            (needed + MARGIN_BYTES) >> 20
        );
    }
    Ok(())
}

/// Keeps everything. Netdata must not run. What is kept already stays: it is from before an update that was
/// never proven.
pub fn keep(paths: &Paths) -> Result<()> {
    if is_kept(paths) {
        return Ok(());
    }
    forget(paths)?;
    for (path, kept) in images(paths) {
        if path.exists() {
            fs::hard_link(&path, &kept)
                .or_else(|_| fs::copy(&path, &kept).map(drop))
                .with_context(|| format!("keeping {}", path.display()))?;
        }
    }
    for name in DATA {
        let from = paths.state_dir(name);
        copy_tree(&from, &dir(paths).join(name))
            .with_context(|| format!("keeping a copy of {}", from.display()))?;
    }
    files::write_private(&dir(paths).join(COMPLETE), b"")
}

/// Puts everything back. May be interrupted and said again.
pub fn restore(paths: &Paths) -> Result<()> {
    for name in DATA {
        let (present, kept) = (paths.state_dir(name), dir(paths).join(name));
        if !kept.exists() {
            continue;
        }
        let failed = dir(paths).join(format!("failed-{name}"));
        remove_tree(&failed).with_context(|| format!("removing {}", failed.display()))?;
        let putting = || format!("putting {} back", present.display());
        if present.exists() {
            fs::rename(&present, &failed).with_context(putting)?;
        }
        fs::rename(&kept, &present).with_context(putting)?;
    }
    for (path, kept) in images(paths) {
        if kept.exists() {
            fs::rename(&kept, &path).with_context(|| format!("putting {} back", path.display()))?;
        }
    }
    forget(paths)
}

/// Removes what is kept.
pub fn forget(paths: &Paths) -> Result<()> {
    let dir = dir(paths);
    // First, so that a rest is never taken for the whole.
    let _ = fs::remove_file(dir.join(COMPLETE));
    remove_tree(&dir).with_context(|| format!("removing {}", dir.display()))?;
    for (_, kept) in images(paths) {
        match fs::remove_file(&kept) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", kept.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Copies files, directories and links, with their modes; sockets and the like are made anew by their programs.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "lib/registry/netdata.public.unique.id";
    const HISTORY: &str = "cache/dbengine/datafile-1-0000000001.ndf";

    fn home() -> (tempfile::TempDir, Paths) {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(dir.path()).unwrap();
        paths.create().unwrap();
        write(&paths, "old");
        (dir, paths)
    }

    fn write(paths: &Paths, text: &str) {
        for name in [IDENTITY, HISTORY] {
            let path = paths.state().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for path in [paths.image(), paths.image_record()] {
            // As an installation does it: another file under the same name.
            let _ = fs::remove_file(&path);
            fs::write(path, text).unwrap();
        }
    }

    fn read(paths: &Paths) -> Vec<String> {
        let state = [IDENTITY, HISTORY].map(|name| paths.state().join(name));
        let all = state
            .into_iter()
            .chain([paths.image(), paths.image_record()]);
        all.map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn image_history_and_identity_come_back_as_they_were() {
        let (_dir, paths) = home();
        keep(&paths).unwrap();
        write(&paths, "new");
        fs::write(paths.state_dir("cache").join("new.db"), "").unwrap();
        restore(&paths).unwrap();
        assert_eq!(read(&paths), ["old"; 4]);
        assert!(!paths.state_dir("cache").join("new.db").exists());
        assert!(!is_kept(&paths) && !dir(&paths).exists());
    }

    #[test]
    fn a_copy_that_was_not_finished_is_none() {
        let (_dir, paths) = home();
        keep(&paths).unwrap();
        fs::remove_file(dir(&paths).join(COMPLETE)).unwrap();
        assert!(!is_kept(&paths));
        write(&paths, "newer");
        keep(&paths).unwrap();
        write(&paths, "newest");
        restore(&paths).unwrap();
        assert_eq!(read(&paths), ["newer"; 4]);
    }

    #[test]
    fn a_second_update_keeps_what_ran_last_and_a_way_back_may_be_interrupted() {
        let (_dir, paths) = home();
        keep(&paths).unwrap();
        write(&paths, "unproven");
        keep(&paths).unwrap();
        write(&paths, "unproven too");
        // Interrupted after the first directory.
        fs::rename(paths.state_dir("lib"), dir(&paths).join("failed-lib")).unwrap();
        fs::rename(dir(&paths).join("lib"), paths.state_dir("lib")).unwrap();
        restore(&paths).unwrap();
        assert_eq!(read(&paths), ["old"; 4]);
    }
}
