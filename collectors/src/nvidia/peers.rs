//! A GPU beside its peers: those that compute in step with it for one server, by tensor parallelism. The slowest
//! of them sets the pace of all, and looks busy like the others.

use super::snapshot::{Gpu, Process, Snapshot, Throttled};
use crate::inference_status::Server;

/// How a GPU fares beside its peers. Each is the difference to their median, and unknown where it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// The server that they run.
    pub server: String,
    /// Per cent by which its SM clock is under theirs; below zero if it is over.
    pub clock_pct: Option<f64>,
    /// Points by which the share of its time that is throttled is over theirs.
    pub throttled_pct: Option<f64>,
    /// Per cent by which its PCI Express lanes are fewer than theirs.
    pub lanes_pct: Option<f64>,
    /// Degrees by which it is warmer.
    pub warmer_c: Option<f64>,
}

/// Every GPU of the snapshot that has peers, by its place, beside those that compute now. What a GPU that waits
/// reads says nothing about one that works.
pub fn beside(snapshot: &Snapshot, servers: &[Server]) -> Vec<(usize, Beside)> {
    let gpus = &snapshot.gpus;
    let mut all = vec![];
    for server in servers.iter().filter(|server| server.tp > 1) {
        for group in groups(gpus, servers, server) {
            for &place in &group {
                let works = |place: &usize| gpus[*place].fast.busy_pct > Some(0);
                let others = group.iter().filter(|other| **other != place);
                let others: Vec<&Gpu> = others.filter(|o| works(o)).map(|o| &gpus[*o]).collect();
                if works(&place) && !others.is_empty() {
                    all.push((place, compare(&gpus[place], &others, &server.name)));
                }
            }
        }
    }
    all
}

/// The GPUs of one server that compute in step, by place. Where it has more than tensor-parallel ranks, each
/// replica or stage is a group, told apart by the titles of its processes, or unknown.
fn groups(gpus: &[Gpu], servers: &[Server], server: &Server) -> Vec<Vec<usize>> {
    let mut members: Vec<(usize, Option<&str>)> = vec![];
    for (place, gpu) in gpus
        .iter()
        .enumerate()
        .filter(|(_, gpu)| gpu.state.answers())
    {
        let rows = gpu.processes.iter().flat_map(|read| &read.rows);
        // Of several servers on a GPU the one that holds most of it.
        let owned = rows.filter_map(|row| Some((owner(row, servers)?, row)));
        let most = owned.max_by_key(|(_, row)| row.mem_bytes);
        if let Some((_, row)) = most.filter(|(owner, _)| owner.name == server.name) {
            members.push((place, row.name.as_deref()));
        }
    }
    if members.len() <= server.tp as usize {
        return vec![members.into_iter().map(|(place, _)| place).collect()];
    }
    let mut groups: Vec<(String, Vec<usize>)> = vec![];
    for (place, name) in members {
        let Some(name) = name.and_then(step_group) else {
            continue;
        };
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, group)) => group.push(place),
            None => groups.push((name, vec![place])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

fn owner<'a>(row: &Process, servers: &'a [Server]) -> Option<&'a Server> {
    let start = row.start_ticks?;
    let mut servers = servers.iter();
    servers.find(|server| server.processes.get(&row.pid) == Some(&start))
}

/// What is the same in the titles of all that compute in step: `sglang::scheduler_DP0` of
/// `sglang::scheduler_DP0_TP1_EP1`. `None` for a title without a tensor-parallel rank.
fn step_group(title: &str) -> Option<String> {
    let rank = |part: &&str, kind| {
        let number: Option<&str> = part.strip_prefix(kind);
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    let parts: Vec<&str> = title.split('_').collect();
    let of_all = parts
        .iter()
        .filter(|part| !rank(part, "TP") && !rank(part, "EP"));
    let has_rank = parts.iter().any(|part| rank(part, "TP"));
    has_rank.then(|| of_all.copied().collect::<Vec<_>>().join("_"))
}

fn compare(gpu: &Gpu, others: &[&Gpu], server: &str) -> Beside {
    let both = |of: &dyn Fn(&Gpu) -> Option<f64>| {
        let theirs = median(others.iter().filter_map(|other| of(other)).collect());
        of(gpu).zip(theirs)
    };
    let under = |of: &dyn Fn(&Gpu) -> Option<f64>| {
        let (own, theirs) = both(of).filter(|(_, theirs)| *theirs > 0.0)?;
        Some((theirs - own) / theirs * 100.0)
    };
    let over = |of: &dyn Fn(&Gpu) -> Option<f64>| both(of).map(|(own, theirs)| own - theirs);
    Beside {
        server: server.to_owned(),
        clock_pct: under(&|gpu| gpu.fast.clocks.sm_mhz.map(f64::from)),
        throttled_pct: over(&|gpu| throttled(&gpu.fast.throttled)),
        lanes_pct: under(&|gpu| gpu.slow.pcie.width.map(f64::from)),
        warmer_c: over(&|gpu| gpu.fast.temperature_c.map(f64::from)),
    }
}

/// The largest share of time in which a cause of its own held a GPU down: causes overlap, and being kept in step
/// with another is none.
fn throttled(by: &Throttled) -> Option<f64> {
    let causes = [
        by.sw_power_cap,
        by.sw_thermal,
        by.hw_thermal,
        by.hw_power_brake,
        by.thermal,
    ];
    causes.into_iter().flatten().reduce(f64::max)
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
    match odd {
        true => values.get(middle).copied(),
        false => Some((values.get(middle.checked_sub(1)?)? + values.get(middle)?) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::gpu_usage::Kind;
    use crate::nvidia::snapshot::{Processes, State};

    fn first_row(gpu: &mut Gpu) -> &mut Process {
        &mut Arc::make_mut(gpu.processes.as_mut().unwrap()).rows[0]
    }

    fn gpu(index: u32, title: &str, sm_mhz: u32) -> Gpu {
        let mut gpu = Gpu {
            state: State::Ok,
            ..Gpu::default()
        };
        gpu.id.index = index;
        gpu.fast.busy_pct = Some(90);
        gpu.fast.clocks.sm_mhz = Some(sm_mhz);
        gpu.fast.temperature_c = Some(60);
        gpu.slow.pcie.width = Some(16);
        gpu.fast.throttled.sw_power_cap = Some(5.0);
        let row = Process {
            pid: 100 + index,
            start_ticks: Some(7),
            name: Some(title.into()),
            user: None,
            mem_bytes: Some(1000),
            sm_pct: None,
            kind: Kind::Compute,
        };
        let read = Processes {
            rows: vec![row],
            ..Processes::default()
        };
        gpu.processes = Some(read.into());
        gpu
    }

    fn server(tp: u32, pids: std::ops::Range<u32>) -> Server {
        Server {
            tp,
            processes: pids.map(|pid| (pid, 7)).collect(),
            ..crate::inference_status::tests::server("127.0.0.1:30000", 1)
        }
    }

    /// A group whose GPUs have these clocks.
    fn group(clocks: &[u32]) -> Snapshot {
        let gpus = (0..).zip(clocks);
        Snapshot {
            gpus: gpus
                .map(|(rank, mhz)| gpu(rank, &format!("sglang::scheduler_TP{rank}"), *mhz))
                .collect(),
        }
    }

    fn clocks(snapshot: &Snapshot, servers: &[Server]) -> Vec<(usize, Option<f64>)> {
        let beside = beside(snapshot, servers);
        beside
            .into_iter()
            .map(|(place, it)| (place, it.clock_pct))
            .collect()
    }

    #[test]
    fn the_straggler_is_behind_and_its_peers_are_not() {
        let mut snapshot = group(&[1600, 1200, 1600, 1600]);
        let slow = &mut snapshot.gpus[1];
        slow.fast.throttled.hw_thermal = Some(45.0);
        slow.fast.throttled.sync_boost = Some(99.0);
        slow.fast.temperature_c = Some(88);
        slow.slow.pcie.width = Some(8);
        let beside = beside(&snapshot, &[server(4, 100..104)]);
        let expected = Beside {
            server: "127.0.0.1:30000".to_owned(),
            clock_pct: Some(25.0),
            throttled_pct: Some(40.0),
            lanes_pct: Some(50.0),
            warmer_c: Some(28.0),
        };
        assert_eq!(beside[1], (1, expected));
        for (place, other) in [&beside[0], &beside[2], &beside[3]] {
            assert_eq!(
                (other.clock_pct, other.warmer_c),
                (Some(0.0), Some(0.0)),
                "{place}"
            );
        }
    }

    #[test]
    fn only_gpus_of_one_server_with_tensor_parallelism_that_work_are_compared() {
        let mut snapshot = group(&[1600, 1200]);
        assert_eq!(clocks(&snapshot, &[server(1, 100..102)]), []);
        assert_eq!(clocks(&snapshot, &[server(2, 100..101)]), []);
        assert_eq!(clocks(&snapshot, &[]), []);
        let servers = [server(2, 100..102)];
        assert_eq!(clocks(&snapshot, &servers).len(), 2);
        snapshot.gpus[0].fast.busy_pct = Some(0);
        assert_eq!(clocks(&snapshot, &servers), []);
        snapshot.gpus[0].fast.busy_pct = Some(9);
        snapshot.gpus[0].state = State::Lost;
        assert_eq!(clocks(&snapshot, &servers), []);
    }

    #[test]
    fn a_pid_that_was_given_out_again_is_nobodys() {
        let mut snapshot = group(&[1600, 1200]);
        first_row(&mut snapshot.gpus[1]).start_ticks = Some(8);
        assert_eq!(clocks(&snapshot, &[server(2, 100..102)]), []);
    }

    #[test]
    fn replicas_are_groups_of_their_own_and_those_that_nobody_can_tell_apart_none() {
        let mut snapshot = group(&[1600, 1600, 1000, 1000]);
        let servers = [server(2, 100..104)];
        let titles = ["DP0_TP0_EP0", "DP0_TP1_EP1", "DP1_TP0_EP0", "DP1_TP1_EP1"];
        for (gpu, title) in snapshot.gpus.iter_mut().zip(titles) {
            first_row(gpu).name = Some(format!("sglang::scheduler_{title}").into());
        }
        let even = (0..4).map(|place| (place, Some(0.0)));
        assert_eq!(clocks(&snapshot, &servers), even.collect::<Vec<_>>());
        for gpu in &mut snapshot.gpus {
            first_row(gpu).name = Some("python3".into());
        }
        assert_eq!(clocks(&snapshot, &servers), []);
    }

    #[test]
    fn what_is_unknown_is_not_compared() {
        let mut snapshot = group(&[1600, 1200]);
        snapshot.gpus[0].fast.clocks.sm_mhz = None;
        snapshot.gpus[1].fast.throttled = Throttled::default();
        for (_, beside) in beside(&snapshot, &[server(2, 100..102)]) {
            assert_eq!((beside.clock_pct, beside.throttled_pct), (None, None));
            assert_eq!(beside.lanes_pct, Some(0.0));
        }
    }
}
