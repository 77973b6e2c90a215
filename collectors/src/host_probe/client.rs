//! Asks the host probe. Every request is a connection of its own, so that a probe that was started again is
//! found at once, and none waits behind another.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::socket::sockopt::{PeerCredentials, SendTimeout};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket,
};
use nix::sys::time::TimeVal;

use super::Cursor;
use super::SOCKET_NAME;
use super::log_tail::Tail;
use super::process::Usage;
use super::protocol::{DATA, ERROR, GREETING, MAX_ANSWER, MAX_PROCESSES, OK, ProcessId, Request};

/// Time for a whole answer; what takes longer hangs.
const PATIENCE_SECONDS: i64 = 2;
const PATIENCE: Duration = Duration::from_secs(PATIENCE_SECONDS.unsigned_abs());
/// After a request that hung, nobody asks for this long: a probe that is stopped must not hold up ticks.
const PAUSE: Duration = Duration::from_secs(30);
/// Several modules ask for a process's sockets, every few seconds; a server keeps its own until it ends.
const SOCKETS_KEEP: Duration = Duration::from_secs(30);
/// The same while nothing listens: a server is about to.
const NO_SOCKETS_KEEP: Duration = Duration::from_secs(2);
/// Nobody asks for a process any more that nobody has asked for in this time.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The probe of this host, if there is one.
#[derive(Debug)]
pub struct HostProbe {
    socket: Option<PathBuf>,
    state: Mutex<State>,
    sockets: Mutex<BTreeMap<ProcessId, Sockets>>,
}

/// Where a process listens, if that was told, and when to ask again.
#[derive(Debug)]
struct Sockets {
    ask_at: Instant,
    addresses: Option<Vec<SocketAddr>>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unanswered {
    /// The probe cannot or must not say it.
    Refused,
    /// There is no probe.
    Away,
}

/// What is known of the probe.
#[derive(Debug, Default)]
struct State {
    answers: Option<bool>,
    ask_again_at: Option<Instant>,
}

/// What the probe answered.
enum Answer {
    /// The lines of data.
    Lines(Vec<String>),
    /// It cannot say, and why.
    Refused(String),
}

impl HostProbe {
    /// The probe whose socket lies in the run directory that the agent names in our environment.
    #[must_use]
    pub fn of_the_agent() -> Self {
        let run_dir = std::env::var_os("NETDATA_RUN_DIR");
        Self::new(run_dir.as_deref().map(Path::new))
    }

    /// The probe whose socket lies in the agent's run directory.
    #[must_use]
    pub fn new(run_dir: Option<&Path>) -> Self {
        Self {
            socket: run_dir.map(|dir| dir.join(SOCKET_NAME)),
            state: Mutex::default(),
            sockets: Mutex::default(),
        }
    }

    /// Where the process listens, the lowest port first; `None` if nobody can tell: no probe, another user's
    /// process, another network namespace. At most half a minute old, unless the probe is away: what it has
    /// told of a process goes on counting then.
    pub fn listening(&self, id: ProcessId, now: Instant) -> Option<Vec<SocketAddr>> {
        if let Some(known) = self.sockets().get(&id)
            && now < known.ask_at
        {
            return known.addresses.clone();
        }
        let addresses = match self.ask(&Request::Listening(id)) {
            Ok(lines) => Some(lines.iter().filter_map(|line| line.parse().ok()).collect()),
            Err(Unanswered::Refused) => None,
            Err(Unanswered::Away) => self.known_listening(id),
        };
        let addresses: Option<Vec<_>> = addresses;
        let some = addresses.as_ref().is_some_and(|it| !it.is_empty());
        let sockets = Sockets {
            ask_at: now + if some { SOCKETS_KEEP } else { NO_SOCKETS_KEEP },
            addresses: addresses.clone(),
        };
        let mut all = self.sockets();
        all.retain(|_, sockets| now < sockets.ask_at + FORGOTTEN);
        all.insert(id, sockets);
        addresses
    }

    /// The same without asking: what was told last.
    #[must_use]
    pub fn known_listening(&self, id: ProcessId) -> Option<Vec<SocketAddr>> {
        self.sockets().get(&id)?.addresses.clone()
    }

    /// Open files and disk I/O by pid; nothing of a process that cannot be read.
    #[must_use]
    pub fn usage(&self, ids: &[ProcessId]) -> BTreeMap<u32, Usage> {
        let mut usage = BTreeMap::new();
        for ids in ids.chunks(MAX_PROCESSES) {
            let Ok(lines) = self.ask(&Request::Usage(ids.to_vec())) else {
                break;
            };
            usage.extend(lines.iter().filter_map(|line| usage_of(line)));
        }
        usage
    }

    /// Proportional set size in bytes. Minutes old at times: reading it is work for the kernel.
    #[must_use]
    pub fn pss_bytes(&self, id: ProcessId) -> Option<u64> {
        self.ask(&Request::Pss(id)).ok()?.first()?.parse().ok()
    }

    /// Whose a process is, in the host's numbers: inside the container every other user is hidden.
    #[must_use]
    pub fn owner(&self, id: ProcessId) -> Option<u32> {
        self.ask(&Request::Owner(id)).ok()?.first()?.parse().ok()
    }

    /// `CUDA_VISIBLE_DEVICES` and `SLURM_JOB_ID` of a process, where it has them.
    #[must_use]
    pub fn place(&self, id: ProcessId) -> Option<BTreeMap<String, String>> {
        let lines = self.ask(&Request::Place(id)).ok()?;
        let pairs = lines.iter().filter_map(|line| line.split_once(' '));
        Some(pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
    }

    /// The statistics lines that the process's log has gained since `cursor`; `None` if it has no log that
    /// may be read.
    #[must_use]
    pub fn log(&self, id: ProcessId, cursor: &Cursor) -> Option<Tail> {
        let lines = self.ask(&Request::Log(id, *cursor)).ok()?;
        let mut tail = Tail::default();
        for line in lines {
            match line.split_once(' ') {
                Some(("at", cursor)) => tail.cursor = cursor.parse().ok()?,
                Some(("line", line)) => tail.lines.push(line.to_owned()),
                _ => tail.skipped |= line == "skipped",
            }
        }
        Some(tail)
    }

    fn ask(&self, request: &Request) -> Result<Vec<String>, Unanswered> {
        let began = Instant::now();
        if self.state().ask_again_at.is_some_and(|at| began < at) {
            return Err(Unanswered::Away);
        }
        let outcome = self.converse(request);
        self.tell(&outcome, began);
        match outcome {
            Ok(Answer::Lines(lines)) => Ok(lines),
            Ok(Answer::Refused(why)) => {
                log::debug!("the host probe on {request}: {why}");
                Err(Unanswered::Refused)
            }
            Err(_) => Err(Unanswered::Away),
        }
    }

    fn converse(&self, request: &Request) -> anyhow::Result<Answer> {
        let path = self
            .socket
            .as_deref()
            .context("NETDATA_RUN_DIR is not set")?;
        let until = Instant::now() + PATIENCE;
        let stream = connected(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        writeln!(&stream, "{request}")?;
        let mut reader = BufReader::new((&stream).take(MAX_ANSWER as u64)).lines();
        let mut next = || -> anyhow::Result<String> {
            ensure!(Instant::now() < until, "it answers too slowly");
            Ok(reader.next().context("its answer is cut off")??)
        };
        let greeting = next()?;
        ensure!(
            greeting == GREETING,
            "it speaks another version of the protocol: start Netdata again (launcher restart)"
        );
        let mut lines = Vec::new();
        loop {
            let line = next()?;
            if let Some(data) = line.strip_prefix(DATA) {
                lines.push(data.to_owned());
            } else if line == OK {
                return Ok(Answer::Lines(lines));
            } else if let Some(why) = line.strip_prefix(ERROR) {
                return Ok(Answer::Refused(why.to_owned()));
            } else {
                bail!("it answers nonsense");
            }
        }
    }

    /// Logs when it stops answering, and when it answers again.
    fn tell(&self, outcome: &anyhow::Result<Answer>, began: Instant) {
        let mut state = self.state();
        let before = state.answers.replace(outcome.is_ok());
        let now = Instant::now();
        let hung = outcome.is_err() && now - began >= PATIENCE;
        state.ask_again_at = hung.then(|| now + PAUSE);
        match outcome {
            Err(error) if before != Some(false) => log::info!(
                "the host probe does not answer ({error:#}): without it open files, disk I/O, PSS and \
                 the logs of servers without metrics are not read, and ports are taken from command lines"
            ),
            Ok(_) if before == Some(false) => log::info!("the host probe answers again"),
            _ => {}
        }
    }

    fn sockets(&self) -> MutexGuard<'_, BTreeMap<ProcessId, Sockets>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to the probe of our own user, within a bounded time.
fn connected(path: &Path) -> anyhow::Result<UnixStream> {
    let reaching = || format!("connecting to {}", path.display());
    let socket = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .context("opening a socket")?;
    // A probe that is stopped accepts nothing, and connecting would wait for ever.
    setsockopt(&socket, SendTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))?;
    let address = UnixAddr::new(path).with_context(reaching)?;
    connect(socket.as_raw_fd(), &address).with_context(reaching)?;
    let peer = getsockopt(&socket, PeerCredentials)?;
    ensure!(
        peer.uid() == nix::unistd::geteuid().as_raw(),
        "another user's process listens on {}",
        path.display()
    );
    Ok(UnixStream::from(socket))
}

fn usage_of(line: &str) -> Option<(u32, Usage)> {
    let mut words = line.split(' ');
    let pid = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse().ok();
    let usage = Usage {
        open_files: number(),
        read_bytes: number(),
        write_bytes: number(),
    };
    Some((pid, usage))
}
