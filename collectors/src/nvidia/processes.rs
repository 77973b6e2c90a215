//! Puts names and users to the pids that NVML gives, from /proc, and sums what they hold and do by both.
//! Names come from other users' processes: bounded, printable, and never arguments.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use procfs::process::Process as ProcProcess;

use super::snapshot::{Holding, Process, Processes};
use crate::gpu_usage::Kind;
use crate::host_probe::ProcessId;
use crate::processes::Users;

/// The kernel cuts names at this length.
const COMM_LEN: usize = 15;

/// Longest name charted.
const MAX_NAME: usize = 40;

/// What users are called.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    /// Which of them may be shown, and how.
    pub users: &'a Users,
    /// Whose a process is.
    pub whose: &'a dyn Fn(ProcessId) -> Option<u32>,
}

/// Looks up every row, then sums by command and user: the `top` largest, and the rest as other.
pub fn resolve(
    mut rows: Vec<Process>,
    proc_root: &Path,
    Names { users, whose }: Names<'_>,
    top: usize,
) -> Processes {
    let mut unresolved = 0;
    for row in &mut rows {
        match look_up(proc_root, row.pid) {
            Some((name, start_ticks)) => {
                row.name = Some(name.into());
                row.start_ticks = Some(start_ticks);
                let pid = row.pid;
                let uid = whose(ProcessId { pid, start_ticks });
                row.user = Some(printable(&users.shown(uid)).into());
            }
            None => unresolved += 1,
        }
    }
    let (top, other) = by_name(&rows, top);
    Processes {
        rows,
        unresolved: Some(unresolved),
        top,
        other,
    }
}

/// A process's name, and its start in clock ticks since boot.
fn look_up(proc_root: &Path, pid: u32) -> Option<(String, u64)> {
    let dir = proc_root.join(pid.to_string());
    let stat = ProcProcess::new_with_root(dir.clone()).ok()?.stat().ok()?;
    // Reading the command line of a process that hangs in the kernel may hang as well.
    let name = if stat.comm.len() < COMM_LEN || stat.state == 'D' {
        stat.comm
    } else {
        whole_name(&dir, &stat.comm).unwrap_or(stat.comm)
    };
    Some((printable(&name), stat.starttime))
}

/// The name that the kernel cut, from the first word of the command line: engines put their role there
/// (`sglang::scheduler_TP0`).
fn whole_name(dir: &Path, comm: &str) -> Option<String> {
    let mut line = Vec::new();
    File::open(dir.join("cmdline"))
        .ok()?
        .take(4096)
        .read_to_end(&mut line)
        .ok()?;
    let line = String::from_utf8_lossy(&line);
    let word = line.split(['\0', ' ']).next()?;
    let name = word.rsplit('/').next()?;
    name.starts_with(comm).then(|| name.to_owned())
}

fn printable(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_control() { '_' } else { c })
        .take(MAX_NAME)
        .collect();
    match name.trim() {
        "" => "unnamed".to_owned(),
        name => name.to_owned(),
    }
}

/// The name under which processes that /proc does not know are summed.
const UNRESOLVED: &str = "unresolved";

/// The name of what did not fit.
const OTHER: &str = "other";

/// What a process is summed under: its command and user, and whether it computes through the multi-process
/// service, whose clients' share of SM time is the service's.
fn name_of(row: &Process) -> String {
    let Some(name) = row.name.as_deref() else {
        return UNRESOLVED.to_owned();
    };
    let user = row.user.as_deref().unwrap_or("unknown");
    match row.kind {
        Kind::Mps => format!("{name} ({user}, MPS)"),
        Kind::Compute | Kind::Graphics => format!("{name} ({user})"),
    }
}

fn by_name(rows: &[Process], top: usize) -> (Vec<Holding>, Option<Holding>) {
    let mut all: Vec<Holding> = Vec::new();
    for row in rows {
        let holding = Holding {
            name: name_of(row),
            mem_bytes: row.mem_bytes,
            sm_pct: row.sm_pct,
        };
        match all.iter_mut().find(|known| known.name == holding.name) {
            Some(known) => known.add(&holding),
            None => all.push(holding),
        }
    }
    all.sort_by(|a, b| b.mem_bytes.cmp(&a.mem_bytes).then(a.name.cmp(&b.name)));
    let rest = all.split_off(all.len().min(top));
    let other = rest.into_iter().reduce(|mut sum, holding| {
        sum.add(&holding);
        sum
    });
    let other = other.map(|sum| Holding {
        name: OTHER.to_owned(),
        ..sum
    });
    (all, other)
}

impl Holding {
    /// A sum with an unknown part is unknown.
    fn add(&mut self, more: &Self) {
        let mem = self.mem_bytes.zip(more.mem_bytes);
        self.mem_bytes = mem.map(|(a, b)| a.saturating_add(b));
        self.sm_pct = self.sm_pct.zip(more.sm_pct).map(|(a, b)| a + b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    fn process(pid: u32, mem_bytes: Option<u64>) -> Process {
        Process {
            pid,
            start_ticks: None,
            name: None,
            user: None,
            mem_bytes,
            sm_pct: Some(1.0),
            kind: Kind::Compute,
        }
    }

    /// A /proc with `pid`, its kernel name and its command line.
    fn put(root: &Path, pid: u32, comm: &str, cmdline: &[u8], start: u64) -> PathBuf {
        let dir = root.join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let tail = "0 0 20 0 1 0";
        let stat = format!(
            "{pid} ({comm}) S 1 1 1 0 -1 4194304 0 0 0 0 0 0 {tail} {start} 0 0 18446744073709551615 \
             0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        fs::write(dir.join("stat"), stat).unwrap();
        fs::write(dir.join("cmdline"), cmdline).unwrap();
        fs::write(dir.join("status"), "Uid:\t7\t7\t7\t7\n").unwrap();
        dir
    }

    #[test]
    fn a_pid_gets_its_name_and_its_start() {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), 42, "python3", b"python3\0-m\0secret\0", 987);
        let found = resolve(
            vec![process(42, Some(5))],
            root.path(),
            names(&users(root.path()), &|_| Some(7)),
            10,
        );
        assert_eq!(found.rows[0].name.as_deref(), Some("python3"));
        assert_eq!(found.rows[0].start_ticks, Some(987));
        assert_eq!(found.unresolved, Some(0));
        assert_eq!(found.rows[0].user.as_deref(), Some("other"));
        assert_eq!(found.top, [holding("python3 (other)", Some(5), Some(1.0))]);
    }

    fn users(root: &Path) -> Users {
        Users::new(root, 4711)
    }

    fn names<'a>(users: &'a Users, whose: &'a dyn Fn(ProcessId) -> Option<u32>) -> Names<'a> {
        Names { users, whose }
    }

    #[test]
    fn a_name_the_kernel_cut_is_completed_without_arguments() {
        let root = tempfile::tempdir().unwrap();
        put(
            root.path(),
            1,
            "sglang::schedul",
            b"sglang::scheduler_TP0 --key=abc\0\0",
            1,
        );
        put(
            root.path(),
            2,
            "llama-server-wi",
            b"/opt/x/llama-server-with-cuda\0-m\0x\0",
            1,
        );
        put(root.path(), 3, "aaaaaaaaaaaaaaa", b"something else\0", 1);
        let name = |pid| look_up(root.path(), pid).unwrap().0;
        assert_eq!(name(1), "sglang::scheduler_TP0");
        assert_eq!(name(2), "llama-server-with-cuda");
        assert_eq!(name(3), "aaaaaaaaaaaaaaa");
    }

    #[test]
    fn a_hostile_name_is_bounded_and_printable() {
        assert_eq!(printable("a\nDISABLE\r\0"), "a_DISABLE__");
        assert_eq!(printable(&"x".repeat(9999)).len(), MAX_NAME);
        assert_eq!(printable(" "), "unnamed");
    }

    #[test]
    fn a_pid_that_proc_does_not_know_is_counted_and_its_memory_kept() {
        let root = tempfile::tempdir().unwrap();
        let found = resolve(
            vec![process(7, Some(5)), process(8, Some(6))],
            root.path(),
            names(&users(root.path()), &|_| Some(7)),
            10,
        );
        assert_eq!(found.unresolved, Some(2));
        assert_eq!(found.top, [holding("unresolved", Some(11), Some(2.0))]);
    }

    fn holding(name: &str, mem_bytes: Option<u64>, sm_pct: Option<f64>) -> Holding {
        Holding {
            name: name.to_owned(),
            mem_bytes,
            sm_pct,
        }
    }

    fn named(name: &str, mem_bytes: Option<u64>) -> Process {
        Process {
            name: Some(name.into()),
            user: Some("u".into()),
            ..process(1, mem_bytes)
        }
    }

    #[test]
    fn the_largest_holders_are_shown_and_the_rest_is_other() {
        let rows = [
            named("a", Some(1)),
            named("b", Some(3)),
            named("a", Some(1)),
            named("c", Some(1)),
            named("d", Some(1)),
        ];
        let (top, other) = by_name(&rows, 2);
        let expected = [
            holding("b (u)", Some(3), Some(1.0)),
            holding("a (u)", Some(2), Some(2.0)),
        ];
        assert_eq!(top, expected);
        assert_eq!(other, Some(holding("other", Some(2), Some(2.0))));
        assert_eq!(by_name(&rows[..1], 2).1, None);
    }

    #[test]
    fn one_command_of_two_users_is_two_holders() {
        let mut rows = [named("a", Some(2)), named("a", Some(1))];
        rows[1].user = Some("unknown".into());
        let names: Vec<_> = by_name(&rows, 9).0.into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["a (u)", "a (unknown)"]);
    }

    #[test]
    fn a_client_of_the_multi_process_service_is_marked() {
        let mut rows = [named("a", Some(2)), named("a", Some(1))];
        rows[0].kind = Kind::Mps;
        let names: Vec<_> = by_name(&rows, 9).0.into_iter().map(|h| h.name).collect();
        assert_eq!(names, ["a (u, MPS)", "a (u)"]);
    }

    #[test]
    fn what_is_unknown_of_one_is_unknown_of_the_sum() {
        let mut rows = [named("a", None), named("a", Some(2)), named("b", Some(1))];
        rows[2].sm_pct = None;
        let (top, other) = by_name(&rows, 10);
        let expected = [
            holding("b (u)", Some(1), None),
            holding("a (u)", None, Some(2.0)),
        ];
        assert_eq!(top, expected);
        assert_eq!(other, None);
    }
}
