//! `service`: starts Netdata at boot, by a systemd user unit or by cron.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::unistd::{Uid, User};

use super::{Scene, keep};
use crate::cli::ServiceCommand;
use crate::paths::Paths;
use crate::runtime::{Runtime, find_on};

/// The unit's name for the default home.
const NAME: &str = "netdata-launcher";

pub(super) fn run(scene: &Scene, verb: ServiceCommand) -> Result<ExitCode> {
    let service = Service::of(scene)?;
    match verb {
        ServiceCommand::Install { cron } => service.install(cron),
        ServiceCommand::Remove => service.remove(),
        ServiceCommand::Status => service.status(keep::trouble(scene)),
    }
}

/// Whatever starts this home's Netdata.
pub(super) struct Service {
    program: PathBuf,
    home: PathBuf,
    unit: PathBuf,
    name: String,
    /// Where programs are looked for at boot, if the usual places do not do.
    path: Option<String>,
}

impl Service {
    pub(super) fn of(scene: &Scene) -> Result<Self> {
        let program = env::current_exe().context("finding the launcher")?;
        let home = scene.paths.home().to_owned();
        let name = unit_name(&home, &Paths::default_home()?);
        let config = match env::var_os("XDG_CONFIG_HOME").map(PathBuf::from) {
            Some(dir) if dir.is_absolute() => dir,
            _ => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".config"),
        };
        Ok(Self {
            unit: config.join("systemd/user").join(format!("{name}.service")),
            program,
            home,
            name,
            path: path(Runtime::find().ok().as_ref().map(Runtime::program)),
        })
    }

    fn install(&self, cron: bool) -> Result<ExitCode> {
        let texts = [&self.program, &self.home].map(|path| path.to_string_lossy());
        for text in texts.iter().map(AsRef::as_ref).chain(self.path.as_deref()) {
            ensure!(
                !text
                    .chars()
                    .any(|c| c.is_control() || "\"'%\\$".contains(c)),
                "{text} cannot be written into a unit or a crontab: use a plainer name"
            );
        }
        if !cron && has_user_systemd() {
            return self.install_unit();
        }
        let Some(mut lines) = crontab() else {
            bail!(
                "neither systemd for users nor crontab works here\n\
                 start it from your login script: {} start",
                self.program.display()
            );
        };
        lines.retain(|line| !self.is_ours(line));
        lines.push(self.cron_line());
        write_crontab(&lines)?;
        out!(
            "cron starts Netdata after each boot:\n  {}",
            self.cron_line()
        );
        Ok(ExitCode::SUCCESS)
    }

    fn install_unit(&self) -> Result<ExitCode> {
        let writing = || format!("writing {}", self.unit.display());
        let dir = self.unit.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(dir).with_context(writing)?;
        fs::write(&self.unit, self.text()).with_context(writing)?;
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--now", &self.name])?;
        out!("{} is installed and runs", self.unit.display());
        let user = User::from_uid(Uid::effective()).ok().flatten();
        let user = user.map_or_else(|| Uid::effective().to_string(), |user| user.name);
        if !Path::new("/var/lib/systemd/linger").join(&user).exists() {
            out!(
                "it ends when you log out and starts when you log in, because lingering is off for {user}\n\
                 to keep it over logouts and reboots: loginctl enable-linger (an administrator may have to)"
            );
        }
        Ok(ExitCode::SUCCESS)
    }

    fn remove(&self) -> Result<ExitCode> {
        if !self.remove_quietly()? {
            out!("no service is installed");
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Says whether there was anything to remove.
    pub(super) fn remove_quietly(&self) -> Result<bool> {
        let mut found = false;
        if self.unit.exists() {
            found = true;
            if has_user_systemd() {
                // It is no reason to keep the file that nothing knows of it.
                let _ = systemctl(&["disable", &self.name]);
            }
            fs::remove_file(&self.unit)
                .with_context(|| format!("removing {}", self.unit.display()))?;
            out!("removed {}", self.unit.display());
            if has_user_systemd() {
                let _ = systemctl(&["daemon-reload"]);
            }
        }
        if let Some(mut lines) = crontab()
            && lines.iter().any(|line| self.is_ours(line))
        {
            found = true;
            lines.retain(|line| !self.is_ours(line));
            write_crontab(&lines)?;
            out!("removed the line from your crontab");
        }
        Ok(found)
    }

    fn status(&self, trouble: Option<String>) -> Result<ExitCode> {
        let cron = crontab().is_some_and(|lines| lines.iter().any(|line| self.is_ours(line)));
        if self.unit.exists() {
            let active =
                has_user_systemd() && systemctl(&["is-active", "--quiet", &self.name]).is_ok();
            let state = if active { "active" } else { "not active" };
            out!("{} is installed, {state}", self.unit.display());
        }
        if cron {
            out!("cron starts Netdata after each boot");
        }
        if let Some(trouble) = trouble {
            out!("the last start failed, the next one comes by itself: {trouble}");
        }
        if self.unit.exists() || cron {
            return Ok(ExitCode::SUCCESS);
        }
        out!("no service is installed: launcher service install");
        Ok(ExitCode::FAILURE)
    }

    fn cron_line(&self) -> String {
        let path = self.path.as_ref();
        let path = path.map_or(String::new(), |path| format!("PATH=\"{path}\" "));
        format!(
            "@reboot {path}\"{}\" --home \"{}\" start --keep >/dev/null 2>&1",
            self.program.display(),
            self.home.display()
        )
    }

    fn text(&self) -> String {
        let launcher = format!(
            "\"{}\" --home \"{}\"",
            self.program.display(),
            self.home.display()
        );
        let path = self.path.as_ref();
        let path = path.map_or(String::new(), |path| {
            format!("Environment=\"PATH={path}\"\n")
        });
        format!(
            "# Written by launcher service install; launcher service remove takes it away.\n\
             [Unit]\n\
             Description=Netdata without root\n\
             Documentation=man:launcher(1)\n\
             StartLimitIntervalSec=0\n\n\
             [Service]\n\
             Type=exec\n\
             {path}\
             ExecStart={launcher} start --keep\n\
             ExecStop={launcher} stop\n\
             Restart=on-failure\n\
             RestartPreventExitStatus=2\n\
             RestartSec=30\n\
             TimeoutStopSec=60\n\
             KillMode=mixed\n\n\
             [Install]\n\
             WantedBy=default.target\n"
        )
    }

    fn is_ours(&self, line: &str) -> bool {
        line.starts_with("@reboot")
            && line.contains(&format!("--home \"{}\" start", self.home.display()))
    }
}

/// Several homes have a unit each.
fn unit_name(home: &Path, default: &Path) -> String {
    if home == default {
        return NAME.to_owned();
    }
    let last = home
        .file_name()
        .unwrap_or(OsStr::new("home"))
        .to_string_lossy();
    let plain: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    // Homes of one name in different places.
    let sum = home.to_string_lossy().bytes().fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    format!("{NAME}-{}-{sum:08x}", plain.trim_matches('-'))
}

/// Those that systemd and cron look in anyway, or should.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The PATH with which `runtime` is found, where the usual one does not find it: a module's, for one.
fn path(runtime: Option<&Path>) -> Option<String> {
    let dir = runtime?.parent()?.to_str()?;
    // Debian's cron has these two only.
    let found = ["/usr/bin", "/bin"].contains(&dir);
    (!found).then(|| format!("{dir}:{USUAL_PATH}"))
}

fn program(name: &str) -> Option<PathBuf> {
    find_on(&env::var_os("PATH").unwrap_or_default(), name)
}

/// Whether there is a systemd that this user may speak to.
fn has_user_systemd() -> bool {
    env::var_os("XDG_RUNTIME_DIR").is_some() && systemctl(&["show-environment"]).is_ok()
}

fn systemctl(words: &[&str]) -> Result<()> {
    let program = program("systemctl").context("systemctl is not on PATH")?;
    let output = Command::new(program)
        .arg("--user")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .context("running systemctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "systemctl --user {}: {}",
        words.join(" "),
        said.trim()
    );
    Ok(())
}

/// The user's crontab; an empty one if there is none. None where there is no cron.
fn crontab() -> Option<Vec<String>> {
    let output = Command::new(program("crontab")?)
        .arg("-l")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        // It says "no crontab for …", or that this user may not have one: then writing says so.
        return Some(vec![]);
    }
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().map(str::to_owned).collect())
}

fn write_crontab(lines: &[String]) -> Result<()> {
    let mut child = Command::new(program("crontab").context("crontab is not on PATH")?)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting crontab")?;
    if let Some(mut stdin) = child.stdin.take() {
        for line in lines {
            writeln!(stdin, "{line}").context("writing the crontab")?;
        }
    }
    let output = child.wait_with_output().context("waiting for crontab")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "crontab: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_of_one_name_have_units_of_their_own() {
        let default = Path::new("/home/ann/.local/share/netdata-launcher");
        assert_eq!(unit_name(default, default), NAME);
        let (a, b) = (Path::new("/a/nd home"), Path::new("/b/nd home"));
        assert_ne!(unit_name(a, default), unit_name(b, default));
        assert!(unit_name(a, default).starts_with("netdata-launcher-nd-home-"));
    }

    #[test]
    fn a_crontab_line_is_known_by_its_home() {
        let service = |home: &str| Service {
            program: "/opt/bin/launcher".into(),
            home: home.into(),
            unit: "/none".into(),
            name: NAME.to_owned(),
            path: None,
        };
        let line = service("/a").cron_line();
        assert!(service("/a").is_ours(&line));
        assert!(!service("/ab").is_ours(&line) && !service("/").is_ours(&line));
    }

    #[test]
    fn a_runtime_in_an_unusual_place_is_found_at_boot() {
        assert_eq!(path(Some(Path::new("/usr/bin/apptainer"))), None);
        assert_eq!(path(None), None);
        let module = path(Some(Path::new("/opt/apptainer/1.4/bin/apptainer")));
        let module = module.unwrap();
        assert_eq!(
            module,
            "/opt/apptainer/1.4/bin:/usr/local/bin:/usr/bin:/bin"
        );
    }
}
