//! What a snapshot says to the modules that charge GPU time, memory and energy to servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::snapshot::Snapshot;
use crate::gpu_usage;

/// The same reading in the shape of the slot; GPUs that did not answer are not in it.
pub fn usage(snapshot: &Snapshot, taken: Instant, every: Duration) -> gpu_usage::Snapshot {
    let answered = || {
        let gpus = snapshot.gpus.iter();
        gpus.filter(|gpu| gpu.state.answers())
    };
    gpu_usage::Snapshot {
        taken,
        every,
        gpus: answered()
            .map(|gpu| gpu_usage::Gpu {
                uuid: Arc::clone(&gpu.id.uuid),
                index: gpu.id.index,
                product_name: Arc::clone(&gpu.id.product_name),
                energy_mj: gpu.fast.energy_mj,
                power_mw: gpu.fast.power_mw,
                busy_pct: gpu.fast.busy_pct.map(f64::from),
                ran: gpu.ran(),
                split: gpu.mig.enabled == Some(true) || !gpu.mig.instances.is_empty(),
                processes_known: gpu.processes.is_some(),
            })
            .collect(),
        processes: answered()
            .flat_map(|gpu| {
                let rows = gpu.processes.iter().flat_map(|read| &read.rows);
                rows.map(|process| gpu_usage::Process {
                    gpu_uuid: Arc::clone(&gpu.id.uuid),
                    pid: process.pid,
                    start_ticks: process.start_ticks,
                    name: process.name.clone(),
                    user: process.user.clone(),
                    mem_bytes: process.mem_bytes,
                    sm_pct: process.sm_pct,
                    kind: process.kind,
                })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu_usage::Kind;
    use crate::nvidia::snapshot::{Gpu, Identity, Process, Processes, State};

    fn gpu(uuid: &str, state: State, processes: Option<Processes>) -> Gpu {
        Gpu {
            id: Identity {
                uuid: uuid.into(),
                ..Identity::default()
            },
            state,
            processes: processes.map(Arc::new),
            ..Gpu::default()
        }
    }

    #[test]
    fn a_lost_gpu_uses_nothing_and_an_unread_list_is_not_an_empty_one() {
        let process = Process {
            pid: 7,
            start_ticks: Some(9),
            name: Some("python3".into()),
            user: Some("marie".into()),
            mem_bytes: None,
            sm_pct: Some(50.0),
            kind: Kind::Compute,
        };
        let read = Processes {
            rows: vec![process],
            ..Processes::default()
        };
        let snapshot = Snapshot {
            gpus: vec![
                gpu("GPU-a", State::Ok, Some(read.clone())),
                gpu("GPU-b", State::Lost, Some(read)),
                gpu("GPU-c", State::ResetRequired, None),
            ],
        };
        let usage = usage(&snapshot, Instant::now(), Duration::from_secs(1));
        let known: Vec<_> = usage
            .gpus
            .iter()
            .map(|gpu| (&*gpu.uuid, gpu.processes_known))
            .collect();
        assert_eq!(known, [("GPU-a", true), ("GPU-c", false)]);
        assert_eq!(usage.processes.len(), 1);
        assert_eq!(usage.processes[0].start_ticks, Some(9));
        assert_eq!(&*usage.processes[0].gpu_uuid, "GPU-a");
        assert_eq!(usage.processes[0].name.as_deref(), Some("python3"));
        assert_eq!(usage.processes[0].user.as_deref(), Some("marie"));
    }
}
