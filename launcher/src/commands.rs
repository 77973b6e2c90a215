//! The verbs, and what all of them need: the home, the settings' layers and the instance.

mod claim;
mod clean;
mod config;
mod doctor;
mod exec;
mod foreground;
mod keep;
mod logs;
mod notify;
mod open;
mod pages;
mod pull;
mod restart;
mod service;
mod start;
mod status;
mod stop;
mod stream;
mod uninstall;
mod update;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli::{Cli, Command, StartFlags};
use crate::instance::{Instance, beside};
use crate::interrupt;
use crate::lock::{self, Lock};
use crate::notify::deliver;
use crate::paths::Paths;
use crate::process::Proc;
use crate::settings::{Invalid, Layers, Settings, env_file};
use crate::state_place;

/// What every command works on.
#[derive(Debug)]
struct Scene {
    paths: Paths,
    layers: Layers,
    proc: Proc,
    host: String,
    instance: Instance,
    /// Where the state was the last time, if that was another place.
    moved_from: Option<PathBuf>,
    home_from: &'static str,
    env_file: PathBuf,
    env_file_from: &'static str,
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<ExitCode> {
    // These know of no home.
    match &cli.command {
        Command::Completions(args) => return pages::completions(args),
        Command::Man(args) => return pages::manual(args),
        Command::Session(args) => return beside::become_runtime(args).map(|()| ExitCode::FAILURE),
        Command::Watch(args) => return beside::watch(args).map(|()| ExitCode::SUCCESS),
        Command::Deliver(args) => return deliver(args).map(|()| ExitCode::SUCCESS),
        _ => {}
    }
    let scene = Scene::new(cli.home, cli.env_file)?;
    match cli.command {
        Command::Pull(args) => pull::run(&scene, &args),
        Command::Start(args) => foreground::start(&scene, &args),
        Command::Stop => stop::run(&scene),
        Command::Restart(flags) => restart::run(&scene, flags),
        Command::Update(args) => update::run(&scene, &args),
        Command::Shell => exec::shell(&scene),
        Command::Exec(args) => exec::run(&scene, &args),
        Command::Status(args) => status::run(&scene, &args),
        Command::Logs(args) => logs::run(&scene, &args),
        Command::Config(args) => config::run(&scene, &args),
        Command::Doctor(args) => doctor::run(&scene, &args),
        Command::Claim(args) => claim::run(&scene, &args),
        Command::Stream(args) => stream::run(&scene, &args),
        Command::Notify { verb } => notify::run(&scene, verb.as_ref()),
        Command::Service(verb) => service::run(&scene, verb),
        Command::Open => open::run(&scene),
        Command::Clean(args) => clean::run(&scene, &args),
        Command::Uninstall(args) => uninstall::run(&scene, &args),
        Command::Completions(_)
        | Command::Man(_)
        | Command::Session(_)
        | Command::Watch(_)
        | Command::Deliver(_) => Ok(ExitCode::SUCCESS),
    }
}

impl Scene {
    /// The home is named by the flag or the environment: the file with the other settings lies in it.
    fn new(home: Option<PathBuf>, env_file: Option<PathBuf>) -> Result<Self> {
        let environment: BTreeMap<String, String> = env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let named = |key: &str| {
            environment
                .get(key)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let from = |flag: bool, key: &str| match (flag, named(key)) {
            (true, _) => "flag",
            (false, Some(_)) => "environment",
            (false, None) => "default",
        };
        let home_from = from(home.is_some(), "LAUNCHER_HOME");
        let env_file_from = from(env_file.is_some(), "LAUNCHER_ENV_FILE");
        let home = match home.or_else(|| named("LAUNCHER_HOME")) {
            Some(home) => home,
            None => Paths::default_home()?,
        };
        let paths = Paths::new(&home)?;
        let asked = env_file.or_else(|| named("LAUNCHER_ENV_FILE"));
        let path = asked.clone().unwrap_or_else(|| paths.env_file());
        let file = env_file::read(&path, asked.is_some())?;
        let layers = Layers {
            environment,
            file: file.values,
        };
        for warning in &file.warnings {
            tell!("warning: {warning}");
        }
        for key in layers.unknown() {
            tell!("warning: {key} is no setting of the launcher: is it misspelt?");
        }
        let host = nix::unistd::gethostname().context("asking for this machine's name")?;
        let host = host.to_string_lossy().into_owned();
        let proc = Proc::system();
        let shared = layers.get(state_place::SHARED);
        let machine = state_place::machine(&proc, &paths, &host, shared)?;
        let paths = paths.with_machine(machine);
        let asked = layers.get(state_place::VARIABLE);
        let place = state_place::find(&proc, &paths, &host, asked)?;
        let moved_from = place.moved_from;
        let paths = paths.with_state(place.state);
        let instance = Instance::new(&proc, &paths, &host);
        Ok(Self {
            paths,
            layers,
            proc,
            host,
            instance,
            moved_from,
            home_from,
            env_file: path,
            env_file_from,
        })
    }

    /// The checked settings; what is wrong with them is wrong usage.
    fn settings(&self, flags: &StartFlags) -> Result<Settings> {
        Settings::resolve(flags, &self.layers).context(Invalid)
    }

    /// Waits until whoever changes something is done. Nothing is made: there may be nothing left.
    fn settled(&self, verb: &str) -> Result<Option<Lock>> {
        lock::take_existing(&self.paths.lock_file(), verb, lock::PATIENCE)
    }

    /// For commands that change something: makes the home, and takes it for this command alone.
    fn take(&self, verb: &str) -> Result<Lock> {
        interrupt::catch();
        self.paths.create()?;
        let lock = lock::take(&self.paths.lock_file(), verb, lock::PATIENCE)?;
        state_place::settle(&self.paths, &self.host, self.moved_from.as_deref())?;
        Ok(lock)
    }
}
