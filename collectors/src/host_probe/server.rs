//! The probe itself: a Unix socket of mode 0600, a short-lived thread for each request, and the end together
//! with whoever holds its standard input.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{self as net, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};

use super::log_tail;
use super::process::{self, Process};
use super::protocol::{DATA, ERROR, GREETING, MAX_REQUEST, OK, ProcessId, Request};
use super::slow::Slow;

/// How the probe's process is called: not as the plugin whose program it shares. At most 15 bytes.
const COMM: &std::ffi::CStr = c"rs.d-host-probe";
/// Requests answered at once; what comes on top is refused.
const AT_ONCE: usize = 16;
/// A thread needs little: no recursion, buffers on the heap.
const STACK_BYTES: usize = 128 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;
/// Time for the client to send its request and to take the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What every request may use.
#[derive(Debug)]
struct Answerer {
    own_uid: u32,
    pss: Slow,
    busy: AtomicUsize,
}

/// Answers on `socket` until standard input ends.
///
/// # Errors
/// If the socket cannot be made: something else is in its place, or its directory is not there.
pub fn serve(socket: &Path) -> anyhow::Result<()> {
    // A name for `ps`; without it all works.
    let _ = nix::sys::prctl::set_name(COMM);
    let listener = listen(socket).with_context(|| format!("opening {}", socket.display()))?;
    let answerer = Arc::new(Answerer::new(nix::unistd::geteuid().as_raw()));
    log::debug!("the host probe answers on {}", socket.display());
    thread::Builder::new()
        .name("accept".to_owned())
        .spawn(move || accept(&listener, &answerer))
        .context("starting a thread")?;
    // The launcher holds the other end: however it ends, this ends too.
    io::copy(&mut io::stdin().lock(), &mut io::sink()).context("waiting for the launcher")?;
    Ok(())
}

/// Opens the socket in place of an earlier probe's.
fn listen(socket: &Path) -> anyhow::Result<UnixListener> {
    let dir = socket.parent().context("a socket needs a directory")?;
    let name = socket.file_name().context("a socket needs a name")?;
    let dir = File::open(dir)?;
    // An address has room for 107 bytes, and homes may be deep.
    let path = Path::new("/proc/self/fd")
        .join(dir.as_raw_fd().to_string())
        .join(name);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.file_type().is_socket() => fs::remove_file(&path)?,
        Ok(_) => bail!("it exists, and is no socket"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let (family, kind) = (AddressFamily::Unix, SockType::Stream);
    let socket = net::socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    // Before it has a name, so that it never has another mode under it.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    net::bind(socket.as_raw_fd(), &UnixAddr::new(&path)?)?;
    net::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(socket))
}

fn accept(listener: &UnixListener, answerer: &Arc<Answerer>) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // Out of descriptors: they come back as requests end.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        let answerer = Arc::clone(answerer);
        if answerer.busy.fetch_add(1, Ordering::Relaxed) >= AT_ONCE {
            answerer.busy.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        let again = Arc::clone(&answerer);
        let started = thread.spawn(move || {
            // A client that goes away is its own business.
            let _ = answerer.converse(&stream);
            answerer.busy.fetch_sub(1, Ordering::Relaxed);
        });
        if started.is_err() {
            again.busy.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Answerer {
    fn new(own_uid: u32) -> Self {
        Self {
            own_uid,
            pss: Slow::default(),
            busy: AtomicUsize::new(0),
        }
    }

    fn converse(&self, stream: &UnixStream) -> io::Result<()> {
        // The mode of the socket keeps others out already, except root.
        let peer = net::getsockopt(stream, PeerCredentials)?;
        if peer.uid() != self.own_uid {
            return Ok(());
        }
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut writer = stream;
        writeln!(writer, "{GREETING}")?;
        let mut line = String::new();
        BufReader::new(stream.take(MAX_REQUEST as u64)).read_line(&mut line)?;
        let mut answer = String::new();
        let request = line.strip_suffix('\n').map(str::parse::<Request>);
        let outcome = match request {
            Some(Ok(request)) => self.answer(&request, Path::new("/proc"), &mut answer),
            _ => Err("no such request"),
        };
        match outcome {
            Ok(()) => answer += OK,
            Err(why) => answer = format!("{ERROR}{why}"),
        }
        answer.push('\n');
        writer.write_all(answer.as_bytes())
    }

    /// Writes the lines of the answer, or says why there is none. A process that is not the user's own is
    /// answered as one that does not exist, but for the question whose it is.
    fn answer(
        &self,
        request: &Request,
        root: &Path,
        answer: &mut String,
    ) -> Result<(), &'static str> {
        let mut say = |line: &str| *answer += &format!("{DATA}{line}\n");
        let open = |id: &ProcessId| {
            Process::open(root, *id, self.own_uid).ok_or("no such process of this user")
        };
        match request {
            Request::Listening(id) => {
                let addresses = open(id)?.listening();
                for address in addresses.ok_or("its sockets cannot be read")? {
                    say(&address.to_string());
                }
            }
            Request::Usage(ids) => {
                for id in ids {
                    let Ok(process) = open(id) else { continue };
                    let usage = process.usage();
                    let [files, read, written] =
                        [usage.open_files, usage.read_bytes, usage.write_bytes]
                            .map(|value| value.map_or("-".to_owned(), |value| value.to_string()));
                    say(&format!("{} {files} {read} {written}", id.pid));
                }
            }
            Request::Pss(id) => {
                let process = open(id)?;
                let pss = self.pss.get(*id, || process.pss_bytes());
                say(&pss.ok_or("not read yet, or not readable")?.to_string());
            }
            Request::Owner(id) => {
                let uid = process::owner(root, *id).ok_or("no such process")?;
                say(&uid.to_string());
            }
            Request::Place(id) => {
                for (name, value) in open(id)?.place() {
                    say(&format!("{name} {value}"));
                }
            }
            Request::Log(id, cursor) => {
                let tail = log_tail::tail(&open(id)?, cursor);
                let tail = tail.map_err(|_| "neither stdout nor stderr is a regular file")?;
                say(&format!("at {}", tail.cursor));
                if tail.skipped {
                    say("skipped");
                }
                for line in &tail.lines {
                    say(&format!("line {line}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
