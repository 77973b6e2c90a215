//! `start`: from an image and settings to a Netdata in which the plugin charts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Scene, restart, status, stop};
use crate::api::{self, Api, Listing};
use crate::child::{self, Outcome};
use crate::cli::StartFlags;
use crate::container::{self, PLUGIN_INSIDE};
use crate::image;
use crate::instance::{self, Record, State, beside};
use crate::interrupt;
use crate::netdata_conf::NetdataConf;
use crate::others;
use crate::ports;
use crate::process::FileId;
use crate::progress::Progress;
use crate::report::{self, Awaited, Versions};
use crate::runtime::{Container, Runtime};
use crate::settings::{DEFAULT_PORT, Gpu, Settings};
use crate::snapshot;
use crate::start_log::{StartLog, Verdict};

const POLL: Duration = Duration::from_millis(200);
/// How often the plugin's newest value must have moved: once may be a leftover of the last run.
const MOVES: usize = 2;
/// After the first charts: servers are found at once, if there are any.
const FOR_SERVERS: Duration = Duration::from_millis(2500);
/// The same: without its persistence daemon a driver takes 1 to 3 s to come up.
const FOR_GPUS: Duration = Duration::from_millis(5000);
/// Loading the plugin takes 0.3 s; unpacking the image first up to 15 s.
const LOADING: Duration = Duration::from_secs(60);

pub(super) fn run(scene: &Scene, flags: &StartFlags) -> Result<ExitCode> {
    let _lock = scene.take("start")?;
    if let State::Running(record) = scene.instance.state()? {
        out!("Netdata is already running (to change its settings: launcher restart)");
        return status::show(scene, &record);
    }
    let mut prepared = Prepared::new(scene, flags)?;
    if !matches!(scene.instance.state()?, State::Stopped) {
        tell!("{}", stop::end(scene)?);
    }
    // Before a download that may take minutes.
    prepared.check_others(scene)?;
    prepared.check_port(scene)?;
    prepared.try_image(scene)?;
    prepared.start(scene)
}

/// A start of which everything is known but the image's content.
#[derive(Debug)]
pub(super) struct Prepared {
    flags: StartFlags,
    settings: Settings,
    runtime: Runtime,
    container: Container,
    conf: NetdataConf,
    plugin_version: Option<String>,
}

impl Prepared {
    /// Checks all that can be checked before anything runs or stops.
    pub(super) fn new(scene: &Scene, flags: &StartFlags) -> Result<Self> {
        let flags = absolute(flags.clone());
        let settings = scene.settings(&flags)?;
        let runtime = Runtime::find()?;
        let (container, conf) = container::prepare(&scene.paths, &scene.proc, &settings)?;
        Ok(Self {
            flags,
            settings,
            runtime,
            container,
            conf,
            plugin_version: None,
        })
    }

    /// Another command in the same container.
    pub(super) fn command(mut self, scene: &Scene, argv: &[&str]) -> Result<Command> {
        self.try_image(scene)?;
        Ok(self.runtime.exec(&self.container, argv))
    }

    /// Gets the image if need be, and tries the plugin in it.
    pub(super) fn try_image(&mut self, scene: &Scene) -> Result<()> {
        let asked = self.settings.image.as_deref();
        let image = image::ensure(&self.runtime, &scene.paths, asked)?;
        self.try_file(image)
    }

    /// Tries the plugin in the image that this file is.
    pub(super) fn try_file(&mut self, image: PathBuf) -> Result<()> {
        self.use_file(image);
        let progress = Progress::start("checking that the plugin runs in the image");
        self.check_plugin(&progress)
    }

    /// Takes this file for the image.
    pub(super) fn use_file(&mut self, image: PathBuf) {
        self.container.image = image;
    }

    /// Fails where another Netdata already runs, unless that is wanted: what it shows may be enough.
    fn check_others(&self, scene: &Scene) -> Result<()> {
        let Some(other) = others::answering(&scene.proc, &[], DEFAULT_PORT)
            .filter(|_| !self.settings.beside_another)
        else {
            return Ok(());
        };
        bail!(
            "another Netdata already runs on this machine: {other}\n  \
             http://127.0.0.1:{DEFAULT_PORT} here, http://{}:{DEFAULT_PORT} from elsewhere if it is open there\n\
             it may show what you want, though not the GPUs and servers as rs.d does; for one of your own beside it:\n  \
             launcher start --beside-another --port {}",
            scene.host,
            if self.conf.port == DEFAULT_PORT {
                DEFAULT_PORT + 1
            } else {
                self.conf.port
            }
        )
    }

    /// Fails if the port is somebody else's.
    pub(super) fn check_port(&self, scene: &Scene) -> Result<()> {
        ports::check_free(&scene.proc, self.conf.listen, self.conf.port)
    }

    /// Starts it, waits for the plugin's charts and says what there is. The first start after an update goes
    /// back to what was before it where the new image does not come up.
    pub(super) fn start(self, scene: &Scene) -> Result<ExitCode> {
        self.check_port(scene)?;
        let unproven =
            snapshot::is_kept(&scene.paths) && self.container.image == scene.paths.image();
        if !unproven {
            return self.launch(scene);
        }
        let flags = self.flags.clone();
        match self.launch(scene) {
            Ok(code) => {
                snapshot::forget(&scene.paths)?;
                Ok(code)
            }
            Err(error) if interrupt::is_set() => Err(error),
            Err(error) => go_back(scene, &flags, &error),
        }
    }

    fn launch(self, scene: &Scene) -> Result<ExitCode> {
        let progress = Progress::start("starting Netdata");
        let argv = ["netdata", "-D", "-s", "/host"];
        let mut command = self.runtime.exec(&self.container, &argv);
        if let Some(watch) = &self.container.watch {
            command = beside::session(&command, watch);
        }
        if self.container.image == scene.paths.image() {
            image::hold(&scene.paths);
        }
        let log = scene.paths.log_file();
        let (mut child, offset) = instance::begin(command, &log)?;
        let log = StartLog::new(&log, offset);
        let pid = child.id().cast_signed();
        let Some(leader) = scene.proc.get(pid) else {
            let _ = child.wait();
            bail!("Netdata ended at once\n{}", log.excerpt());
        };
        let record = Record {
            pid,
            start_ticks: leader.start_ticks,
            boot_id: scene.proc.boot_id()?,
            host: scene.host.clone(),
            listen: self.conf.listen.to_string(),
            port: self.conf.port,
            image: self.container.image.clone(),
            image_id: FileId::of(&self.container.image),
        };
        let waited = scene.instance.write(&record);
        // It is known in the time that Netdata takes to start.
        let versions = Versions {
            plugin: self.plugin_version.clone(),
            runtime: self.runtime.version(),
        };
        let waited = waited.and_then(|()| versions.store(&scene.paths));
        let ours = || {
            let members = scene.instance.members(&record);
            ports::check_ours(
                &scene.proc,
                &members,
                self.conf.listen.local(),
                self.conf.port,
            )
        };
        if let Err(error) = waited.and_then(|()| self.wait(&mut child, &log, &progress, ours)) {
            let excerpt = log.excerpt();
            progress.step("ending what was started");
            scene.instance.end(&record)?;
            scene.instance.forget()?;
            image::release(&scene.paths);
            if interrupt::is_set() {
                return Err(error);
            }
            if log.port_refused() {
                bail!(ports::taken(&scene.proc, self.conf.port));
            }
            bail!("{error:#}\n{excerpt}");
        }
        drop(progress);
        restart::remember(scene, &self.flags)?;
        out!("Netdata is running");
        status::show(scene, &record)
    }

    /// A plugin that the image's loader refuses would only show as charts that never come.
    fn check_plugin(&mut self, progress: &Progress) -> Result<()> {
        loop {
            let command = self
                .runtime
                .exec(&self.container, &[PLUGIN_INSIDE, "--version"]);
            // Its output is for the message only.
            let mut sink = File::options()
                .write(true)
                .open("/dev/null")
                .context("opening /dev/null")?;
            let tail = match child::run(command, &mut sink, progress, Some(LOADING))? {
                Outcome::Ended { status, tail } if status.success() => {
                    self.plugin_version = tail.into_iter().rfind(|l| !l.starts_with("INFO:"));
                    return Ok(());
                }
                Outcome::Ended { tail, .. } => tail,
                Outcome::Silent => vec![format!("no answer within {} s", LOADING.as_secs())],
            };
            let tail: Vec<String> = tail
                .into_iter()
                .filter(|l| !l.starts_with("INFO:"))
                .collect();
            let text = tail.join("\n  ");
            if !self.container.unpack && cannot_mount(&text) {
                tell!("the image cannot be mounted here (/dev/fuse): unpacking it at each start");
                self.container.unpack = true;
                continue;
            }
            bail!(
                "the plugin does not run in {}:\n  {text}\nlauncher doctor looks for the cause",
                self.container.image.display()
            );
        }
    }

    /// `ours` fails where somebody else answers in its place.
    fn wait(
        &self,
        child: &mut Child,
        log: &StartLog,
        progress: &Progress,
        ours: impl Fn() -> Result<()>,
    ) -> Result<()> {
        let api = Api::new(self.conf.listen.local(), self.conf.port);
        let deadline = Instant::now() + self.settings.timeout;
        let mut seen: Vec<i64> = Vec::new();
        let mut found_at = None;
        loop {
            interrupt::check()?;
            if let Some(status) = child.try_wait().context("waiting for Netdata")? {
                bail!("Netdata ended while starting ({status})");
            }
            if let Ok(Listing { charts, .. }) = api.charts() {
                if seen.is_empty() || seen.len() > MOVES {
                    ours()?;
                }
                progress.step_once("waiting for the plugin's first charts");
                let newest = api::newest_of_plugin(&charts);
                if let Some(newest) = newest.filter(|newest| seen.last() != Some(newest)) {
                    seen.push(newest);
                }
                if !self.conf.plugin_enabled {
                    return Ok(());
                }
                if !seen.is_empty() {
                    let since = *found_at.get_or_insert_with(Instant::now);
                    let gpus = self.container.nvidia || self.container.library.is_some();
                    let gpus = gpus && self.settings.gpu != Gpu::Off;
                    let patience = match report::awaited(&charts, gpus) {
                        Awaited::Nothing => Duration::ZERO,
                        Awaited::Servers => FOR_SERVERS,
                        Awaited::Gpus => FOR_GPUS,
                    };
                    if seen.len() > MOVES && since.elapsed() >= patience {
                        return Ok(());
                    }
                }
            }
            match log.verdict().filter(|_| seen.is_empty()) {
                Some(Verdict::GivenUp) => bail!("Netdata has given the plugin up"),
                Some(Verdict::SwitchedOff) => {
                    tell!("rs.d is switched off in rs.d.conf: GPUs and servers are not charted");
                    return Ok(());
                }
                None => {}
            }
            if Instant::now() >= deadline {
                let what = if seen.is_empty() {
                    "no chart of the plugin"
                } else {
                    "the plugin's charts do not move"
                };
                bail!(
                    "{what} after {} s (--timeout)",
                    self.settings.timeout.as_secs()
                );
            }
            thread::sleep(POLL);
        }
    }
}

/// Image, databases and identity as they were before the update, and a start of these.
fn go_back(scene: &Scene, flags: &StartFlags, error: &anyhow::Error) -> Result<ExitCode> {
    tell!("error: the new image does not come up: {error:#}");
    tell!("going back to the image, history and identity of before");
    snapshot::restore(&scene.paths)?;
    if !scene.paths.image().exists() {
        bail!("there was no image before this one");
    }
    let mut prepared = Prepared::new(scene, flags)?;
    prepared.try_file(scene.paths.image())?;
    prepared
        .launch(scene)
        .context("the earlier image does not come up either")?;
    Ok(ExitCode::FAILURE)
}

/// What the runtime says where FUSE cannot be used; it also informs about what it does not need.
fn cannot_mount(text: &str) -> bool {
    const SIGNS: [&str; 4] = [
        "/dev/fuse",
        "squashfuse",
        "squashfs",
        "while mounting image",
    ];
    let mut reasons = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("INFO:"));
    reasons.any(|line| SIGNS.iter().any(|sign| line.contains(sign)))
}

/// `restart` may be called from another directory.
fn absolute(mut flags: StartFlags) -> StartFlags {
    for path in [
        &mut flags.nvml_library,
        &mut flags.plugin,
        &mut flags.conf_dir,
    ] {
        if let Some(full) = path
            .as_ref()
            .and_then(|path| std::path::absolute(path).ok())
        {
            *path = Some(full);
        }
    }
    if let Some(image) = flags
        .image
        .as_ref()
        .filter(|image| Path::new(image).is_file())
        && let Ok(full) = std::path::absolute(image)
    {
        flags.image = Some(full.to_string_lossy().into_owned());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_mount_leads_to_unpacking() {
        assert!(cannot_mount(
            "FATAL: while mounting image /x.sif: fusermount"
        ));
        assert!(!cannot_mount(
            "INFO:    fuse2fs not found\n  FATAL:   permission denied"
        ));
        assert!(!cannot_mount("version `GLIBC_2.99' not found"));
    }
}
