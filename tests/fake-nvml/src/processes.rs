//! Which processes of the scenario exist, found by their titles under /proc.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::scenario::{Process, ProcessKind, matches_name};

/// How long a scan of /proc is good for.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// A process that exists (or has a fixed pid, which nobody checks: drivers report such, too).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    pub pid: u32,
    pub kind: ProcessKind,
}

struct Scan {
    at: Instant,
    proc_root: String,
    titles: Vec<(u32, String)>,
}

static LAST_SCAN: Mutex<Option<Scan>> = Mutex::new(None);

/// The processes of `entries`. A pid is listed once, by the first entry that has it.
pub fn running<'a>(proc_root: &str, entries: &'a [Process]) -> Vec<(&'a Process, Running)> {
    let mut found: Vec<(&Process, Running)> = Vec::new();
    for entry in entries {
        let pids = match (entry.pid, &entry.match_cmdline) {
            (Some(pid), _) => vec![pid],
            (None, Some(pattern)) => pids_titled(proc_root, pattern),
            (None, None) => Vec::new(),
        };
        for pid in pids {
            if found.iter().all(|(_, running)| running.pid != pid) {
                found.push((
                    entry,
                    Running {
                        pid,
                        kind: entry.kind,
                    },
                ));
            }
        }
    }
    found
}

/// The first argument of a process, without the padding that a changed title leaves behind.
pub fn title(proc_root: &str, pid: u32) -> Option<String> {
    let cmdline = fs::read(Path::new(proc_root).join(pid.to_string()).join("cmdline")).ok()?;
    let first = cmdline.split(|byte| *byte == 0).next()?;
    let first = String::from_utf8_lossy(first).trim().to_owned();
    (!first.is_empty()).then_some(first)
}

fn pids_titled(proc_root: &str, pattern: &str) -> Vec<u32> {
    let mut last = LAST_SCAN.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = |scan: &Scan| scan.proc_root == proc_root && scan.at.elapsed() < SCAN_EVERY;
    if !last.as_ref().is_some_and(fresh) {
        *last = Some(Scan {
            at: Instant::now(),
            proc_root: proc_root.to_owned(),
            titles: scan(proc_root),
        });
    }
    let titles = last.iter().flat_map(|scan| &scan.titles);
    titles
        .filter(|(_, title)| matches_name(pattern, title))
        .map(|(pid, _)| *pid)
        .collect()
}

fn scan(proc_root: &str) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir(proc_root) else {
        return Vec::new();
    };
    let mut titles: Vec<(u32, String)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, title(proc_root, pid)?)))
        .collect();
    titles.sort_unstable();
    titles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_matched_whole_unless_the_pattern_ends_in_a_star() {
        let proc = tempfile::tempdir().unwrap();
        for (pid, cmdline) in [
            ("7", "sglang::scheduler\0\0\0\0"),
            ("8", "sglang::scheduler_TP0\0\0"),
            ("9", "sglang::scheduler_TP1_EP0\0--port\0x\0"),
            ("10", ""),
        ] {
            fs::create_dir(proc.path().join(pid)).unwrap();
            fs::write(proc.path().join(pid).join("cmdline"), cmdline).unwrap();
        }
        let root = proc.path().to_str().unwrap();
        assert_eq!(pids_titled(root, "sglang::scheduler"), [7]);
        assert_eq!(pids_titled(root, "sglang::scheduler_TP0"), [8]);
        assert_eq!(pids_titled(root, "sglang::scheduler_TP1_*"), [9]);
        assert_eq!(pids_titled(root, "*"), [7, 8, 9]);
    }
}
