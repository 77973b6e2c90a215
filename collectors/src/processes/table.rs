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
            ticks_per_second: ticks_per_second(),
            now_ticks: None,
        }
    }

    /// Where it reads.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.files.root()
    }

    /// Finds new processes, forgets those that ended, and refreshes the recognised ones.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn scan(&mut self, now: Instant) -> io::Result<()> {
        self.pass += 1;
        self.now_ticks = self
            .uptime_seconds()
            .map(|seconds| seconds * self.ticks_per_second);
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
        let pass = self.pass;
        self.processes.retain(|_, process| process.pass == pass);
        Ok(())
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
mod tests {
    use super::super::users::tests::FakeProc;
    use super::*;

    fn identify(cmdline: &[u8]) -> Option<String> {
        let text = String::from_utf8_lossy(cmdline);
        text.starts_with("engine")
            .then(|| text.trim_end_matches('\0').to_owned())
    }

    fn table(proc: &FakeProc) -> ProcessTable<String> {
        ProcessTable::new(proc.path(), identify)
    }

    fn seconds(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_scan_finds_the_living_and_leaves_out_zombies() {
        let proc = FakeProc::new();
        proc.process(10, 1, "a", 'S', &["engine"]);
        proc.process(11, 10, "b", 'Z', &["engine"]);
        let mut table = table(&proc);
        table.scan(Instant::now()).unwrap();
        let pids: Vec<_> = table.iter().map(|process| process.pid).collect();
        assert_eq!(pids, [10]);
        assert_eq!(table.get(10).unwrap().identity.as_deref(), Some("engine"));
    }

    #[test]
    fn a_child_that_gets_its_title_late_is_recognised_late() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        proc.process(10, 1, "python", 'S', &["python", "-c"]);
        let mut table = table(&proc);
        table.scan(start).unwrap();
        assert_eq!(table.get(10).unwrap().identity, None);
        proc.process(10, 1, "python", 'S', &["engine::helper"]);
        table.scan(seconds(start, 100)).unwrap();
        let identity = table.get(10).unwrap().identity.as_deref();
        assert_eq!(identity, Some("engine::helper"));
    }

    #[test]
    fn an_old_stranger_is_looked_at_only_every_minute() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        proc.process(8, 1, "bash", 'S', &["bash"]);
        proc.file("uptime", "1000.50 900.00\n");
        let mut table = table(&proc);
        table.scan(start).unwrap();
        proc.process(8, 1, "engine", 'S', &["engine"]);
        table.scan(seconds(start, 59)).unwrap();
        assert_eq!(table.get(8).unwrap().identity, None);
        table.scan(seconds(start, 61)).unwrap();
        assert!(table.get(8).unwrap().identity.is_some());
    }

    #[test]
    fn a_young_stranger_is_looked_at_the_more_rarely_the_older_it_is() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        // Started at 1.08 s.
        proc.process(8, 1, "bash", 'S', &["bash"]);
        proc.file("uptime", "81.50 900.00\n");
        let mut table = table(&proc);
        table.scan(start).unwrap();
        proc.process(8, 1, "engine", 'S', &["engine"]);
        table.scan(seconds(start, 8)).unwrap();
        assert_eq!(table.get(8).unwrap().identity, None);
        table.scan(seconds(start, 9)).unwrap();
        assert!(table.get(8).unwrap().identity.is_some());
    }

    #[test]
    fn an_old_stranger_that_slept_is_looked_at_every_five_minutes_and_one_that_ran_at_once() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        proc.file("uptime", "1000.50 900.00\n");
        for pid in [8, 16] {
            proc.process(pid, 1, "bash", 'S', &["bash"]);
        }
        let mut table = table(&proc);
        table.scan(start).unwrap();
        // One runs and becomes an engine under its old name; of the other we pretend that it can without running.
        for pid in [8, 16] {
            proc.file(&format!("{pid}/cmdline"), "engine\0");
        }
        let started = |pid: u32| 100 + u64::from(pid);
        proc.stat(8, 1, "bash", 'S', started(8), (7, 0), 0);
        table.scan(seconds(start, 61)).unwrap();
        assert!(table.get(8).unwrap().identity.is_some());
        assert_eq!(table.get(16).unwrap().identity, None);
        // It runs, too, and its next look finds it.
        proc.stat(16, 1, "bash", 'S', started(16), (7, 0), 0);
        table.scan(seconds(start, 360)).unwrap();
        assert_eq!(table.get(16).unwrap().identity, None);
        table.scan(seconds(start, 361)).unwrap();
        assert!(table.get(16).unwrap().identity.is_some());
    }

    #[test]
    fn a_pid_that_is_anothers_by_now_is_another_process() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        proc.file("uptime", "1000.50 900.00\n");
        proc.process(10, 1, "a", 'S', &["engine"]);
        let mut table = table(&proc);
        table.scan(start).unwrap();
        proc.started(10, 1, "a", 'S', &["stranger"], 999);
        table.scan(seconds(start, 4)).unwrap();
        assert_eq!(table.get(10).unwrap().identity, None);
        assert_eq!(table.get(10).unwrap().start_ticks, 999);
    }

    #[test]
    fn a_process_that_ended_is_forgotten() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        proc.process(10, 1, "a", 'S', &["engine"]);
        let mut table = table(&proc);
        table.scan(start).unwrap();
        proc.remove(10);
        table.scan(seconds(start, 4)).unwrap();
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn a_root_that_is_not_there_is_an_error() {
        let mut table = ProcessTable::new(Path::new("/nonexistent"), identify);
        assert!(table.scan(Instant::now()).is_err());
    }
}
