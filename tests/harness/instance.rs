//! An instance of Netdata with a home of its own, driven by the launcher's commands as the ordinary user,
//! and ended with the test whatever the test did to it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procfs::process::Process;

use crate::api::Api;
use crate::place::{Place, free_port};
use crate::processes::{self, Known};
use crate::server::Server;

/// A home, a port and the flags of `start`.
pub struct Instance {
    /// The launcher's home.
    pub home: PathBuf,
    /// The dashboard's port.
    pub port: u16,
    place: Place,
    flags: Vec<String>,
    sessions: std::sync::Mutex<Vec<i32>>,
}

/// What a command of the launcher did.
#[derive(Debug)]
pub struct Outcome {
    /// Exit code.
    pub code: Option<i32>,
    /// Standard output and standard error.
    pub text: String,
    /// How long it took.
    pub took: Duration,
}

impl Instance {
    /// An instance that does not run yet, with a free port and further flags for `start`. Tests run side by side on
    /// one machine: it charts no server but those named by [`sees`](Self::sees), so that a server is not read by
    /// every test's instance.
    ///
    /// # Errors
    /// As the system's.
    pub fn new(place: &Place, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let instance = Self::as_installed(place, name, flags)?;
        instance.sees(&[])?;
        Ok(instance)
    }

    /// The same without any configuration, as whoever starts it for the first time has it: it charts every server
    /// on the machine.
    ///
    /// # Errors
    /// As the system's.
    pub fn as_installed(place: &Place, name: &str, flags: &[&str]) -> anyhow::Result<Self> {
        let home = place.dir.join(format!("home-{name}"));
        place.make_dir(&home)?;
        // A name of its own for the image, so that whoever holds it open is known to be ours.
        let image = home.join("image.sif");
        std::fs::hard_link(&place.image, &image)
            .or_else(|_| std::fs::copy(&place.image, &image).map(drop))
            .with_context(|| image.display().to_string())?;
        let port = free_port()?;
        let mut all = vec![
            "--image".to_owned(),
            image.display().to_string(),
            "--port".to_owned(),
            port.to_string(),
            "--listen".to_owned(),
            "127.0.0.1".to_owned(),
            // Whatever else runs on this machine.
            "--beside-another".to_owned(),
        ];
        all.extend(flags.iter().map(ToString::to_string));
        Ok(Self {
            home,
            port,
            place: place.clone(),
            flags: all,
            sessions: Default::default(),
        })
    }

    /// From now on it charts these servers alone.
    ///
    /// # Errors
    /// As the system's.
    pub fn sees(&self, servers: &[&Server]) -> anyhow::Result<()> {
        let conf = only(servers);
        self.configure(&[("rs.d/sglang.conf", &conf), ("rs.d/servers.conf", &conf)])
    }

    /// From now on it leaves out what Netdata itself collects, which takes most of its time: several instances
    /// that run for minutes side by side keep a small machine from everything else.
    ///
    /// # Errors
    /// As the system's.
    pub fn leaves_the_machine_out(&self) -> anyhow::Result<()> {
        let plugins = [
            "proc",
            "diskspace",
            "cgroups",
            "tc",
            "idlejitter",
            "timex",
            "statsd",
            "apps",
        ];
        let off = plugins.map(|name| format!("    {name} = no\n")).concat();
        self.configure(&[("netdata.conf", &format!("[plugins]\n{off}"))])
    }

    /// Puts `files` into the user's own configuration.
    ///
    /// # Errors
    /// As the system's.
    pub fn configure(&self, files: &[(&str, &str)]) -> anyhow::Result<()> {
        for (name, text) in files {
            let path = self.home.join("state/config").join(name);
            let dir = path.parent().context("a file without a directory")?;
            self.place.make_dir(dir)?;
            self.place.write(&path, text)?;
        }
        Ok(())
    }

    /// The agent's API.
    #[must_use]
    pub fn api(&self) -> Api {
        Api::on(self.port)
    }

    /// Runs a command of the launcher on this home.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn launcher(&self, words: &[&str]) -> anyhow::Result<Outcome> {
        self.launcher_with(&[], words)
    }

    /// The same, with more in its environment.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn launcher_with(&self, env: &[(&str, &str)], words: &[&str]) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let output = self
            .place
            .command(self.place.dist.join("bin/launcher"))
            .envs(env.iter().copied())
            .arg("--home")
            .arg(&self.home)
            .args(words)
            .stdin(Stdio::null())
            .output()
            .context("cannot run the launcher")?;
        self.remember_session();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Outcome {
            code: output.status.code(),
            text,
            took: began.elapsed(),
        })
    }

    /// `start` with this instance's flags, whatever comes of it.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn try_start(&self) -> anyhow::Result<Outcome> {
        let mut words = vec!["start"];
        words.extend(self.flags.iter().map(String::as_str));
        self.launcher(&words)
    }

    /// `start` in a process of its own, for `--foreground`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn spawn_start(&self) -> anyhow::Result<std::process::Child> {
        self.place
            .command(self.place.dist.join("bin/launcher"))
            .arg("--home")
            .arg(&self.home)
            .arg("start")
            .args(&self.flags)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot run the launcher")
    }

    /// `start`, which has to succeed.
    ///
    /// # Errors
    /// With all that it printed when it does not.
    pub fn start(&self) -> anyhow::Result<Outcome> {
        let outcome = self.try_start()?;
        ensure!(
            outcome.code == Some(0),
            "start failed ({:?}):\n{}",
            outcome.code,
            outcome.text
        );
        Ok(outcome)
    }

    /// `stop`, which has to succeed.
    ///
    /// # Errors
    /// With all that it printed when it does not.
    pub fn stop(&self) -> anyhow::Result<Outcome> {
        let outcome = self.launcher(&["stop"])?;
        ensure!(
            outcome.code == Some(0),
            "stop failed ({:?}):\n{}",
            outcome.code,
            outcome.text
        );
        Ok(outcome)
    }

    /// Every process of this instance, in whichever session it ever had.
    #[must_use]
    pub fn processes(&self) -> BTreeSet<Known> {
        let sessions = self
            .sessions
            .lock()
            .map(|sessions| sessions.clone())
            .unwrap_or_default();
        processes::of_instance(&self.home, &sessions)
    }

    /// The process recorded in the pid file: the outermost of the container.
    ///
    /// # Errors
    /// When there is none.
    pub fn outer_pid(&self) -> anyhow::Result<i32> {
        let path = self.home.join("netdata.pid");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let digits = text
            .split(|c: char| !c.is_ascii_digit())
            .find(|word| !word.is_empty());
        Ok(digits.context("no pid in the pid file")?.parse()?)
    }

    /// The pid of netdata itself.
    ///
    /// # Errors
    /// When it does not run.
    pub fn netdata_pid(&self) -> anyhow::Result<i32> {
        let outer = self.outer_pid()?;
        let mut ours = self
            .processes()
            .into_iter()
            .filter(|known| known.comm == "netdata");
        let child = ours.find(|known| {
            let parent = Process::new(known.pid)
                .and_then(|p| p.stat())
                .map(|stat| stat.ppid);
            parent.is_ok_and(|parent| parent == outer) || known.pid == outer
        });
        Ok(child.context("netdata does not run")?.pid)
    }

    /// The pid of our plugin, found among the instance's processes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn plugin_pid(&self) -> anyhow::Result<i32> {
        let mut ours = self.processes().into_iter();
        Ok(ours
            .find(|known| known.comm == "rs.d.plugin")
            .context("rs.d.plugin does not run")?
            .pid)
    }

    /// All that Netdata and its plugins wrote to their logs.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for dir in ["logs", "state/log"] {
            let entries = std::fs::read_dir(self.home.join(dir))
                .into_iter()
                .flatten()
                .flatten();
            for entry in entries {
                if entry
                    .path()
                    .extension()
                    .is_some_and(|extension| extension == "log")
                {
                    all +=
                        &String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default());
                }
            }
        }
        all
    }

    /// Sessions outlive their leader, so what a killed start left behind is found by them. A pid file may
    /// name a foreign process: its session is none of ours.
    fn remember_session(&self) {
        let leader = self.outer_pid().ok().and_then(|pid| Process::new(pid).ok());
        let Some(leader) = leader.filter(|leader| processes::touches(leader, &self.home)) else {
            return;
        };
        if let Ok(stat) = leader.stat()
            && let Ok(mut sessions) = self.sessions.lock()
            && !sessions.contains(&stat.session)
        {
            sessions.push(stat.session);
        }
    }
}

/// The line of configuration with which only `servers` are charted.
#[must_use]
pub fn only(servers: &[&Server]) -> String {
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| format!("'.*:{}'", server.port))
        .collect();
    match addresses.as_slice() {
        [] => "exclude: '.*'\n".to_owned(),
        addresses => format!("include: [{}]\n", addresses.join(", ")),
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.launcher(&["stop"]);
        for known in self.processes() {
            eprintln!("left behind by {}: {known:?}", self.home.display());
            let _ = kill(Pid::from_raw(known.pid), Signal::SIGKILL);
        }
    }
}
