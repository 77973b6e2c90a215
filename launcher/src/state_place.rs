//! Where what Netdata writes lies: in the home, or on a disk of this machine where the home is on a file server, on
//! which databases are slow and may hang. Identity and history follow when the place changes.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::files;
use crate::mounts::{self, FileSystem};
use crate::paths::{Paths, of_user};
use crate::process::Proc;
use crate::removal::remove_tree;
use crate::snapshot::copy_tree;

/// Whether several machines use the home: `auto`, `yes` or `no`.
pub const SHARED: &str = "LAUNCHER_SHARED_HOME";
/// `home`, `auto` or a directory.
pub const VARIABLE: &str = "LAUNCHER_STATE_DIR";
/// On a disk that outlives a reboot, and everybody's to write to.
const LOCAL: &str = "/var/tmp";
/// What follows: history, and identity with the claim.
const FOLLOWS: [&str; 2] = ["lib", "cache"];
/// In `state/` of the home: the place that this machine uses.
const NOTE: &str = "place.";

/// Where the state is.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// None: in the home.
    pub state: Option<PathBuf>,
    /// Where it was before, if that was elsewhere.
    pub moved_from: Option<PathBuf>,
}

/// This machine's name in the home, where others may use it, too: on a file server, or where the user says so.
pub fn machine(
    proc: &Proc,
    paths: &Paths,
    host: &str,
    asked: Option<&str>,
) -> Result<Option<String>> {
    let shared = match asked {
        Some("no") => false,
        Some("yes") => true,
        None | Some("auto") => {
            let disk = mounts::file_system(proc, paths.home()).filter(FileSystem::is_remote);
            // Where everything is (a virtual machine's 9p), it is this machine's alone.
            let root = mounts::file_system(proc, Path::new("/"));
            disk.is_some_and(|disk| root.is_none_or(|root| root.point != disk.point))
        }
        Some(other) => bail!("{SHARED}={other}: give yes, no or auto"),
    };
    // What runs here from before stays where it is.
    let pid_file = fs::read_to_string(paths.pid_file()).unwrap_or_default();
    let runs_here = pid_file
        .lines()
        .any(|line| line.strip_prefix("host=") == Some(host));
    Ok((shared && !runs_here).then(|| plain(host)))
}

/// A machine's name as part of a file's.
fn plain(host: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    host.chars()
        .map(|c| if fits(c) { c } else { '_' })
        .collect()
}

/// The place for this home on this machine. `asked` is the variable's value.
pub fn find(proc: &Proc, paths: &Paths, host: &str, asked: Option<&str>) -> Result<Place> {
    find_below(proc, paths, host, asked, Path::new(LOCAL))
}

fn find_below(
    proc: &Proc,
    paths: &Paths,
    host: &str,
    asked: Option<&str>,
    local: &Path,
) -> Result<Place> {
    let noted = noted(paths, host);
    let wanted = match asked {
        Some("home") => paths.state_in_home(),
        None | Some("auto") => match &noted {
            // What was chosen once stays, also where a mount is missing today.
            Some(noted) => noted.clone(),
            None => automatic(proc, paths, local),
        },
        Some(dir) => {
            ensure!(
                dir.starts_with('/'),
                "{VARIABLE}={dir}: give a directory from / on, `home` or `auto`"
            );
            dir.into()
        }
    };
    // The first machine takes along what there was when the home was one machine's.
    let earlier = paths.shared_state();
    let in_home = || match FOLLOWS.iter().all(|name| is_empty(&earlier.join(name))) {
        true => paths.state_in_home(),
        false => earlier.clone(),
    };
    let present = noted.unwrap_or_else(in_home);
    // While something runs, or left its pid file, its state is where it was.
    let state = if present != wanted && paths.pid_file().exists() {
        present.clone()
    } else {
        wanted
    };
    Ok(Place {
        moved_from: (present != state).then_some(present),
        state: (state != paths.state_in_home()).then_some(state),
    })
}

fn automatic(proc: &Proc, paths: &Paths, local: &Path) -> PathBuf {
    let is_remote =
        |dir: &Path| mounts::file_system(proc, dir).is_some_and(|disk| disk.is_remote());
    if !is_remote(paths.home()) || is_remote(local) || !local.is_dir() {
        return paths.state_in_home();
    }
    let sum = Sha256::digest(paths.home().as_os_str().as_encoded_bytes());
    let sum: String = sum
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    local.join(of_user()).join(sum)
}

/// Whether `dir` is that directory.
pub fn is_ours(dir: &Path) -> bool {
    dir == Path::new(LOCAL).join(of_user())
}

/// Whether this is a file of ours that names a place.
pub fn is_note(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(NOTE.as_bytes())
}

fn note(paths: &Paths, host: &str) -> PathBuf {
    paths.shared_state().join(format!("{NOTE}{}", plain(host)))
}

/// Where other machines that use the home have their state: their names, and the directories there.
pub fn others(paths: &Paths, host: &str) -> Vec<(String, String)> {
    let own = note(paths, host);
    let entries = fs::read_dir(paths.shared_state())
        .into_iter()
        .flatten()
        .flatten();
    let notes = entries.filter(|entry| is_note(&entry.file_name()) && entry.path() != own);
    let mut others: Vec<_> = notes
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let place = fs::read_to_string(entry.path()).ok()?;
            Some((name[NOTE.len()..].to_owned(), place.trim().to_owned()))
        })
        .collect();
    others.sort();
    others
}

fn noted(paths: &Paths, host: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(note(paths, host)).ok()?;
    let path = PathBuf::from(text.trim_end_matches('\n'));
    path.is_absolute().then_some(path)
}

/// Brings identity and history along from where they were, and notes the place. The caller holds the home.
pub fn settle(paths: &Paths, host: &str, moved_from: Option<&Path>) -> Result<()> {
    if let Some(from) = moved_from {
        for name in FOLLOWS {
            follow(&from.join(name), &paths.state_dir(name))?;
        }
        files::write_private(
            &note(paths, host),
            format!("{}\n", paths.state().display()).as_bytes(),
        )?;
    }
    Ok(())
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut all| all.next().is_none())
}

/// Moves a directory's content to where there is none yet. The copy is whole before the original goes.
fn follow(from: &Path, to: &Path) -> Result<()> {
    if is_empty(from) {
        return Ok(());
    }
    if !is_empty(to) {
        tell!(
            "warning: {} and {} both hold something: what is in the first is left alone",
            from.display(),
            to.display()
        );
        return Ok(());
    }
    let moving = || format!("moving {} to {}", from.display(), to.display());
    let unfinished = to.with_extension("moving");
    remove_tree(&unfinished).with_context(moving)?;
    copy_tree(from, &unfinished).with_context(moving)?;
    remove_tree(to).with_context(moving)?;
    fs::rename(&unfinished, to).with_context(moving)?;
    remove_tree(from).with_context(moving)?;
    tell!("moved {} to {}", from.display(), to.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "gpu-1";
    const IDENTITY: &str = "registry/netdata.public.unique.id";

    /// A home on a file system of this kind, beside a local disk, and /proc that says so.
    struct Lab {
        _dir: tempfile::TempDir,
        proc: Proc,
        paths: Paths,
        local: PathBuf,
    }

    fn lab(kind: &str, local_kind: &str) -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["proc/self", "home", "local"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        let line = |name: &str, kind: &str| {
            let point = root.join(name);
            format!(
                "36 35 98:0 / {} rw,relatime - {kind} source rw\n",
                point.display()
            )
        };
        let table = line("home", kind) + &line("local", local_kind);
        fs::write(root.join("proc/self/mountinfo"), table).unwrap();
        Lab {
            proc: Proc::at(root.join("proc")),
            paths: Paths::new(&root.join("home/ann")).unwrap(),
            local: root.join("local"),
            _dir: dir,
        }
    }

    impl Lab {
        fn find(&self, asked: Option<&str>) -> Place {
            find_below(&self.proc, &self.paths, HOST, asked, &self.local).unwrap()
        }

        /// As a command that changes something does it.
        fn take(&self, asked: Option<&str>) -> Paths {
            let place = self.find(asked);
            let paths = self.paths.clone().with_state(place.state);
            paths.create().unwrap();
            settle(&paths, HOST, place.moved_from.as_deref()).unwrap();
            paths
        }
    }

    #[test]
    fn a_home_on_a_file_server_has_its_state_on_a_disk_of_the_machine() {
        for kind in ["nfs", "nfs4", "lustre", "gpfs", "beegfs"] {
            let place = lab(kind, "xfs").find(None);
            let state = place.state.unwrap();
            assert!(
                state.to_str().unwrap().contains("/local/netdata-launcher-"),
                "{kind}"
            );
        }
        for kind in ["ext4", "xfs", "btrfs", "zfs"] {
            assert_eq!(lab(kind, "xfs").find(None).state, None, "{kind}");
        }
        // Nowhere to go, or not wanted.
        assert_eq!(lab("nfs4", "nfs4").find(None).state, None);
        assert_eq!(lab("nfs4", "xfs").find(Some("home")).state, None);
    }

    #[test]
    fn identity_and_history_follow_to_the_disk_and_back() {
        let lab = lab("ext4", "xfs");
        let paths = lab.take(None);
        for name in FOLLOWS {
            let file = paths.state_dir(name).join(IDENTITY);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, name).unwrap();
        }
        let disk = lab.local.join("mine");
        let there = lab.take(disk.to_str());
        assert_eq!(there.state(), disk);
        // It stays there without being asked again, but the user's own configuration never moves.
        let later = lab.take(None);
        assert_eq!(later.state(), disk);
        assert_eq!(
            later.state_dir("config"),
            lab.paths.state_in_home().join("config")
        );
        let all_in = |paths: &Paths| {
            FOLLOWS
                .iter()
                .all(|name| paths.state_dir(name).join(IDENTITY).exists())
        };
        assert!(all_in(&there) && !all_in(&lab.paths));
        let back = lab.take(Some("home"));
        assert!(all_in(&back) && !all_in(&there));
        assert_eq!(back.state(), lab.paths.state_in_home());
    }

    #[test]
    fn a_home_on_a_file_server_is_taken_to_be_several_machines() {
        let ask = |kind: &str, asked| {
            let lab = lab(kind, "xfs");
            machine(&lab.proc, &lab.paths, "gpu 1.example", asked).unwrap()
        };
        let name = Some("gpu_1.example".to_owned());
        assert_eq!(ask("nfs4", None), name);
        assert_eq!(ask("xfs", None), None);
        assert_eq!(ask("xfs", Some("yes")), name);
        assert_eq!(ask("nfs4", Some("no")), None);
        let lab = lab("nfs4", "xfs");
        assert!(machine(&lab.proc, &lab.paths, HOST, Some("maybe")).is_err());
        // What runs since before is still found.
        fs::create_dir_all(lab.paths.home()).unwrap();
        fs::write(lab.paths.pid_file(), format!("1\nhost={HOST}\n")).unwrap();
        assert_eq!(machine(&lab.proc, &lab.paths, HOST, None).unwrap(), None);
        assert!(
            machine(&lab.proc, &lab.paths, "gpu-2", None)
                .unwrap()
                .is_some()
        );
    }

    #[test]
    fn the_first_of_several_machines_takes_along_what_there_was() {
        let lab = lab("ext4", "xfs");
        let file = lab.take(None).state_dir("lib").join(IDENTITY);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "mine").unwrap();
        for (host, taken) in [(HOST, true), ("gpu-2", false)] {
            let paths = lab.paths.clone().with_machine(Some(host.to_owned()));
            let place = find_below(&lab.proc, &paths, host, None, &lab.local).unwrap();
            let paths = paths.with_state(place.state);
            paths.create().unwrap();
            settle(&paths, host, place.moved_from.as_deref()).unwrap();
            assert_eq!(
                paths.state_dir("lib").join(IDENTITY).exists(),
                taken,
                "{host}"
            );
            assert!(paths.state().ends_with(format!("on-{host}")));
        }
        assert!(!file.exists());
    }

    #[test]
    fn the_state_of_what_runs_stays_where_it_is() {
        let lab = lab("ext4", "xfs");
        let paths = lab.take(None);
        fs::write(paths.pid_file(), "1\n").unwrap();
        assert_eq!(lab.find(lab.local.to_str()).state, None);
    }
}
