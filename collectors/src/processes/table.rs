//! The process table. A full pass lists /proc, but opens files only of processes that are new, young,
//! recognised, or due for a second look: a program may set its title or replace itself while it starts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::newcomers::{Among, Newcomers};
use super::{Files, Stat};

/// Age in seconds up to which a process is looked at again and again: helpers of an engine get their title up
/// to 100 s after their start, and launchers replace themselves.
const YOUNG: u64 = 180;
/// Parts of its age after which a young process that is not recognised is looked at again: one that gets its
/// title after 100 s is recognised 13 s later, and a thousand that start at once cost little.
const OF_ITS_AGE: u64 = 8;
/// The same of one that has not run since the last look: none becomes an engine in its sleep.
const OF_ITS_AGE_ASLEEP: u64 = 2;
/// Pause between two looks at an older process that is not recognised.
const SECOND_LOOK: Duration = Duration::from_secs(60);
/// The same where it has not run meanwhile: of thousands of processes most sleep for days.
const ASLEEP_LOOK: Duration = Duration::from_secs(300);
/// Longest command line read; an engine's has under 4 KiB.
const MAX_CMDLINE: usize = 32 * 1024;
/// The process that every kernel thread but the first descends from.
pub const KERNEL_THREADS: u32 = 2;
/// Pause between two looks at a kernel thread: a machine with many cores has thousands.
const KERNEL_LOOK: Duration = Duration::from_secs(3600);

/// One process. `I` is what its command line was recognised as; the command line itself is not kept,
/// because it may hold secrets.
#[derive(Clone, Debug)]
pub struct Process<I> {
    /// Its pid.
    pub pid: u32,
    /// Its parent's.
    pub ppid: u32,
    /// Start in clock ticks since boot.
    pub start_ticks: u64,
    /// What it is.
    pub identity: I,
    comm: Comm,
    /// Clock ticks in user mode and in the kernel at the last look.
    cpu_ticks: (u64, u64),
    look_again: Instant,
    pass: u64,
}

/// Longest name that the kernel gives a process; kernel threads may have more.
const COMM_BYTES: usize = 15;

/// A process's name, as far as it tells whether that has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Comm([u8; COMM_BYTES]);

impl Comm {
    fn of(name: &str) -> Self {
        let mut comm = Self::default();
        for (to, from) in comm.0.iter_mut().zip(name.bytes()) {
            *to = from;
        }
        comm
    }
}

/// All living processes that could be read.
#[derive(Debug)]
pub struct ProcessTable<I> {
    files: Files,
    identify: fn(cmdline: &[u8]) -> Option<I>,
    processes: BTreeMap<u32, Process<Option<I>>>,
    pass: u64,
    newcomers: Newcomers,
    /// Who is due for a look; kept for its memory.
    due: Vec<u32>,
    ticks_per_second: u64,
    /// Clock ticks since boot at this pass; `None` if nobody knows.
    now_ticks: Option<u64>,
}

impl<I> ProcessTable<I> {
    /// A table over the /proc at `root`. `identify` gets a process's raw command line.
    #[must_use]
    pub fn new(root: &Path, identify: fn(&[u8]) -> Option<I>) -> Self {
        Self {
            files: Files::new(root),
            identify,
            processes: BTreeMap::new(),
            pass: 0,
            newcomers: Newcomers::default(),
            due: vec![],
            ticks_per_second: ticks_per_second(),
            now_ticks: None,
        }
    }

    /// Where it reads.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.files.root()
    }

    /// Finds new processes, forgets those that ended, and refreshes the recognised ones. Strangers that ended are
    /// forgotten within a minute.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn scan(&mut self, now: Instant) -> io::Result<()> {
        self.pass += 1;
        self.now_ticks = self
            .uptime_seconds()
            .map(|seconds| seconds * self.ticks_per_second);
        match self.newcomers.look(self.files.root(), now) {
            Among::All => self.list(now).inspect_err(|_| self.newcomers.forget())?,
            Among::Numbers(numbers) => {
                for pid in numbers {
                    // Whoever had this number before is gone.
                    self.processes.remove(&pid);
                    if self.files.is_process(pid) {
                        self.visit(pid, now);
                    }
                }
                self.visit_known(now);
            }
        }
        let pass = self.pass;
        self.processes.retain(|_, process| process.pass == pass);
        Ok(())
    }

    /// Visits whoever is there.
    fn list(&mut self, now: Instant) -> io::Result<()> {
        let mut entries = Dir::open(
            self.root(),
            OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?;
        for entry in entries.iter() {
            let entry = entry?;
            if let Some(pid) = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|it| it.parse().ok())
            {
                self.visit(pid, now);
            }
        }
        Ok(())
    }

    /// Visits whom a look is due at; the others are taken to be there.
    fn visit_known(&mut self, now: Instant) {
        let mut due = std::mem::take(&mut self.due);
        due.clear();
        for known in self.processes.values_mut() {
            if now >= known.look_again {
                due.push(known.pid);
            } else {
                known.pass = self.pass;
            }
        }
        due.iter().for_each(|pid| self.visit(*pid, now));
        self.due = due;
    }

    /// The process `pid`.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Process<Option<I>>> {
        self.processes.get(&pid)
    }

    /// Every process, by pid.
    pub fn iter(&self) -> impl Iterator<Item = &Process<Option<I>>> {
        self.processes.values()
    }

    fn uptime_seconds(&self) -> Option<u64> {
        let text = fs::read_to_string(self.root().join("uptime")).ok()?;
        text.split(['.', ' ']).next()?.parse().ok()
    }

    fn visit(&mut self, pid: u32, now: Instant) {
        if let Some(known) = self.processes.get_mut(&pid)
            && now < known.look_again
        {
            known.pass = self.pass;
            return;
        }
        let Some(stat) = self.files.stat(pid).filter(|stat| !stat.is_dead()) else {
            return;
        };
        let age = self
            .now_ticks
            .map(|now| now.saturating_sub(stat.start_ticks) / self.ticks_per_second);
        let old = age.is_some_and(|age| age > YOUNG);
        let known = self.processes.get_mut(&pid).filter(|known| {
            known.start_ticks == stat.start_ticks && known.comm == Comm::of(stat.comm)
        });
        if let Some(known) = known {
            // It slept since: it is what it was.
            let slept = known.cpu_ticks == (stat.user_ticks, stat.system_ticks);
            let stranger = known.identity.is_none();
            if !stranger && old || stranger && slept && age.is_some() {
                known.update(&stat);
                known.pass = self.pass;
                if let (true, Some(age)) = (stranger, age) {
                    known.look_again = now + pause(age, true, pid);
                }
                return;
            }
        }
        if stat.state == 'D' {
            // Reading its command line may hang as it does: what is known of it has to do.
            if let Some(known) = self
                .processes
                .get_mut(&pid)
                .filter(|known| known.start_ticks == stat.start_ticks)
            {
                known.update(&stat);
                known.pass = self.pass;
            }
            return;
        }
        let is_kernels = stat.ppid == KERNEL_THREADS && stat.rss_pages == 0;
        let mut process = Process::new(pid, &stat, now);
        process.pass = self.pass;
        process.identity = (self.files.read(pid, "cmdline", MAX_CMDLINE)).and_then(self.identify);
        if let (None, Some(age)) = (&process.identity, age) {
            process.look_again = now + pause(age, false, pid);
        }
        if is_kernels {
            // A kernel thread never becomes a server.
            process.look_again = now + KERNEL_LOOK;
        }
        self.processes.insert(pid, process);
    }
}

impl<I> Process<Option<I>> {
    fn new(pid: u32, stat: &Stat<'_>, now: Instant) -> Self {
        Self {
            pid,
            ppid: stat.ppid,
            start_ticks: stat.start_ticks,
            cpu_ticks: (stat.user_ticks, stat.system_ticks),
            identity: None,
            comm: Comm::of(stat.comm),
            look_again: now,
            pass: 0,
        }
    }

    fn update(&mut self, stat: &Stat<'_>) {
        self.ppid = stat.ppid;
        self.cpu_ticks = (stat.user_ticks, stat.system_ticks);
    }
}

/// Clock ticks in a second, the unit of a process's times: 100 on every common kernel.
#[must_use]
pub fn ticks_per_second() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
    ticks.and_then(|ticks| ticks.try_into().ok()).unwrap_or(100)
}

/// Bytes in a page, the unit of resident memory.
#[must_use]
pub fn page_bytes() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .unwrap_or(4096)
}

/// Time to the next look at a stranger of that age, in seconds.
fn pause(age: u64, slept: bool, pid: u32) -> Duration {
    // Not all on the same pass.
    let apart = Duration::from_secs(u64::from(pid % 8));
    match (age > YOUNG, slept) {
        (false, false) => Duration::from_secs(age / OF_ITS_AGE),
        (false, true) => Duration::from_secs(age / OF_ITS_AGE_ASLEEP),
        (true, false) => SECOND_LOOK + apart,
        (true, true) => ASLEEP_LOOK + apart,
    }
}

#[cfg(test)]
mod tests;
