//! The control socket: clients send lines, the supervisor answers each with one line.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Longest command line.
const MAX_COMMAND: u64 = 4 << 10;
/// How long a client waits for its reply; a restart takes the longest.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A command, and the connection that waits for its reply.
pub struct Command {
    pub line: String,
    client: UnixStream,
}

impl Command {
    /// Sends the reply; a client that has left does not get it.
    pub fn reply(&self, text: &str) {
        let _ = writeln!(&self.client, "{text}");
    }
}

/// Takes commands from `listener` and passes them on as `event` makes them.
pub fn listen<E: Send + 'static>(
    listener: UnixListener,
    events: Sender<E>,
    event: fn(Command) -> E,
) {
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let events = events.clone();
            thread::spawn(move || {
                let _ = take(&client, |command| events.send(event(command)).is_ok());
            });
        }
    });
}

fn take(client: &UnixStream, pass_on: impl Fn(Command) -> bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(client);
    loop {
        let mut line = String::new();
        let read = (&mut reader).take(MAX_COMMAND).read_line(&mut line)?;
        let command = Command {
            line: line.trim().to_owned(),
            client: client.try_clone()?,
        };
        if read == 0 || !pass_on(command) {
            return Ok(());
        }
    }
}

/// Sends `line` to the socket and prints the reply.
///
/// # Errors
/// If nobody answers, or the reply is an error.
pub fn ask(socket: &Path, line: &str) -> Result<()> {
    let stream = UnixStream::connect(socket)
        .with_context(|| format!("connecting to {}", socket.display()))?;
    stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
    writeln!(&stream, "{line}")?;
    let mut reply = String::new();
    BufReader::new(&stream)
        .read_line(&mut reply)
        .context("waiting for the reply")?;
    match reply.trim_end() {
        "" => bail!("{} closed without a reply", socket.display()),
        text if text.starts_with("error: ") => bail!("{}", &text["error: ".len()..]),
        text => writeln!(std::io::stdout(), "{text}").context("printing the reply"),
    }
}
