//! Apptainer or Singularity: the only place that knows their arguments. It builds commands, and starts none but the
//! question for its version.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::ask::ask;
use crate::cli::WatchArgs;
use crate::paths::Paths;

/// Looked for on PATH in this order.
const PROGRAMS: [&str; 2] = ["apptainer", "singularity"];

/// It takes 0.1 s, unless a file server hangs.
const VERSION_WITHIN: Duration = Duration::from_secs(5);

/// Stands in for a configuration of the runtime that the user has not, within [`Paths::cache_dir`].
const CONFIGURATION: &str = "runtime/config";

/// What the runtime itself needs of the user's environment. Nothing of it reaches the container.
const PASSED: [&str; 10] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE",
];

/// The program that runs containers.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: PathBuf,
}

/// One file or directory made visible in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Outside.
    pub source: PathBuf,
    /// Inside.
    pub destination: PathBuf,
    /// Whether the container may write to it.
    pub writable: bool,
}

impl Bind {
    /// Read-only.
    pub fn read_only(source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            writable: false,
        }
    }

    /// Writable.
    pub fn writable(source: impl Into<PathBuf>, destination: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            destination: destination.into(),
            writable: true,
        }
    }

    /// As the runtime wants it; its separators in a path are escaped.
    fn argument(&self) -> OsString {
        let mut text = OsString::new();
        for (path, end) in [(&self.source, ":"), (&self.destination, ":")] {
            for part in path
                .as_os_str()
                .as_bytes()
                .split_inclusive(|b| b":,\\".contains(b))
            {
                match part.split_last() {
                    Some((separator, rest)) if b":,\\".contains(separator) => {
                        text.push(OsStr::from_bytes(rest));
                        text.push("\\");
                        text.push(OsStr::from_bytes(&[*separator]));
                    }
                    _ => text.push(OsStr::from_bytes(part)),
                }
            }
            text.push(end);
        }
        text.push(if self.writable { "rw" } else { "ro" });
        text
    }
}

/// A container to run something in.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// The SIF file.
    pub image: PathBuf,
    /// Becomes /var/lib/netdata and the home directory inside; the user's own stays outside.
    pub lib: PathBuf,
    /// In the order in which they are mounted.
    pub binds: Vec<Bind>,
    /// The environment inside, beside the image's own.
    pub env: BTreeMap<String, String>,
    /// Whether to bring in the NVIDIA driver's libraries and tools.
    pub nvidia: bool,
    /// One more library for the container.
    pub library: Option<PathBuf>,
    /// The watch that runs beside it.
    pub watch: Option<WatchArgs>,
    /// Unpack the image first: for machines where it cannot be mounted.
    pub unpack: bool,
}

impl Runtime {
    /// The first of the known programs on PATH.
    pub fn find() -> Result<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        for name in PROGRAMS {
            if let Some(program) = find_on(&path, name) {
                return Ok(Self { program });
            }
        }
        bail!(
            "neither apptainer nor singularity is on PATH\n\
             install the apptainer package (`sudo make setup` does it on Debian) or load its module"
        )
    }

    /// The program itself.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What it says of its version. None where it does not answer.
    pub fn version(&self) -> Option<String> {
        let mut command = self.command();
        command.arg("--version");
        let answer = ask(command, VERSION_WITHIN)?;
        let line = answer.last_line().chars().filter(|c| !c.is_control());
        answer.ok.then(|| line.take(80).collect())
    }

    /// The program's name, for messages.
    pub fn name(&self) -> String {
        self.program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// `exec`: runs `argv` in the container, isolated from the user's home, /tmp, working directory
    /// and environment, in the machine's process namespace.
    pub fn exec<S: AsRef<OsStr>>(&self, container: &Container, argv: &[S]) -> Command {
        let mut command = self.command();
        for prefix in ["APPTAINER", "SINGULARITY"] {
            if let Some(library) = &container.library {
                command.env(format!("{prefix}_CONTAINLIBS"), library);
            }
            for name in ["TMPDIR", "CACHEDIR", "CONFIGDIR"] {
                pass(&mut command, &format!("{prefix}_{name}"));
            }
        }
        command.args([
            "exec",
            "--cleanenv",
            "--no-mount",
            "cwd,tmp",
            "--pwd",
            "/",
            "--home",
        ]);
        let mut home = container.lib.clone().into_os_string();
        home.push(":/var/lib/netdata");
        command.arg(home);
        if container.nvidia {
            command.arg("--nv");
        }
        if container.unpack {
            command.arg("--unsquash");
        }
        for bind in &container.binds {
            command.arg("--bind").arg(bind.argument());
        }
        for (name, value) in &container.env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.arg(&container.image).args(argv);
        command
    }

    /// `pull`: writes `target` from a registry, with `tmp` for what it unpacks and `cache` for what it
    /// need not fetch again.
    pub fn pull(&self, source: &str, target: &Path, tmp: &Path, cache: &Path) -> Command {
        let mut command = self.fetching(tmp, cache);
        command.args(["pull", "--force"]).arg(target).arg(source);
        command
    }

    /// `build`: writes `target` from a directory, an archive or a definition file.
    pub fn build(&self, source: &OsStr, target: &Path, tmp: &Path, cache: &Path) -> Command {
        let mut command = self.fetching(tmp, cache);
        // Half the size of gzip at its fastest setting, and quicker to read.
        command.args([
            "build",
            "--force",
            "--mksquashfs-args",
            "-comp zstd -Xcompression-level 3",
        ]);
        command.arg(target).arg(source);
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null());
        for name in PASSED {
            pass(&mut command, name);
        }
        // It would make one in the user's home, and leave it there.
        if let (None, Ok(cache)) = (own_configuration(), Paths::cache_dir()) {
            let ours = cache.join(CONFIGURATION);
            command
                .env("APPTAINER_CONFIGDIR", &ours)
                .env("SINGULARITY_CONFIGDIR", &ours);
        }
        command
    }

    /// With proxies, credentials and settings of the runtime, which `exec` must not have: some of
    /// them would reach the container.
    fn fetching(&self, tmp: &Path, cache: &Path) -> Command {
        let mut command = self.command();
        // Not the user's own, which `clean` must leave alone; but theirs where they name one.
        command
            .env("APPTAINER_CACHEDIR", cache)
            .env("SINGULARITY_CACHEDIR", cache);
        for (name, value) in env::vars_os() {
            let Some(text) = name.to_str() else { continue };
            let runtimes = text.starts_with("APPTAINER_") || text.starts_with("SINGULARITY_");
            if runtimes || text.to_ascii_lowercase().ends_with("_proxy") {
                command.env(&name, value);
            }
        }
        command
            .env("APPTAINER_TMPDIR", tmp)
            .env("SINGULARITY_TMPDIR", tmp);
        command
    }
}

/// The user's configuration of the runtime, with credentials for registries, if there is any.
fn own_configuration() -> Option<PathBuf> {
    let named = ["APPTAINER_CONFIGDIR", "SINGULARITY_CONFIGDIR"];
    let named = named.into_iter().find_map(env::var_os).map(PathBuf::from);
    let home = env::var_os("HOME").map(PathBuf::from);
    let usual = [".apptainer", ".singularity"].into_iter();
    let mut usual = usual.filter_map(|name| Some(home.as_ref()?.join(name)));
    named.or_else(|| usual.find(|dir| dir.exists()))
}

fn pass(command: &mut Command, name: &str) {
    if let Some(value) = env::var_os(name) {
        command.env(name, value);
    }
}

/// The first executable called `name` in a PATH.
pub fn find_on(path: &OsStr, name: &str) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(container: &Container) -> Vec<String> {
        let runtime = Runtime {
            program: "/bin/apptainer".into(),
        };
        let command = runtime.exec(container, &["netdata", "-D"]);
        command
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn the_container_is_isolated_and_the_command_comes_last() {
        let container = Container {
            image: "/h/netdata.sif".into(),
            lib: "/h/state/lib".into(),
            binds: vec![
                Bind::read_only("/", "/host/root"),
                Bind::writable("/h/t", "/tmp"),
            ],
            env: [("NETDATA_RUN_DIR".to_owned(), "/run/netdata".to_owned())].into(),
            nvidia: true,
            ..Container::default()
        };
        let expected = "exec --cleanenv --no-mount cwd,tmp --pwd / --home \
            /h/state/lib:/var/lib/netdata --nv --bind /:/host/root:ro --bind /h/t:/tmp:rw \
            --env NETDATA_RUN_DIR=/run/netdata /h/netdata.sif netdata -D";
        assert_eq!(arguments(&container).join(" "), expected);
    }

    #[test]
    fn a_colon_or_comma_in_a_path_stays_part_of_it() {
        let bind = Bind::read_only("/a:b,c", "/d");
        assert_eq!(bind.argument(), OsString::from(r"/a\:b\,c:/d:ro"));
    }

    #[test]
    fn nothing_unneeded_of_the_environment_reaches_the_runtime() {
        let runtime = Runtime {
            program: "/bin/apptainer".into(),
        };
        let command = runtime.exec(&Container::default(), &["true"]);
        for (name, _) in command.get_envs() {
            let name = name.to_str().unwrap();
            assert!(
                PASSED.contains(&name) || name.ends_with("DIR"),
                "{name} would be passed on"
            );
        }
    }

    #[test]
    fn a_library_is_handed_to_either_runtime() {
        let runtime = Runtime {
            program: "/bin/singularity".into(),
        };
        let container = Container {
            library: Some("/x/libnvidia-ml.so.1".into()),
            ..Container::default()
        };
        let command = runtime.exec(&container, &["true"]);
        let given: Vec<_> = command
            .get_envs()
            .filter(|(name, _)| name.to_string_lossy().ends_with("_CONTAINLIBS"))
            .collect();
        assert_eq!(given.len(), 2);
    }
}
