//! Which GPUs a set of processes is on, and what part of their power is theirs.

use std::collections::BTreeMap;

use crate::gpu_usage::{Kind, Process, Snapshot};

/// What a set of processes uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// The indexes of their GPUs, ascending.
    pub gpus: Vec<u32>,
    /// Their power in watts; `None` if it is unknown for one of the GPUs.
    pub watts: Option<f64>,
    /// How that was found out.
    pub share: Share,
}

/// Where a number of watts comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// Nobody else is on these GPUs: the boards' own power.
    Exclusive,
    /// Others are: the boards' power by share of SM time.
    Estimate,
    /// Nobody knows.
    Unknown,
}

impl Share {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Estimate => "estimate",
            Self::Unknown => "none",
        }
    }
}

/// Whether `process` is one of `processes`, by pid and start: a pid may have been another's.
pub fn is_among(process: &Process, processes: &BTreeMap<u32, u64>) -> bool {
    let start = processes.get(&process.pid);
    start.is_some_and(|start| process.start_ticks.is_none_or(|its| its == *start))
}

/// What `processes` use of the GPUs in `snapshot`; `None` if they are on none of them.
pub fn used_by(processes: &BTreeMap<u32, u64>, snapshot: &Snapshot) -> Option<Use> {
    let (mut gpus, mut watts, mut share) = (vec![], Some(0.0), Share::Exclusive);
    for gpu in &snapshot.gpus {
        let rows = || {
            let all = snapshot.processes.iter();
            all.filter(|process| process.gpu_uuid == gpu.uuid)
        };
        if !rows().any(|row| is_among(row, processes)) {
            continue;
        }
        gpus.push(gpu.index);
        let board = gpu.power_mw.map(|mw| f64::from(mw) / 1e3);
        let part = if rows().all(|row| is_among(row, processes)) {
            Some(1.0)
        } else {
            share = share.max(Share::Estimate);
            sm_share(rows(), processes)
        };
        watts = watts
            .zip(board.zip(part))
            .map(|(sum, (board, part))| sum + board * part);
    }
    if watts.is_none() {
        share = Share::Unknown;
    }
    gpus.sort_unstable();
    (!gpus.is_empty()).then_some(Use { gpus, watts, share })
}

/// The part of the SM time of `rows` that is that of `processes`; `None` if one row's is unknown (under the
/// multi-process service each has the service's), or if nobody computes.
fn sm_share<'a>(
    rows: impl Iterator<Item = &'a Process>,
    processes: &BTreeMap<u32, u64>,
) -> Option<f64> {
    let (mut own, mut all) = (0.0, 0.0);
    for row in rows {
        let sm_pct = row.sm_pct.filter(|_| row.kind != Kind::Mps)?;
        all += sm_pct;
        if is_among(row, processes) {
            own += sm_pct;
        }
    }
    (all > 0.0).then(|| own / all)
}

#[cfg(test)]
pub mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::gpu_usage::Gpu;

    /// A board that draws 200 W.
    pub fn gpu(index: u32) -> Gpu {
        Gpu {
            uuid: format!("GPU-{index}").into(),
            index,
            product_name: "Board".into(),
            energy_mj: None,
            power_mw: Some(200_000),
            busy_pct: Some(50.0),
            ran: Some(true),
            split: false,
            processes_known: true,
        }
    }

    /// A process that started at its pid and 100 clock ticks.
    pub fn process(gpu: u32, pid: u32, sm_pct: Option<f64>) -> Process {
        Process {
            gpu_uuid: format!("GPU-{gpu}").into(),
            pid,
            start_ticks: Some(u64::from(pid) + 100),
            name: Some("python3".into()),
            user: Some("marie".into()),
            mem_bytes: Some(u64::from(pid) << 20),
            sm_pct,
            kind: Kind::Compute,
        }
    }

    /// A reading of `gpus` boards.
    pub fn snapshot(gpus: u32, processes: Vec<Process>) -> Snapshot {
        Snapshot {
            taken: Instant::now(),
            every: Duration::from_secs(1),
            gpus: (0..gpus).map(gpu).collect(),
            processes,
        }
    }

    fn server(pids: &[u32]) -> BTreeMap<u32, u64> {
        pids.iter()
            .map(|pid| (*pid, u64::from(*pid) + 100))
            .collect()
    }

    #[test]
    fn a_server_alone_on_its_gpus_uses_all_their_power() {
        let rows = vec![
            process(0, 1, None),
            process(2, 2, None),
            process(1, 9, None),
        ];
        let used = used_by(&server(&[1, 2, 3]), &snapshot(3, rows)).unwrap();
        assert_eq!(used.gpus, [0, 2]);
        assert_eq!((used.watts, used.share), (Some(400.0), Share::Exclusive));
    }

    #[test]
    fn power_that_is_shared_goes_by_sm_time() {
        let rows = vec![process(0, 1, Some(30.0)), process(0, 9, Some(10.0))];
        let used = used_by(&server(&[1]), &snapshot(1, rows)).unwrap();
        assert_eq!((used.watts, used.share), (Some(150.0), Share::Estimate));
    }

    #[test]
    fn a_share_that_nobody_knows_makes_the_sum_unknown() {
        for others in [None, Some(0.0)] {
            let rows = vec![
                process(0, 1, Some(0.0)),
                process(0, 9, others),
                process(1, 1, None),
            ];
            let used = used_by(&server(&[1]), &snapshot(2, rows)).unwrap();
            assert_eq!(used.gpus, [0, 1]);
            assert_eq!((used.watts, used.share), (None, Share::Unknown));
        }
        let mut shared = vec![process(0, 1, Some(50.0)), process(0, 9, Some(50.0))];
        shared[1].kind = Kind::Mps;
        let used = used_by(&server(&[1]), &snapshot(1, shared)).unwrap();
        assert_eq!(used.watts, None);
        let mut unknown = snapshot(1, vec![process(0, 1, None)]);
        unknown.gpus[0].power_mw = None;
        assert_eq!(used_by(&server(&[1]), &unknown).unwrap().watts, None);
    }

    #[test]
    fn a_pid_that_was_another_processs_is_not_the_servers() {
        let reused = BTreeMap::from([(1, 5)]);
        assert_eq!(
            used_by(&reused, &snapshot(1, vec![process(0, 1, None)])),
            None
        );
        let mut unresolved = process(0, 1, None);
        unresolved.start_ticks = None;
        assert!(is_among(&unresolved, &reused));
    }
}
