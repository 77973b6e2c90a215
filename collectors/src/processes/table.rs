//! The process table. A full pass lists /proc, but opens files only of processes that are new, young,
//! recognised, or due for a second look: a program may set its title or replace itself while it starts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Stat;

/// Age in seconds up to which a process is looked at again and again: helpers of an engine get their title up
/// to 100 s after their start, and launchers replace themselves.
const YOUNG: u64 = 180;
/// Parts of its age after which a young process that is not recognised is looked at again: one that gets its
/// title after 100 s is recognised 13 s later, and a thousand that start at once cost little.
const OF_ITS_AGE: u64 = 8;
/// Pause between two looks at an older process that is not recognised.
const SECOND_LOOK: Duration = Duration::from_secs(60);
/// The process that every kernel thread but the first descends from.
const KERNEL_THREADS: u32 = 2;
/// Pause between two looks at a kernel thread: a machine with many cores has thousands.
const KERNEL_LOOK: Duration = Duration::from_secs(3600);
/// Longest command line read; an engine's has under 4 KiB.
const MAX_CMDLINE: usize = 32 * 1024;
/// Longest `stat` is 400 bytes.
const MAX_STAT: usize = 4096;

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
    /// `R`, `S`, `D`, `T` …
    pub state: char,
    /// Clock ticks in user mode and in the kernel.
    pub cpu_ticks: (u64, u64),
    /// Resident memory in pages.
    pub rss_pages: u64,
    /// Page faults without and with reading from a disk.
    pub faults: (u64, u64),
    /// Threads.
    pub threads: u64,
    /// What it is.
    pub identity: I,
    comm: String,
    look_again: Instant,
    pass: u64,
}

/// All living processes that could be read.
#[derive(Debug)]
pub struct ProcessTable<I> {
    root: PathBuf,
    identify: fn(comm: &str, cmdline: &[u8]) -> Option<I>,
    processes: BTreeMap<u32, Process<Option<I>>>,
    pass: u64,
    ticks_per_second: u64,
    /// Clock ticks since boot at this pass; `None` if nobody knows.
    now_ticks: Option<u64>,
    buffer: Vec<u8>,
}

impl<I> ProcessTable<I> {
    /// A table over the /proc at `root`. `identify` gets a process's name and its raw command line.
    #[must_use]
    pub fn new(root: &Path, identify: fn(&str, &[u8]) -> Option<I>) -> Self {
        Self {
            root: root.to_owned(),
            identify,
            processes: BTreeMap::new(),
            pass: 0,
            ticks_per_second: ticks_per_second(),
            now_ticks: None,
            buffer: Vec::new(),
        }
    }

    /// Where it reads.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
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
        for entry in fs::read_dir(&self.root)? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            self.visit(pid, now);
        }
        let pass = self.pass;
        self.processes.retain(|_, process| process.pass == pass);
        Ok(())
    }

    /// Reads CPU, memory and state of one known process again. False if it has ended, or if its pid is
    /// another's by now.
    pub fn refresh(&mut self, pid: u32) -> bool {
        let Some(process) = self.processes.get_mut(&pid) else {
            return false;
        };
        let stat = read_stat(&self.root, pid, &mut self.buffer);
        match stat.filter(|stat| stat.start_ticks == process.start_ticks && !stat.is_dead()) {
            Some(stat) => {
                process.update(&stat);
                true
            }
            None => {
                self.processes.remove(&pid);
                false
            }
        }
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
        let text = fs::read_to_string(self.root.join("uptime")).ok()?;
        text.split(['.', ' ']).next()?.parse().ok()
    }

    fn visit(&mut self, pid: u32, now: Instant) {
        if let Some(known) = self.processes.get_mut(&pid)
            && now < known.look_again
        {
            known.pass = self.pass;
            return;
        }
        let Some(stat) = read_stat(&self.root, pid, &mut self.buffer) else {
            return;
        };
        if stat.is_dead() {
            return;
        }
        let age = self
            .now_ticks
            .map(|now| now.saturating_sub(stat.start_ticks) / self.ticks_per_second);
        let old = age.is_some_and(|age| age > YOUNG);
        let known = self
            .processes
            .get_mut(&pid)
            .filter(|known| known.start_ticks == stat.start_ticks && known.comm == stat.comm);
        if let Some(known) = known
            && known.identity.is_some()
            && old
        {
            known.update(&stat);
            known.pass = self.pass;
            return;
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
        let mut process = Process::new(pid, &stat, now);
        process.pass = self.pass;
        process.identity = read_into(&self.root, pid, "cmdline", MAX_CMDLINE, &mut self.buffer)
            .and_then(|cmdline| (self.identify)(&process.comm, cmdline));
        if let (None, Some(age)) = (&process.identity, age) {
            process.look_again = now
                + if old {
                    // Not all on the same pass.
                    SECOND_LOOK + Duration::from_secs(u64::from(pid % 8))
                } else {
                    Duration::from_secs(age / OF_ITS_AGE)
                };
        }
        if process.ppid == KERNEL_THREADS && process.rss_pages == 0 {
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
            state: stat.state,
            cpu_ticks: (stat.user_ticks, stat.system_ticks),
            rss_pages: stat.rss_pages,
            faults: (stat.minor_faults, stat.major_faults),
            threads: stat.threads,
            identity: None,
            comm: stat.comm.to_owned(),
            look_again: now,
            pass: 0,
        }
    }

    fn update(&mut self, stat: &Stat<'_>) {
        self.ppid = stat.ppid;
        self.state = stat.state;
        self.cpu_ticks = (stat.user_ticks, stat.system_ticks);
        self.rss_pages = stat.rss_pages;
        self.faults = (stat.minor_faults, stat.major_faults);
        self.threads = stat.threads;
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

fn read_stat<'a>(root: &Path, pid: u32, buffer: &'a mut Vec<u8>) -> Option<Stat<'a>> {
    Stat::parse(read_into(root, pid, "stat", MAX_STAT, buffer)?)
}

/// A file of a process that may end at any moment: what cannot be read is not there.
fn read_into<'a>(
    root: &Path,
    pid: u32,
    name: &str,
    limit: usize,
    buffer: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    buffer.clear();
    let file = File::open(root.join(format!("{pid}/{name}"))).ok()?;
    file.take(limit as u64).read_to_end(buffer).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::super::users::tests::FakeProc;
    use super::*;

    fn identify(_: &str, cmdline: &[u8]) -> Option<String> {
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
    fn a_pid_that_is_anothers_by_now_is_not_refreshed() {
        let (proc, start) = (FakeProc::new(), Instant::now());
        proc.process(10, 1, "a", 'S', &["engine"]);
        let mut table = table(&proc);
        table.scan(start).unwrap();
        assert!(table.refresh(10));
        proc.started(10, 1, "a", 'S', &["engine"], 999);
        assert!(!table.refresh(10));
        assert!(table.get(10).is_none());
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
        assert!(!table.refresh(10));
    }

    #[test]
    fn a_root_that_is_not_there_is_an_error() {
        let mut table = ProcessTable::new(Path::new("/nonexistent"), identify);
        assert!(table.scan(Instant::now()).is_err());
    }
}
