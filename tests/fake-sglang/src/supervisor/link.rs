//! A running server as the supervisor sees it: its pid, and the line protocol to it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use super::processes;
use crate::cli::{RunArgs, ServerConfig};
use crate::server::NOT_YET;
use crate::tree;

/// How long the server may take to start or to answer a command.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A server that has started.
pub struct Running {
    pub pid: Pid,
    pub port: u16,
    /// `pids` by role and `scheduler_ports`.
    pub processes: Value,
    link: BufReader<UnixStream>,
    /// Number of the last line sent: a reply that comes too late is told from the one awaited.
    sent: u64,
}

impl Running {
    /// Starts a server and returns once it listens and its helpers run.
    ///
    /// # Errors
    /// If the port is taken or a process does not start.
    pub fn start(
        args: &RunArgs,
        config: &mut ServerConfig,
        model: &str,
        port: u16,
    ) -> Result<Self> {
        let listener = match config.loading {
            true if port == 0 => bail!("a server that is loading needs a --port"),
            true => None,
            false => Some(
                TcpListener::bind((args.host, port))
                    .with_context(|| format!("listening on {} port {port}", args.host))?,
            ),
        };
        let port = match &listener {
            Some(listener) => listener.local_addr()?.port(),
            None => port,
        };
        config.port = port;
        let argv = match &args.cmdline {
            Some(line) => {
                let words = tree::words(line).map_err(|error| anyhow!(error))?;
                words
                    .iter()
                    .map(|word| word.replace("{port}", &port.to_string()))
                    .collect()
            }
            None => {
                let host = args.host.to_string();
                tree::server_argv(model, &host, port, args.tp, args.dp, config.metrics)
            }
        };
        // The server inherits the socket; only it may hold it, so this copy goes with the function.
        config.listener_fd = NOT_YET;
        if let Some(listener) = &listener {
            fcntl(listener, FcntlArg::F_SETFD(FdFlag::empty())).context("passing on the socket")?;
            config.listener_fd = listener.as_raw_fd();
        }
        let (ours, theirs) = UnixStream::pair().context("opening the link to the server")?;
        ours.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let server = tree::spawn_server(config, &argv, OwnedFd::from(theirs).into())?;
        let pid = Pid::from_raw(i32::try_from(server.id()).context("a pid beyond pid_t")?);
        let mut running = Self {
            pid,
            port,
            processes: Value::Null,
            link: BufReader::new(ours),
            sent: 0,
        };
        let greeting = running
            .receive()
            .and_then(|text| Ok(serde_json::from_str(&text)?));
        match greeting {
            Ok(processes) => running.processes = processes,
            Err(error) => {
                processes::signal(pid, Signal::SIGKILL);
                processes::reap_all();
                return Err(error.context("the server did not start"));
            }
        }
        Ok(running)
    }

    /// Sends one command and returns the reply.
    ///
    /// # Errors
    /// If the server refuses the command, is gone, or does not answer.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.sent += 1;
        let sent = self.sent;
        writeln!(self.link.get_ref(), "{sent} {command}").context("the server is gone")?;
        let reply = self.receive()?;
        match reply.strip_prefix("error: ") {
            Some(error) => bail!("{error}"),
            None => Ok(reply),
        }
    }

    /// Pids of the schedulers.
    pub fn schedulers(&self) -> impl Iterator<Item = Pid> {
        let pids = self.processes["pids"]["schedulers"].as_array();
        let pids = pids.into_iter().flatten().filter_map(Value::as_i64);
        pids.filter_map(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw)
    }

    fn receive(&mut self) -> Result<String> {
        let number = format!("{} ", self.sent);
        loop {
            let mut line = String::new();
            let read = self
                .link
                .read_line(&mut line)
                .context("the server does not answer")?;
            if read == 0 {
                bail!("the server ended");
            }
            if let Some(reply) = line.strip_prefix(&number) {
                return Ok(reply.trim_end().to_owned());
            }
        }
    }
}
