//! How a server that does not listen yet gets on: for how long it has been starting, and whether weights are
//! loading. Nobody but the processes themselves can be asked.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::charts::state::{LOADING, STARTING};
use crate::engine::Tree;
use crate::gpu_usage;
use crate::processes::{Stat, ticks_per_second};

/// GPU memory that a look must find more than the one before to count as growth: allocators take less.
const GROWTH_BYTES: u64 = 64 << 20;
/// Major page faults between two looks that count as reading files: each reads a page or more from disk.
const READING_FAULTS: u64 = 50;

/// What a look found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Seconds since the process began.
    pub elapsed_s: Option<f64>,
    /// Whether the GPU memory of its processes grew since the last look.
    pub gpu_memory_grows: Option<bool>,
    /// Whether its processes read mapped files from disk since the last look.
    pub reads_files: Option<bool>,
}

/// What the last look found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Starting {
    gpu_bytes: Option<u64>,
    major_faults: Option<u64>,
}

impl Starting {
    /// Looks at the processes of `tree`.
    pub fn look(
        &mut self,
        proc_root: &Path,
        tree: &Tree,
        usage: Option<&gpu_usage::Snapshot>,
    ) -> Seen {
        let gpu_bytes = usage.map(|usage| {
            let own = usage.processes.iter().filter(|it| is_member(tree, it.pid));
            own.filter_map(|it| it.mem_bytes).sum()
        });
        let stat = |pid: u32| {
            let text = fs::read(proc_root.join(format!("{pid}/stat"))).ok()?;
            Stat::parse(&text).map(|stat| stat.major_faults)
        };
        let members = tree.members.iter().map(|(pid, _)| *pid);
        let faults = members
            .chain([tree.pid])
            .filter_map(stat)
            .reduce(|a, b| a + b);
        let grew = |before: Option<u64>, now: Option<u64>, by: u64| {
            before.zip(now).map(|(before, now)| now >= before + by)
        };
        let seen = Seen {
            elapsed_s: elapsed(proc_root, tree.start_ticks),
            gpu_memory_grows: grew(self.gpu_bytes, gpu_bytes, GROWTH_BYTES),
            reads_files: grew(self.major_faults, faults, READING_FAULTS),
        };
        (self.gpu_bytes, self.major_faults) = (gpu_bytes, faults);
        seen
    }
}

fn is_member(tree: &Tree, pid: u32) -> bool {
    pid == tree.pid || tree.members.iter().any(|(it, _)| *it == pid)
}

fn elapsed(proc_root: &Path, start_ticks: u64) -> Option<f64> {
    let text = fs::read_to_string(proc_root.join("uptime")).ok()?;
    let uptime: f64 = text.split(' ').next()?.parse().ok()?;
    let started = start_ticks as f64 / ticks_per_second() as f64;
    Some((uptime - started).max(0.0))
}

/// Records what a look found.
pub fn record_starting(seen: &Seen, instance: &Arc<Instance>, frame: &mut Frame) {
    frame
        .chart(&STARTING, instance)
        .set("elapsed", seen.elapsed_s);
    let is = |yes: Option<bool>| yes.map(|yes| f64::from(u8::from(yes)));
    frame
        .chart(&LOADING, instance)
        .set("gpu_memory_grows", is(seen.gpu_memory_grows))
        .set("reads_files", is(seen.reads_files));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Role, Server};
    use crate::processes::tests::FakeProc;

    fn tree() -> Tree {
        Tree {
            pid: 10,
            start_ticks: 100 * ticks_per_second(),
            server: Server::new("sglang", "127.0.0.1", 30000),
            listening: None,
            members: vec![(11, Role::Scheduler)],
        }
    }

    #[test]
    fn a_start_lasts_from_the_beginning_of_its_process() {
        let proc = FakeProc::new();
        proc.file("uptime", "142.50 900.00\n");
        let seen = Starting::default().look(proc.path(), &tree(), None);
        assert_eq!(seen.elapsed_s, Some(42.5));
        assert_eq!((seen.gpu_memory_grows, seen.reads_files), (None, None));
    }

    #[test]
    fn weights_are_loading_while_files_are_read() {
        let (proc, mut starting) = (FakeProc::new(), Starting::default());
        let mut look = |faults: u64| {
            let stat =
                format!("11 (python) R 10 1 1 0 -1 0 5 0 {faults} 0 1 1 0 0 20 0 1 0 7 0 9\n");
            proc.file("11/stat", stat);
            starting.look(proc.path(), &tree(), None).reads_files
        };
        assert_eq!(look(1000), None);
        assert_eq!(look(1049), Some(false));
        assert_eq!(look(1099), Some(true));
        assert_eq!(look(1099), Some(false));
    }
}
