//! Whether another collector of the same agent charts the same GPUs: then every chart under Netdata's names is
//! there twice, and somebody should know. Only a program that is seen to run is taken for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Collectors that run `nvidia-smi`, as the kernel names them.
const COLLECTORS: [&str; 2] = ["go.d.plugin", "python.d.plugin"];

/// What they run.
const PROGRAM: &str = "nvidia-smi";

/// Between two looks. It runs for a second or more every ten, or all the time: no multiple of theirs, so that
/// looks do not always fall between two runs.
const LOOK_EVERY: Duration = Duration::from_secs(7);

/// Generations between a collector and the program: a helper may be in between.
const GENERATIONS: usize = 3;

/// Processes looked at, so that no tree costs more than a look.
const MOST_LOOKED_AT: usize = 512;

/// Looks for it until it was found.
pub struct Twice {
    proc_root: PathBuf,
    agent: u32,
    next: Option<Instant>,
}

impl Twice {
    /// Looks among what our own parent, the agent, has started.
    pub fn new(now: Instant) -> Self {
        Self {
            proc_root: PathBuf::from("/proc"),
            agent: nix::unistd::getppid().as_raw().unsigned_abs(),
            next: Some(now),
        }
    }

    /// Looks if it is time; logs what it finds, once.
    pub fn look(&mut self, now: Instant) {
        if self.next.is_none_or(|next| now < next) {
            return;
        }
        self.next = Some(now + LOOK_EVERY);
        if let Some(collector) = runs_it(&self.proc_root, self.agent) {
            self.next = None;
            log::warn!(
                "{collector} charts the GPUs too, by running {PROGRAM}: every chart of nvidia_smi is there twice, \
                 and the driver is asked twice. Ours have the label source=rs.d. Switch the other off with \
                 `nvidia_smi: no` in {}, or ours with `nvidia: no` in rs.d.conf",
                if collector == COLLECTORS[0] {
                    "go.d.conf (under `modules:`)"
                } else {
                    "python.d.conf"
                }
            );
        }
    }
}

/// The collector of `agent` that has started the program.
fn runs_it(proc_root: &Path, agent: u32) -> Option<&'static str> {
    let mut left = MOST_LOOKED_AT;
    children(proc_root, agent, &mut left)
        .into_iter()
        .find_map(|pid| {
            let name = name(proc_root, pid)?;
            let collector = COLLECTORS.into_iter().find(|known| *known == name)?;
            let mut generation = vec![pid];
            for _ in 0..GENERATIONS {
                let below = generation
                    .iter()
                    .flat_map(|pid| children(proc_root, *pid, &mut left));
                generation = below.collect();
                let is_it = |pid: &u32| self::name(proc_root, *pid).as_deref() == Some(PROGRAM);
                if generation.iter().any(is_it) {
                    return Some(collector);
                }
            }
            None
        })
}

/// What a process has started: each thread has its own.
fn children(proc_root: &Path, pid: u32, left: &mut usize) -> Vec<u32> {
    let tasks = fs::read_dir(proc_root.join(format!("{pid}/task")));
    let lists = tasks.into_iter().flatten().flatten().map_while(|task| {
        *left = left.checked_sub(1)?;
        Some(fs::read_to_string(task.path().join("children")).unwrap_or_default())
    });
    let lists: Vec<_> = lists.collect();
    let pids = lists.iter().flat_map(|list| list.split_ascii_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

fn name(proc_root: &Path, pid: u32) -> Option<String> {
    let name = fs::read_to_string(proc_root.join(format!("{pid}/comm"))).ok()?;
    Some(name.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::tests::FakeProc;

    /// An agent, pid 10, whose processes and what they started are `tree`.
    fn agent(tree: &[(u32, u32, &str)]) -> FakeProc {
        let proc = FakeProc::new();
        for parent in [10].into_iter().chain(tree.iter().map(|(_, pid, _)| *pid)) {
            let children = tree.iter().filter(|(of, ..)| *of == parent);
            let children: String = children.map(|(_, pid, _)| format!("{pid} ")).collect();
            // Not the first thread's: whichever started it has it.
            proc.file(&format!("{parent}/task/{parent}/children"), "");
            proc.file(&format!("{parent}/task/9{parent}/children"), children);
        }
        for (_, pid, name) in tree {
            proc.file(&format!("{pid}/comm"), format!("{name}\n"));
        }
        proc
    }

    #[test]
    fn a_collector_that_runs_nvidia_smi_is_named_whether_itself_or_through_a_helper() {
        let direct = agent(&[
            (10, 20, "apps.plugin"),
            (10, 21, "go.d.plugin"),
            (21, 30, "nvidia-smi"),
        ]);
        assert_eq!(runs_it(direct.path(), 10), Some("go.d.plugin"));
        let helper = [
            (10, 21, "python.d.plugin"),
            (21, 30, "ndsudo"),
            (30, 40, "nvidia-smi"),
        ];
        assert_eq!(runs_it(agent(&helper).path(), 10), Some("python.d.plugin"));
    }

    #[test]
    fn anybody_elses_nvidia_smi_is_nobodys_business() {
        let own = agent(&[
            (10, 21, "go.d.plugin"),
            (10, 22, "bash"),
            (22, 30, "nvidia-smi"),
            (30, 31, "go.d.plugin"),
        ]);
        assert_eq!(runs_it(own.path(), 10), None);
        assert_eq!(runs_it(own.path(), 77), None);
    }

    #[test]
    fn it_is_looked_for_now_and_then_and_not_any_more_once_it_was_found() {
        let proc = agent(&[(10, 21, "go.d.plugin")]);
        let now = Instant::now();
        let mut twice = Twice {
            proc_root: proc.path().to_owned(),
            agent: 10,
            next: Some(now),
        };
        twice.look(now);
        assert_eq!(twice.next, Some(now + LOOK_EVERY));
        proc.file("21/task/21/children", "30");
        proc.file("30/comm", "nvidia-smi\n");
        twice.look(now + LOOK_EVERY / 2);
        assert!(twice.next.is_some());
        twice.look(now + LOOK_EVERY);
        assert_eq!(twice.next, None);
    }
}
