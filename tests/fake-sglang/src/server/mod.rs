//! The main process: starts its helpers, answers HTTP, obeys the supervisor.

mod commands;
mod log;
mod state;

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::wait::wait;

use crate::cli::ServerConfig;
use crate::http;
use crate::tree::{self, Report};

pub use state::Server;

/// In place of a listening socket's descriptor: it loads, and will listen when told.
pub const NOT_YET: i32 = -1;
/// File descriptor of the link to the supervisor.
const STDIN: i32 = 0;

/// Runs the server until a helper or the supervisor is gone.
///
/// # Errors
/// If it cannot start, or a helper ended: a real server does not outlive its scheduler either.
pub fn serve(config: ServerConfig) -> Result<()> {
    let listener = match config.listener_fd {
        NOT_YET => None,
        fd => Some(TcpListener::from(inherited(fd)?)),
    };
    let link = UnixStream::from(inherited(STDIN)?);
    let (read, write) = io::pipe().context("opening the helpers' pipe")?;
    let mut reports = BufReader::new(read).lines();
    let expected = tree::spawn_helpers(&config, &write)?;
    drop(write);
    let mut helpers = Vec::new();
    while helpers.len() < expected {
        let line = reports.next().context("a helper ended while starting")??;
        if let Report::Ready { .. } = line.parse()? {
            helpers.push(line.parse()?);
        }
    }
    if let Some(percent) = config.log {
        let path = config.capture.join("server.log");
        let lines = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        thread::spawn(move || log::replay(&lines, percent));
    }
    let server = Arc::new(Server::new(config, helpers)?);
    let counting = Arc::clone(&server);
    thread::spawn(move || {
        let connections = reports
            .map_while(Result::ok)
            .filter(|line| line == "connection");
        connections.for_each(|_| counting.count_connection());
    });
    if let Some(listener) = listener {
        let answering = Arc::clone(&server);
        thread::spawn(move || http::serve(&listener, &answering));
    }
    thread::spawn(move || {
        let _ = obey(&link, &server);
        // Only a supervisor that is gone closes the link.
        std::process::exit(0);
    });
    let ended = wait().context("waiting for the helpers")?;
    bail!("a helper ended, and the server with it: {ended:?}")
}

/// A descriptor the supervisor left open for this process, and for no other.
fn inherited(fd: i32) -> Result<OwnedFd> {
    // SAFETY: the supervisor opened it for this process, and nothing else here uses the number.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).context("taking an inherited descriptor")?;
    Ok(fd)
}

/// Greets the supervisor, then answers each numbered line with one of the same number.
fn obey(link: &UnixStream, server: &Arc<Server>) -> io::Result<()> {
    let mut writer = link;
    writeln!(writer, "0 {}", server.processes())?;
    for line in BufReader::new(link).lines() {
        let line = line?;
        let (number, command) = line.split_once(' ').unwrap_or((&line, ""));
        let reply = commands::execute(server, command).unwrap_or_else(|e| format!("error: {e}"));
        writeln!(writer, "{number} {reply}")?;
    }
    Ok(())
}
