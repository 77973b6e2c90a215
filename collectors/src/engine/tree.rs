//! Which processes belong to which server: its descendants, each with its role.

use std::net::SocketAddr;

use super::{Identity, Processes, Role, Server};
use crate::processes::KERNEL_THREADS;

/// Longest chain of parents followed: a guard against a table that changes while it is read.
const MAX_DEPTH: usize = 64;

/// A server and its processes.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The main process.
    pub pid: u32,
    /// Its start in clock ticks since boot.
    pub start_ticks: u64,
    /// What its command line says.
    pub server: Server,
    /// Where its main process listens, the lowest port first; `None` if nobody could tell.
    pub listening: Option<Vec<SocketAddr>>,
    /// Every process with its role, by pid; the main process among them.
    pub members: Vec<(u32, Role)>,
}

/// Every server of `processes`, by pid of its main process.
#[must_use]
pub fn trees(processes: &Processes) -> Vec<Tree> {
    let mut trees: Vec<Tree> = Vec::new();
    for process in processes.iter() {
        if let Some(Identity::Server(server)) = &process.identity
            && !is_copy(processes, process.pid, server)
        {
            trees.push(Tree {
                pid: process.pid,
                start_ticks: process.start_ticks,
                server: (**server).clone(),
                listening: None,
                members: Vec::new(),
            });
        }
    }
    if trees.is_empty() {
        return trees;
    }
    // A kernel thread's parent is no server, and a machine with many cores has thousands.
    let mut children: Vec<_> = processes
        .iter()
        .filter(|process| process.ppid != KERNEL_THREADS)
        .map(|process| (process.ppid, process.pid))
        .collect();
    children.sort_unstable();
    let roots: Vec<u32> = trees.iter().map(|tree| tree.pid).collect();
    for tree in &mut trees {
        let main = if tree.server.router {
            Role::Router
        } else {
            Role::Main
        };
        tree.members.push((tree.pid, main));
        // What is found is looked at in its turn. A process has one parent, so that nothing is found twice.
        let mut at = 0;
        while let Some(&(parent, _)) = tree.members.get(at) {
            let from = children.partition_point(|(ppid, _)| *ppid < parent);
            let its = children[from..]
                .iter()
                .take_while(|(ppid, _)| *ppid == parent);
            for &(_, pid) in its.filter(|(_, pid)| !roots.contains(pid)) {
                let identity = processes.get(pid).and_then(|it| it.identity.as_ref());
                let role = match identity {
                    Some(Identity::Titled(role)) => *role,
                    _ => Role::Helper,
                };
                tree.members.push((pid, role));
            }
            at += 1;
        }
        tree.members.sort_unstable();
    }
    trees
}

/// Whether `pid` with the command line of `server` is a fork of that server which has not got its title
/// yet, and no server of its own.
fn is_copy(processes: &Processes, pid: u32, server: &Server) -> bool {
    ancestors(processes, pid).any(|ancestor| {
        ancestor != pid && processes.get(ancestor).is_some_and(|parent| {
            matches!(&parent.identity, Some(Identity::Server(its)) if **its == *server)
        })
    })
}

/// `pid` and its ancestors, as far as they are known.
fn ancestors(processes: &Processes, pid: u32) -> impl Iterator<Item = u32> + '_ {
    let parent = |pid: &u32| processes.get(*pid).map(|process| process.ppid);
    std::iter::successors(Some(pid), parent).take(MAX_DEPTH)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::engine::identify;
    use crate::processes::tests::FakeProc;

    const SERVER: &[&str] = &["python", "-m", "sglang.launch_server", "--port", "30001"];

    fn read(proc: &FakeProc) -> Vec<Tree> {
        let mut processes = Processes::new(proc.path(), identify);
        processes.scan(Instant::now()).unwrap();
        trees(&processes)
    }

    #[test]
    fn every_descendant_has_a_role_and_strangers_have_none() {
        let proc = FakeProc::new();
        proc.process(1, 0, "init", 'S', &["init"]);
        proc.process(
            9,
            1,
            "bash",
            'S',
            &["bash", "-c", "python -m sglang.launch_server"],
        );
        proc.process(10, 9, "python", 'S', SERVER);
        proc.process(
            11,
            10,
            "python",
            'S',
            &["python", "-c", "from multiprocessing"],
        );
        proc.process(
            12,
            10,
            "sglang::data_pa",
            'S',
            &["sglang::data_parallel_controller"],
        );
        proc.process(
            13,
            12,
            "sglang::schedul",
            'R',
            &["sglang::scheduler_DP0", "", ""],
        );
        proc.process(14, 10, "sglang::detoken", 'S', &["sglang::detokenizer"]);
        proc.process(
            15,
            10,
            "sglang::tokeniz",
            'S',
            &["sglang::tokenizer_worker:10"],
        );
        proc.process(16, 13, "nvcc", 'R', &["nvcc"]);
        proc.process(20, 1, "sglang::schedul", 'R', &["sglang::scheduler"]);
        let trees = read(&proc);
        assert_eq!(trees.len(), 1);
        assert_eq!((trees[0].pid, trees[0].server.port), (10, 30001));
        let expected = [
            (10, Role::Main),
            (11, Role::Helper),
            (12, Role::DpController),
            (13, Role::Scheduler),
            (14, Role::Detokenizer),
            (15, Role::TokenizerWorker),
            (16, Role::Helper),
        ];
        assert_eq!(trees[0].members, expected);
    }

    #[test]
    fn a_fork_that_still_has_its_parents_command_line_is_a_helper() {
        let proc = FakeProc::new();
        proc.process(10, 1, "python", 'S', SERVER);
        proc.process(11, 10, "python", 'R', SERVER);
        proc.process(12, 11, "python", 'R', SERVER);
        let trees = read(&proc);
        assert_eq!(trees.len(), 1);
        let expected = [(10, Role::Main), (11, Role::Helper), (12, Role::Helper)];
        assert_eq!(trees[0].members, expected);
    }

    #[test]
    fn a_zombie_is_no_server() {
        let proc = FakeProc::new();
        proc.process(10, 1, "python", 'Z', SERVER);
        assert_eq!(read(&proc), []);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let proc = FakeProc::new();
        proc.process(10, 11, "python", 'S', SERVER);
        proc.process(11, 10, "x", 'S', &["x"]);
        assert_eq!(read(&proc)[0].members.len(), 2);
    }
}
