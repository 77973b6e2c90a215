//! Where the launcher keeps what it owns. Everything lies below one home, so that removing the home
//! removes the launcher; only the download cache is apart, because it may be deleted at any time.

use std::env;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::unistd::Uid;

use crate::files;

/// Directories below `state/`. `lib` becomes the container's home directory, `tmp` its /tmp
/// and `shm` its /dev/shm; `empty` hides what the container must not see; `generated` holds files the launcher writes.
const STATE_DIRS: [&str; 9] = [
    "cache",
    "lib",
    "log",
    "run",
    "tmp",
    "shm",
    "config",
    "empty",
    "generated",
];

/// Begins the name of a machine's part of `state/`.
pub const MACHINE: &str = "on-";

/// The launcher's home and the names in it.
#[derive(Clone, Debug)]
pub struct Paths {
    home: PathBuf,
    /// Where what Netdata writes lies, if not in the home.
    elsewhere: Option<PathBuf>,
    /// This machine's name, where several machines use the home.
    machine: Option<String>,
}

/// Directories of `state/` that are the same for every machine that uses the home.
const SHARED: [&str; 2] = ["config", "empty"];
/// One that stays in the home wherever the rest is.
const IN_HOME: &str = "generated";

impl Paths {
    /// Takes `home` as given; a relative path is made absolute so that it means the same later.
    pub fn new(home: &Path) -> Result<Self> {
        let home = std::path::absolute(home)
            .with_context(|| format!("resolving the home {}", home.display()))?;
        Ok(Self {
            home,
            elsewhere: None,
            machine: None,
        })
    }

    /// The same home, with what Netdata writes in another directory. None: in the home.
    #[must_use]
    pub fn with_state(self, elsewhere: Option<PathBuf>) -> Self {
        Self { elsewhere, ..self }
    }

    /// The same home, used by several machines of which this is one: what runs here is kept apart by its name.
    #[must_use]
    pub fn with_machine(self, machine: Option<String>) -> Self {
        Self { machine, ..self }
    }

    /// `STEM.EXTENSION`, with the machine's name in it where there are several.
    fn named(&self, stem: &str, extension: &str) -> PathBuf {
        let name = match &self.machine {
            None => format!("{stem}.{extension}"),
            Some(machine) => format!("{stem}-{machine}.{extension}"),
        };
        self.home.join(name)
    }

    /// `$XDG_DATA_HOME/netdata-launcher`, else the same below `~/.local/share`.
    pub fn default_home() -> Result<PathBuf> {
        xdg("XDG_DATA_HOME", ".local/share")
    }

    /// Creates what is missing, each directory 0700, and refuses a home of somebody else.
    pub fn create(&self) -> Result<()> {
        let missing: Vec<&Path> = self
            .home
            .ancestors()
            .take_while(|dir| !dir.exists())
            .collect();
        make_private(&self.home)?;
        make_private(&self.home.join("logs"))?;
        make_private(&self.shared_state())?;
        make_private(&self.state_in_home())?;
        make_private(&self.shared_state().join(IN_HOME))?;
        if let Some(elsewhere) = &self.elsewhere {
            make_outside(elsewhere)?;
        }
        make_private(&self.state())?;
        for name in STATE_DIRS {
            make_private(&self.state_dir(name))?;
        }
        if !missing.is_empty() {
            // Another command may be doing the same: what either of them saw missing is of this launcher.
            let lines: String = missing
                .iter()
                .map(|dir| format!("{}\n", dir.display()))
                .collect();
            files::append_private(&self.made_for_home(), &lines)?;
        }
        Ok(())
    }

    /// The home itself.
    pub fn home(&self) -> &Path {
        &self.home
    }
    /// The image that `pull` writes.
    pub fn image(&self) -> PathBuf {
        self.home.join("netdata.sif")
    }
    /// Where that image came from, as JSON.
    pub fn image_record(&self) -> PathBuf {
        self.home.join("netdata.sif.json")
    }
    /// Another name for the image that runs here, so that a machine that replaces it does not take it away. None where
    /// no other machine can.
    pub fn held_image(&self) -> Option<PathBuf> {
        let _ = self.machine.as_ref()?;
        Some(self.named("netdata", "sif"))
    }
    /// The running instance.
    pub fn pid_file(&self) -> PathBuf {
        self.named("netdata", "pid")
    }
    /// Held while a command changes anything.
    pub fn lock_file(&self) -> PathBuf {
        self.home.join("lock")
    }
    /// Settings, unless `--env-file` names another file.
    pub fn env_file(&self) -> PathBuf {
        self.home.join(".env")
    }
    /// Everything Netdata and its plugins print.
    pub fn log_file(&self) -> PathBuf {
        self.named("logs/netdata", "log")
    }
    /// What the tools behind the last `pull` printed.
    pub fn pull_log(&self) -> PathBuf {
        self.home.join("logs/pull.log")
    }
    /// Where a pull works.
    pub fn workspace(&self) -> PathBuf {
        self.home.join(".pull")
    }
    /// Directories made to hold the home, one a line: for `uninstall`.
    pub fn made_for_home(&self) -> PathBuf {
        self.shared_state().join(IN_HOME).join("made-for-home")
    }
    /// The writable directories.
    pub fn state(&self) -> PathBuf {
        let in_home = || self.state_in_home();
        self.elsewhere.clone().unwrap_or_else(in_home)
    }
    /// `state/` of the home, where the user's own configuration is in any case.
    pub fn shared_state(&self) -> PathBuf {
        self.home.join("state")
    }
    /// The same or, where several machines use the home, this one's part of it.
    pub fn state_in_home(&self) -> PathBuf {
        match &self.machine {
            None => self.shared_state(),
            Some(machine) => self.shared_state().join(format!("{MACHINE}{machine}")),
        }
    }
    /// One of the directories of `state/`.
    pub fn state_dir(&self, name: &str) -> PathBuf {
        let state = match name {
            _ if SHARED.contains(&name) => self.shared_state(),
            IN_HOME => self.state_in_home(),
            _ => self.state(),
        };
        state.join(name)
    }
    /// A file the launcher writes anew at each start.
    pub fn generated(&self, name: &str) -> PathBuf {
        self.state_dir("generated").join(name)
    }

    /// Downloads worth keeping: `$XDG_CACHE_HOME/netdata-launcher`, created when asked for.
    pub fn cache() -> Result<PathBuf> {
        let cache = Self::cache_dir()?;
        make_private(&cache)?;
        Ok(cache)
    }

    /// The same, whether it is there or not.
    pub fn cache_dir() -> Result<PathBuf> {
        xdg("XDG_CACHE_HOME", ".cache")
    }

    /// What the launcher keeps in there: packages, and what the runtime fetched.
    pub const CACHED: [&str; 2] = ["debs", "runtime"];
}

fn xdg(variable: &str, below_home: &str) -> Result<PathBuf> {
    let base = match env::var_os(variable).map(PathBuf::from) {
        // The specification says to ignore relative paths.
        Some(base) if base.is_absolute() => base,
        _ => match env::var_os("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Path::new(&home).join(below_home),
            None => bail!("HOME is not set: name a directory with --home DIR"),
        },
    };
    Ok(base.join("netdata-launcher"))
}

/// The name of the directory of all homes of this user, where many users have one beside each other.
pub fn of_user() -> String {
    format!("netdata-launcher-{}", Uid::effective())
}

/// Makes a place for the state outside of the home. Others may be able to write to the directory above it, so it has
/// to be ours already or made by us, and no link.
fn make_outside(state: &Path) -> Result<()> {
    let named = |dir: &&Path| {
        dir.file_name()
            .is_some_and(|name| name == of_user().as_str())
    };
    let shared = state.parent().filter(named);
    for dir in shared.into_iter().chain([state]) {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("creating {}", dir.display()));
            }
            _ => {}
        }
        let meta =
            fs::symlink_metadata(dir).with_context(|| format!("reading {}", dir.display()))?;
        if !meta.is_dir() || meta.uid() != Uid::effective().as_raw() {
            bail!(
                "{} is a link or another user's: name a directory of your own in LAUNCHER_STATE_DIR",
                dir.display()
            );
        }
    }
    Ok(())
}

/// Makes a directory that only its owner can enter, or makes it so; refuses somebody else's.
fn make_private(dir: &Path) -> Result<()> {
    let creating = || format!("creating {}", dir.display());
    let created = match fs::symlink_metadata(dir) {
        Err(_) => {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir);
            made.with_context(creating)?;
            fs::metadata(dir).with_context(creating)?
        }
        Ok(_) => fs::metadata(dir).with_context(|| format!("reading {}", dir.display()))?,
    };
    if !created.is_dir() {
        bail!(
            "{} is not a directory: move it away, or use another --home",
            dir.display()
        );
    }
    if created.uid() != Uid::effective().as_raw() {
        bail!(
            "{} belongs to another user: use a --home of your own",
            dir.display()
        );
    }
    if created.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
            .with_context(|| format!("making {} private (chmod 700)", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_below_the_home_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&dir.path().join("a/home")).unwrap();
        paths.create().unwrap();
        for name in [
            "",
            "logs",
            "state",
            "state/lib",
            "state/config",
            "state/generated",
        ] {
            let mode = fs::metadata(paths.home().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_state_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        let paths = Paths::new(&dir.path().join("home")).unwrap();
        let error = paths.clone().with_state(Some(link)).create().unwrap_err();
        assert!(
            error.to_string().contains("is a link or another user's"),
            "{error}"
        );
        paths
            .with_state(Some(dir.path().join("new")))
            .create()
            .unwrap();
    }

    #[test]
    fn an_open_home_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Paths::new(dir.path()).unwrap().create().unwrap();
        assert_eq!(
            fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }

    #[test]
    fn a_file_in_the_place_of_the_home_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Paths::new(&file).unwrap().create().unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");
    }
}
