//! The child process that reads the GPUs while a call of the plugin's own hangs: `rs.d.plugin --nvml-helper`. It
//! gets its settings as a line on standard input, a reading for every further line, and ends with it. It says
//! each call before it makes it, so that the parent knows which one hangs.

use std::io::{BufRead as _, stdin};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use super::read::{Progress, Trouble};
use super::reading::Reading;
use super::snapshot::Snapshot;
use crate::host_probe::HostProbe;

/// The call under way until the first one is told.
pub const STARTING: &str = "starting";
/// The call that wakes up every GPU.
pub const INITIALISING: &str = "nvmlInit";

/// A line of the helper's.
pub enum Line {
    /// A call begins.
    Call {
        /// NVML's index.
        gpu: Option<u32>,
        /// NVML's name of it.
        call: String,
    },
    /// A reading.
    Read(Box<Snapshot>),
    /// What keeps it from reading.
    Failed(Trouble),
}

/// Reads a line of the helper's; `None` if it is none.
pub fn parse(line: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(line).ok()?.trim_end();
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "C" => {
            let (gpu, call) = rest.split_once(' ')?;
            Some(Line::Call {
                gpu: gpu.parse().ok(),
                call: call.to_owned(),
            })
        }
        "S" => serde_json::from_str(rest).ok().map(Line::Read),
        "E" => serde_json::from_str(rest).ok().map(Line::Failed),
        _ => None,
    }
}

/// Reads the GPUs for a parent, until it closes standard input.
///
/// # Errors
/// When there are no settings, or nothing can be read.
pub fn serve() -> anyhow::Result<()> {
    end_with_the_parent();
    netdata_plugin::log::set_scope("nvidia", "helper");
    let mut lines = stdin().lock().lines();
    let settings = lines.next().context("no settings on standard input")??;
    let settings = serde_json::from_str(&settings).context("settings that are none")?;
    let probe = Arc::new(HostProbe::of_the_agent());
    let mut reading = Reading::open(settings, probe, Arc::new(Progress::told()))?;
    for line in lines {
        line?;
        match reading.read(Instant::now()) {
            Ok(snapshot) => println!("S {}", serde_json::to_string(snapshot)?),
            Err(trouble) => println!("E {}", serde_json::to_string(&trouble)?),
        }
    }
    Ok(())
}

/// A parent that is killed closes the pipe; one that dies while we hang does not reach us.
fn end_with_the_parent() {
    // SAFETY: PR_SET_PDEATHSIG takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvidia::snapshot::Gpu;

    #[test]
    fn a_snapshot_passes_between_processes_whole() {
        let mut gpu = Gpu::default();
        gpu.id.uuid = "GPU-1".into();
        gpu.fast.energy_mj = Some(u64::MAX - 1);
        gpu.fast.power_range_w = Some((0.5, 700.25));
        gpu.xids = Some(vec![79]);
        let snapshot = Snapshot { gpus: vec![gpu] };
        let line = format!("S {}\n", serde_json::to_string(&snapshot).unwrap());
        let Some(Line::Read(read)) = parse(line.as_bytes()) else {
            panic!("{line}");
        };
        assert_eq!(*read, snapshot);
    }

    #[test]
    fn a_call_is_told_with_its_gpu_and_nonsense_is_none() {
        let call = parse(b"C 3 nvmlDeviceGetPowerUsage\n");
        assert!(matches!(call, Some(Line::Call { gpu: Some(3), call }) if call.contains("Power")));
        assert!(matches!(
            parse(b"C - nvmlDeviceGetCount\n"),
            Some(Line::Call { gpu: None, .. })
        ));
        for nonsense in [&b"S {}\n"[..], b"what\n", b"\xff\n", b"S [\n"] {
            assert!(parse(nonsense).is_none());
        }
    }
}
