//! Where the tests run: a directory that an ordinary user owns, with copies of everything built, because
//! that user may read neither the checkout nor root's toolchain.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use nix::unistd::{Gid, Uid, User, chown};

/// The user that root's use of the project runs as.
const ORDINARY_USER: &str = "netdata-launcher";

/// Another one, on every machine.
const SECOND_USER: &str = "nobody";

/// The place, the user and what was built.
#[derive(Clone, Debug)]
pub struct Place {
    /// Owned by the user; emptied when the tests begin.
    pub dir: PathBuf,
    /// The copy of `target/dist`: `bin/launcher`, `lib/netdata-launcher`, `simulated`.
    pub dist: PathBuf,
    /// The copy of the captures.
    pub captures: PathBuf,
    /// The SIF with the distribution's Netdata.
    pub image: PathBuf,
    /// The interpreter with gpustat and nvidia-ml-py.
    pub python: PathBuf,
    uid: Uid,
    gid: Gid,
    home: PathBuf,
    name: String,
}

impl Place {
    /// Copies what was built to where the ordinary user can run it.
    ///
    /// # Errors
    /// Names what is missing and how to make it: a test that cannot run fails, it is never skipped.
    pub fn prepare() -> anyhow::Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        let given = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let need = |name: &str, default: PathBuf| -> anyhow::Result<PathBuf> {
            let path = given(name).unwrap_or(default);
            ensure!(
                path.exists(),
                "{} is missing; `make test` makes it ({name})",
                path.display()
            );
            Ok(path)
        };
        let user = if Uid::current().is_root() {
            User::from_name(ORDINARY_USER)?
                .with_context(|| format!("there is no user {ORDINARY_USER}: run `make setup`"))?
        } else {
            User::from_uid(Uid::current())?.context("the current user has no name")?
        };
        let target = given("CARGO_TARGET_DIR").unwrap_or_else(|| checkout.join("target"));
        let dist = need("E2E_DIST", target.join("dist"))?;
        let Some(image) = given("E2E_IMAGE") else {
            bail!("E2E_IMAGE does not name the image; run the tests with `make test`");
        };
        let Some(python) = given("E2E_PYTHON") else {
            bail!("E2E_PYTHON does not name the interpreter; run the tests with `make test`");
        };
        // Two checkouts can be tested side by side when each names a directory of its own.
        let name = std::env::var("E2E_DIR").unwrap_or_else(|_| "e2e".to_owned());
        ensure!(
            name.starts_with("e2e") && !name.contains('/'),
            "E2E_DIR must be a name that begins with e2e, not {name:?}"
        );
        let dir = user.dir.join(".cache/netdata-launcher").join(name);
        let place = Self {
            dist: dir.join("dist"),
            captures: dir.join("captures"),
            image,
            python,
            uid: user.uid,
            gid: user.gid,
            home: user.dir,
            name: user.name,
            dir,
        };
        if place.dir.exists() {
            std::fs::remove_dir_all(&place.dir)
                .with_context(|| format!("cannot empty {}", place.dir.display()))?;
        }
        place.make_dir(&place.dir)?;
        place.copy(&dist, &place.dist)?;
        place.copy(&checkout.join("tests/fixtures/sglang"), &place.captures)?;
        Ok(place)
    }

    /// The same for a second user, `nobody`, with copies of what it needs below a directory of its own, which the
    /// caller removes. Without root there is no second user: then it is another directory of the same one.
    ///
    /// # Errors
    /// As the system's.
    pub fn of_second_user(&self) -> anyhow::Result<Self> {
        let root = Uid::current().is_root();
        let (name, parent) = match root {
            true => (SECOND_USER, std::env::temp_dir()),
            false => (self.name.as_str(), self.dir.clone()),
        };
        let user = User::from_name(name)?.with_context(|| format!("there is no user {name}"))?;
        let dir = parent.join(format!("e2e-second-user-{}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let place = Self {
            dist: dir.join("dist"),
            captures: self.captures.clone(),
            image: dir.join("image"),
            python: self.python.clone(),
            uid: user.uid,
            gid: user.gid,
            home: dir.clone(),
            name: user.name,
            dir,
        };
        place.own(&place.dir)?;
        place.copy(&self.dist, &place.dist)?;
        place.copy(&self.image, &place.image)?;
        Ok(place)
    }

    /// A command run by the ordinary user, with a clean environment, in a directory of theirs.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("USER", &self.name)
            .env("LOGNAME", &self.name)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .current_dir(&self.dir);
        if Uid::current().is_root() {
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// The user's uid.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Makes a directory that the user owns.
    ///
    /// # Errors
    /// As the system's.
    pub fn make_dir(&self, dir: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        // What lies between the user's home and it was perhaps made by root just now.
        for dir in dir
            .ancestors()
            .take_while(|dir| *dir != self.home && dir.starts_with(&self.home))
        {
            self.own(dir)?;
        }
        Ok(())
    }

    /// Writes a file that the user owns.
    ///
    /// # Errors
    /// As the system's.
    pub fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
        self.own(path)
    }

    /// Gives a file to the user.
    ///
    /// # Errors
    /// As the system's.
    pub fn own(&self, path: &Path) -> anyhow::Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| path.display().to_string())
    }

    fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        let metadata = std::fs::metadata(from).with_context(|| from.display().to_string())?;
        if metadata.is_dir() {
            std::fs::create_dir_all(to)?;
            for entry in std::fs::read_dir(from)? {
                let name = entry?.file_name();
                self.copy(&from.join(&name), &to.join(&name))?;
            }
        } else {
            std::fs::copy(from, to).with_context(|| from.display().to_string())?;
            let mode = metadata.permissions().mode();
            std::fs::set_permissions(to, std::fs::Permissions::from_mode(mode | 0o644))?;
        }
        self.own(to)
    }
}

/// A port of loopback that nobody uses now.
///
/// # Errors
/// As the system's.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
