//! A reading that is waited for but never waited on: on a thread of its own, or in a child process. A call that
//! hangs in the driver, be it the very first, hangs there.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::helper;
use super::read::{Events, Progress, Trouble};
use super::reading::{Reading, Settings};
use super::snapshot::Snapshot;
use crate::host_probe::HostProbe;

/// The driver's library is on the stack of this thread.
const STACK_BYTES: usize = 1024 * 1024;

/// Longest line of a child: a snapshot of many GPUs and processes is a few hundred kilobytes.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// How long a child that was killed is waited for.
const KILLED_WITHIN: Duration = Duration::from_millis(500);

/// What came of a request, or of the beginning of a thread.
pub enum Reply {
    /// NVML is open. Told once, by a thread.
    Opened {
        /// XID errors, which come also while a reading hangs.
        events: Arc<Events>,
        /// The GPUs that were found, without readings.
        found: Snapshot,
    },
    /// There is nothing to read. Told by a thread, which ends.
    CannotOpen(anyhow::Error),
    /// A reading, and how long it took.
    Read(Box<Snapshot>, Duration),
    /// The driver as a whole is in trouble.
    Failed(Trouble),
}

/// A reading elsewhere.
pub struct Worker {
    ask: Ask,
    /// Answers to requests; closed when the worker is gone.
    pub replies: Receiver<Reply>,
    /// Which call it is in.
    pub progress: Arc<Progress>,
    /// A request is not answered yet, or a thread has not opened NVML.
    pub busy: bool,
}

enum Ask {
    Thread(SyncSender<Instant>),
    Child(ChildStdin, Child),
}

impl Worker {
    /// On a thread of this process, which opens NVML first and says so.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn thread(settings: Settings, probe: Arc<HostProbe>) -> anyhow::Result<Self> {
        let (ask, asked) = sync_channel::<Instant>(1);
        let (tell, replies) = channel();
        let progress = Arc::new(Progress::default());
        progress.begins(None, helper::INITIALISING);
        let theirs = Arc::clone(&progress);
        thread::Builder::new()
            .name("nvml".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                netdata_plugin::log::set_scope("nvidia", "gpus");
                let opened = Reading::open(settings, probe, Arc::clone(&theirs));
                theirs.ends();
                let (reply, reading) = match opened {
                    Ok(reading) => {
                        let events = reading.reader.events();
                        let found = reading.reader.identities();
                        (Reply::Opened { events, found }, Some(reading))
                    }
                    Err(error) => (Reply::CannotOpen(error), None),
                };
                let (Ok(()), Some(mut reading)) = (tell.send(reply), reading) else {
                    return;
                };
                for now in asked {
                    let began = Instant::now();
                    let read = reading.read(now);
                    theirs.ends();
                    let reply = match read {
                        Ok(snapshot) => Reply::Read(Box::new(snapshot.clone()), began.elapsed()),
                        Err(trouble) => Reply::Failed(trouble),
                    };
                    if tell.send(reply).is_err() {
                        return;
                    }
                }
            })
            .context("cannot start a thread to read NVML on")?;
        Ok(Self {
            ask: Ask::Thread(ask),
            replies,
            progress,
            busy: true,
        })
    }

    /// In a child process that runs `program` as a helper.
    ///
    /// # Errors
    /// When the system refuses the process.
    pub fn child(program: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let mut child = Command::new(program)
            .arg("--nvml-helper")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            anyhow::bail!("a helper without pipes");
        };
        let line = serde_json::to_string(settings)?;
        writeln!(stdin, "{line}").context("telling the helper what to read")?;
        let (tell, replies) = channel();
        let progress = Arc::new(Progress::default());
        progress.begins(None, helper::STARTING);
        let theirs = Arc::clone(&progress);
        thread::Builder::new()
            .name("nvml-helper".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || listen(stdout, &theirs, &tell))
            .context("cannot start a thread to hear the helper on")?;
        Ok(Self {
            ask: Ask::Child(stdin, child),
            replies,
            progress,
            busy: false,
        })
    }

    /// Asks for a reading, unless one is under way. False if there is nobody left to ask.
    pub fn request(&mut self, now: Instant) -> bool {
        if self.busy {
            return true;
        }
        self.busy = match &mut self.ask {
            Ask::Thread(ask) => ask.send(now).is_ok(),
            Ask::Child(stdin, _) => stdin.write_all(b"\n").is_ok(),
        };
        self.busy
    }

    /// Ends it. A child that hangs in the kernel does not die of it: it is returned.
    pub fn end(self) -> Option<Child> {
        let Ask::Child(stdin, mut child) = self.ask else {
            return None;
        };
        drop(stdin);
        let _ = child.kill();
        let until = Instant::now() + KILLED_WITHIN;
        while Instant::now() < until {
            if !matches!(child.try_wait(), Ok(None)) {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
        Some(child)
    }
}

/// Hears a child until it ends.
fn listen(stdout: ChildStdout, progress: &Progress, tell: &Sender<Reply>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    let mut began = Instant::now();
    // What the start took is no measure of a reading.
    let mut opening = true;
    loop {
        line.clear();
        match stdout
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
        {
            Ok(length) if length > 0 && line.ends_with(b"\n") => {}
            _ => return,
        }
        let reply = match helper::parse(&line) {
            Some(helper::Line::Call { gpu, call }) => {
                if progress.now().is_none() {
                    began = Instant::now();
                }
                progress.begins(gpu, call);
                continue;
            }
            Some(helper::Line::Read(snapshot)) => {
                let took = began.elapsed();
                let first = std::mem::take(&mut opening);
                Reply::Read(snapshot, if first { Duration::ZERO } else { took })
            }
            Some(helper::Line::Failed(trouble)) => Reply::Failed(trouble),
            None => return,
        };
        progress.ends();
        if tell.send(reply).is_err() {
            return;
        }
    }
}
