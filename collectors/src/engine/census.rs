//! One look at the host's processes for everyone who looks for servers: discovery looks, and others take what it
//! found, as long as that is new enough.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::{Processes, Tree, identify, trees};

/// What a pass over the processes found.
#[derive(Debug)]
pub struct Found {
    /// Every server with its processes, by pid.
    pub trees: Vec<Tree>,
    /// Start of each of their processes, in clock ticks since boot.
    starts: BTreeMap<u32, u64>,
}

impl Found {
    /// When a process of a server started, in clock ticks since boot.
    #[must_use]
    pub fn start_ticks(&self, pid: u32) -> Option<u64> {
        self.starts.get(&pid).copied()
    }
}

/// The process table that all share.
#[derive(Debug)]
pub struct Census {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    processes: Processes,
    last: Option<(Instant, Arc<Found>)>,
}

impl Census {
    /// Of the /proc at `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            state: Mutex::new(State {
                processes: Processes::new(root, identify),
                last: None,
            }),
        }
    }

    /// Where it looks.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at the processes now.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn look(&self, now: Instant) -> io::Result<Arc<Found>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.look(now)
    }

    /// What was found last, by a look of our own if that is older than `at_most`; `None` while somebody else
    /// looks, for whom nobody has to wait.
    ///
    /// # Errors
    /// If the root cannot be listed.
    pub fn found(&self, now: Instant, at_most: Duration) -> io::Result<Option<Arc<Found>>> {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if let Some((at, found)) = &state.last
            && now.saturating_duration_since(*at) < at_most
        {
            return Ok(Some(Arc::clone(found)));
        }
        state.look(now).map(Some)
    }
}

impl State {
    fn look(&mut self, now: Instant) -> io::Result<Arc<Found>> {
        self.processes.scan(now)?;
        let trees = trees(&self.processes);
        let members = trees.iter().flat_map(|tree| &tree.members);
        let start = |pid: u32| Some((pid, self.processes.get(pid)?.start_ticks));
        let found = Arc::new(Found {
            starts: members.filter_map(|(pid, _)| start(*pid)).collect(),
            trees,
        });
        self.last = Some((now, Arc::clone(&found)));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::tests::FakeProc;

    const SECOND: Duration = Duration::from_secs(1);

    fn host() -> FakeProc {
        let proc = FakeProc::new();
        let launch = ["python", "-m", "sglang.launch_server"];
        proc.process(10, 1, "python", 'S', &launch);
        proc.process(11, 10, "sglang::schedul", 'S', &["sglang::scheduler"]);
        proc
    }

    #[test]
    fn one_look_serves_all_who_ask_while_it_is_new() {
        let (proc, now) = (host(), Instant::now());
        let census = Census::new(proc.path());
        let first = census.found(now, 5 * SECOND).unwrap().unwrap();
        assert_eq!((first.trees.len(), first.start_ticks(11)), (1, Some(111)));
        proc.remove(10);
        let same = census.found(now + 4 * SECOND, 5 * SECOND).unwrap().unwrap();
        assert!(Arc::ptr_eq(&first, &same));
        let next = census.look(now + 4 * SECOND).unwrap();
        assert_eq!((next.trees.len(), next.start_ticks(11)), (0, None));
        let same = census.found(now + 8 * SECOND, 5 * SECOND).unwrap().unwrap();
        assert!(Arc::ptr_eq(&next, &same));
        let third = census.found(now + 9 * SECOND, 5 * SECOND).unwrap().unwrap();
        assert!(!Arc::ptr_eq(&next, &third));
    }

    #[test]
    fn nobody_waits_for_anothers_look() {
        let (proc, now) = (host(), Instant::now());
        let census = Census::new(proc.path());
        let busy = census.state.lock().unwrap();
        assert!(census.found(now, SECOND).unwrap().is_none());
        drop(busy);
        assert!(census.found(now, SECOND).unwrap().is_some());
    }
}
