//! `run`: keeps the server's tree alive in the foreground, restarts it on command, and leaves nothing
//! behind when it ends.

mod link;
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{SigSet, Signal};
use serde_json::{Value, json};

use crate::cli::{RunArgs, ServerConfig};
use crate::control::{self, Command};
use crate::replay::{Capture, Gauges};
use link::Running;

/// What the supervisor waits for.
enum Event {
    Command(Command),
    Signal(Signal),
}

struct Supervisor {
    args: RunArgs,
    /// How the next server starts.
    config: ServerConfig,
    model: String,
    /// The port in use, also if a free one was asked for.
    port: u16,
    running: Option<Running>,
    restarts: u32,
    /// Requests and scheduler connections of the servers that ended.
    past_requests: BTreeMap<String, u64>,
    past_connections: u64,
    /// Made by this run, and removed at its end.
    files: Vec<PathBuf>,
}

/// Runs a server in the foreground until told to end.
///
/// # Errors
/// If it cannot start, or the server ends by itself and there is no control socket to restart it.
pub fn run(args: &RunArgs) -> Result<()> {
    let (sender, events) = channel();
    processes::adopt_orphans(args.die_with_parent)?;
    watch_signals(sender.clone())?;
    let capture = fs::canonicalize(&args.capture)
        .with_context(|| format!("finding the capture {}", args.capture.display()))?;
    let model = Capture::load(&capture, args.model.as_deref(), &args.gauge_ranges)?.model;
    let mut supervisor = Supervisor {
        config: ServerConfig::new(args, capture),
        args: args.clone(),
        model,
        port: args.port,
        running: None,
        restarts: 0,
        past_requests: BTreeMap::new(),
        past_connections: 0,
        files: Vec::new(),
    };
    supervisor.start()?;
    let outcome = supervisor.attend(sender, &events);
    supervisor.stop();
    for file in &supervisor.files {
        let _ = fs::remove_file(file);
    }
    outcome
}

/// Turns signals into events. Must run before any other thread starts.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let watched = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD]);
    watched.thread_block().context("blocking signals")?;
    thread::spawn(move || {
        while let Ok(signal) = watched.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

impl Supervisor {
    fn attend(&mut self, sender: Sender<Event>, events: &Receiver<Event>) -> Result<()> {
        if let Some(path) = &self.args.control {
            control::listen(open_socket(path)?, sender, Event::Command);
            self.files.push(path.clone());
        }
        if let Some(path) = &self.args.pid_file {
            fs::write(path, format!("{}\n", std::process::id()))
                .with_context(|| format!("writing {}", path.display()))?;
            self.files.push(path.clone());
        }
        self.announce();
        loop {
            match events.recv().context("waiting for events")? {
                Event::Signal(Signal::SIGCHLD) => self.notice_end()?,
                Event::Signal(_) => return Ok(()),
                Event::Command(command) if command.line == "quit" => {
                    self.stop();
                    command.reply("ok");
                    return Ok(());
                }
                Event::Command(command) => match self.execute(&command.line) {
                    Ok(reply) => command.reply(&reply),
                    Err(error) => command.reply(&format!("error: {error:#}").replace('\n', " ")),
                },
            }
        }
    }

    fn announce(&self) {
        let address = std::net::SocketAddr::new(self.args.host, self.port);
        let pid = self
            .running
            .as_ref()
            .map_or(0, |running| running.pid.as_raw());
        // Whoever closed our output does not want to know.
        let _ = writeln!(
            io::stdout(),
            "fake-sglang: listening on http://{address} (pid {pid})"
        );
    }

    fn start(&mut self) -> Result<()> {
        let running = Running::start(&self.args, &mut self.config, &self.model, self.port)?;
        self.port = running.port;
        self.running = Some(running);
        Ok(())
    }

    /// Kills the tree and waits until it is gone.
    fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            processes::signal(running.pid, Signal::SIGKILL);
            processes::reap_all();
        }
    }

    /// Says so when the server ended unasked; without a control socket that is the end.
    fn notice_end(&mut self) -> Result<()> {
        for (pid, how) in processes::reap_ended() {
            if self
                .running
                .as_ref()
                .is_some_and(|running| running.pid == pid)
            {
                self.running = None;
                // Its helpers die with it; they must be gone before anyone looks.
                processes::reap_all();
                if self.args.control.is_none() {
                    bail!("the server (pid {pid}) ended: {how}");
                }
                eprintln!("fake-sglang: the server (pid {pid}) ended: {how}; `restart` starts it");
            }
        }
        Ok(())
    }

    fn execute(&mut self, line: &str) -> Result<String> {
        // A command may overtake the signal of a death.
        self.notice_end()?;
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "restart" => self.restart(match argument.trim() {
                "" => false,
                "loading" => true,
                other => bail!("`{other}`: a server restarts, or restarts loading"),
            }),
            "kill" => {
                self.server()?;
                self.stop();
                Ok("ok".to_owned())
            }
            "stop-scheduler" => self.schedulers(Signal::SIGSTOP, "engine off"),
            "cont-scheduler" => self.schedulers(Signal::SIGCONT, "engine on"),
            "state" => self.state(),
            "requests" => Ok(json!(self.requests()?).to_string()),
            "engine" => bail!("unknown command `engine`"),
            _ => {
                let reply = self.server()?.ask(line)?;
                match verb {
                    "growth" => self.config.growth = argument.trim().parse()?,
                    "gauges" if argument.trim() == "swing" => self.config.gauges = Gauges::Swing,
                    "gauges" => self.config.gauges = Gauges::Hold,
                    _ => {}
                }
                Ok(reply)
            }
        }
    }

    fn server(&mut self) -> Result<&mut Running> {
        self.running
            .as_mut()
            .ok_or_else(|| anyhow!("the server is down; `restart` starts it"))
    }

    /// A new process: growth and gauges as last set, no faults, counters from zero.
    fn restart(&mut self, loading: bool) -> Result<String> {
        // A server that no longer answers takes its counts along.
        if let (Ok(requests), Ok(connections)) = (self.requests(), self.connections()) {
            (self.past_requests, self.past_connections) = (requests, connections);
        }
        self.stop();
        self.config.from_zero = true;
        self.config.loading = loading;
        self.start()?;
        self.restarts += 1;
        Ok("ok".to_owned())
    }

    fn schedulers(&mut self, signal: Signal, engine: &str) -> Result<String> {
        let server = self.server()?;
        let reply = server.ask(engine)?;
        server
            .schedulers()
            .for_each(|pid| processes::signal(pid, signal));
        Ok(reply)
    }

    fn requests(&mut self) -> Result<BTreeMap<String, u64>> {
        let mut sum = self.past_requests.clone();
        if let Some(server) = &mut self.running {
            let now: BTreeMap<String, u64> = serde_json::from_str(&server.ask("requests")?)?;
            for (path, count) in now {
                *sum.entry(path).or_default() += count;
            }
        }
        Ok(sum)
    }

    fn connections(&mut self) -> Result<u64> {
        let state: Value = serde_json::from_str(&self.server()?.ask("state")?)?;
        Ok(self.past_connections + state["scheduler_connections"].as_u64().unwrap_or(0))
    }

    fn state(&mut self) -> Result<String> {
        let connections = self.connections()?;
        let server = self.server()?;
        let mut state: Value = serde_json::from_str(&server.ask("state")?)?;
        state["pids"] = server.processes["pids"].clone();
        state["scheduler_ports"] = server.processes["scheduler_ports"].clone();
        state["pids"]["run"] = json!([std::process::id()]);
        state["port"] = json!(self.port);
        state["restarts"] = json!(self.restarts);
        state["scheduler_connections"] = json!(connections);
        Ok(state.to_string())
    }
}

fn open_socket(path: &Path) -> Result<UnixListener> {
    let bind = || UnixListener::bind(path);
    let socket = match bind() {
        // Left by a run that was killed; one that still serves answers, and keeps its socket.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                bail!("the control socket {} is in use", path.display());
            }
            fs::remove_file(path)?;
            bind()
        }
        other => other,
    };
    socket.with_context(|| format!("opening the control socket {}", path.display()))
}
