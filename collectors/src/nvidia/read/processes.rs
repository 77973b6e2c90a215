//! Who is on a GPU, and its share of SM time. Process lists take milliseconds under the driver's lock,
//! so each is fetched with one call into a buffer that is kept, not with a count first and the rows then.

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym};
use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlDevice_t, nvmlProcessInfo_t, nvmlProcessUtilizationInfo_v1_t,
    nvmlProcessUtilizationSample_t, nvmlProcessesUtilizationInfo_t,
    nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE, nvmlReturn_enum_NVML_SUCCESS, nvmlReturn_t,
};

use super::Shared;
use super::calls::Calls;
use super::sm_time::{Sample, SmTime};
use crate::gpu_usage::Kind;
use crate::nvidia::snapshot::Process;

/// Rows to begin with: enough for a server's processes on one GPU.
const FIRST_ROWS: usize = 64;

/// More rows than that are taken for nonsense.
const MAX_ROWS: usize = 8192;

/// Lists grow between a refusal and the next attempt; each attempt takes the driver's lock.
const ATTEMPTS: usize = 4;

/// Buffers kept between readings, shared by all GPUs.
#[derive(Default)]
pub struct Buffers {
    rows: Vec<nvmlProcessInfo_t>,
    samples: Vec<nvmlProcessUtilizationSample_t>,
    newer_samples: Vec<nvmlProcessUtilizationInfo_v1_t>,
}

/// Reads the processes of one GPU: `None` if the list of compute processes cannot be had. `busy_pct` is
/// the GPU's own utilisation.
pub fn read(
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    sm_time: &mut SmTime,
    busy_pct: Option<u32>,
    Shared {
        rows: buffers,
        now_us,
        ..
    }: &mut Shared,
) -> Option<Vec<Process>> {
    let mut processes = Vec::new();
    let lib = device.nvml().lib();
    list(device, uuid, calls, Kind::Compute, buffers, &mut processes)?;
    list(device, uuid, calls, Kind::Graphics, buffers, &mut processes);
    // Last, so that a client that is on another list too is known as a client of MPS.
    list(device, uuid, calls, Kind::Mps, buffers, &mut processes);
    let now_us = *now_us;
    let since = sm_time.since(now_us);
    let sampled = calls.ask(uuid, "nvmlDeviceGetProcessUtilization", || {
        let call = nvml_sym(lib.nvmlDeviceGetProcessUtilization.as_ref())?;
        let rows = none_is_empty(fill(&mut buffers.samples, |count, samples| {
            // SAFETY: as above.
            unsafe { call(device.handle(), samples, count, since) }
        }))?;
        Ok(rows.iter().map(sample).collect::<Vec<_>>())
    });
    // Some boards since Blackwell tell it by the newer call only.
    let sampled = sampled.or_else(|| {
        calls.ask(uuid, "nvmlDeviceGetProcessesUtilizationInfo", || {
            newer_samples(device, since, &mut buffers.newer_samples)
        })
    });
    let shares = sm_time.take(sampled.map(Vec::into_iter), now_us, busy_pct);
    for process in &mut processes {
        process.sm_pct = shares.of(process.pid);
    }
    Some(processes)
}

type ListCall =
    unsafe extern "C" fn(nvmlDevice_t, *mut u32, *mut nvmlProcessInfo_t) -> nvmlReturn_t;

/// The calls for one kind of process: of today's drivers, and of those before 510, with the same rows.
#[rustfmt::skip]
fn calls_for(lib: &NvmlLib, kind: Kind) -> [(&'static str, Result<ListCall, NvmlError>); 2] {
    match kind {
        Kind::Compute => [
            ("nvmlDeviceGetComputeRunningProcesses_v3", nvml_sym(lib.nvmlDeviceGetComputeRunningProcesses_v3.as_ref()).copied()),
            ("nvmlDeviceGetComputeRunningProcesses_v2", nvml_sym(lib.nvmlDeviceGetComputeRunningProcesses_v2.as_ref()).copied()),
        ],
        Kind::Graphics => [
            ("nvmlDeviceGetGraphicsRunningProcesses_v3", nvml_sym(lib.nvmlDeviceGetGraphicsRunningProcesses_v3.as_ref()).copied()),
            ("nvmlDeviceGetGraphicsRunningProcesses_v2", nvml_sym(lib.nvmlDeviceGetGraphicsRunningProcesses_v2.as_ref()).copied()),
        ],
        Kind::Mps => [
            ("nvmlDeviceGetMPSComputeRunningProcesses_v3", nvml_sym(lib.nvmlDeviceGetMPSComputeRunningProcesses_v3.as_ref()).copied()),
            ("nvmlDeviceGetMPSComputeRunningProcesses_v2", nvml_sym(lib.nvmlDeviceGetMPSComputeRunningProcesses_v2.as_ref()).copied()),
        ],
    }
}

/// Adds the processes of one kind; `None` if the list cannot be had.
fn list(
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    kind: Kind,
    buffers: &mut Buffers,
    processes: &mut Vec<Process>,
) -> Option<()> {
    let [newer, older] = calls_for(device.nvml().lib(), kind);
    // The older call is for drivers without the newer one, not for one that failed.
    let lacks_newer = newer.1.is_err() || calls.lacks(newer.0);
    let (name, call) = if lacks_newer { older } else { newer };
    calls.ask(uuid, name, || {
        let call = call?;
        let rows = fill(&mut buffers.rows, |count, rows| {
            // SAFETY: the handle comes from this library, still initialised; `fill` passes a buffer of
            // `count` rows.
            unsafe { call(device.handle(), count, rows) }
        })?;
        add(processes, rows, kind);
        Ok(())
    })
}

/// `NotFound` is the normal way to say that nothing ran since.
fn none_is_empty<T>(rows: Result<&[T], NvmlError>) -> Result<&[T], NvmlError> {
    match rows {
        Err(NvmlError::NotFound) => Ok(&[]),
        rows => rows,
    }
}

fn newer_samples(
    device: &Device<'_>,
    since: u64,
    buffer: &mut Vec<nvmlProcessUtilizationInfo_v1_t>,
) -> Result<Vec<Sample>, NvmlError> {
    const VERSION: u32 = size_of::<nvmlProcessesUtilizationInfo_t>() as u32 | (1 << 24);
    let lib = device.nvml().lib();
    let call = nvml_sym(lib.nvmlDeviceGetProcessesUtilizationInfo.as_ref())?;
    let rows = none_is_empty(fill(buffer, |count, rows| {
        // SAFETY: `fill` passes a live count and a buffer of that many rows.
        let room = unsafe { *count };
        let mut info = nvmlProcessesUtilizationInfo_t {
            version: VERSION,
            processSamplesCount: room,
            lastSeenTimeStamp: since,
            procUtilArray: rows,
        };
        // SAFETY: as above; `info` says its own size and version.
        unsafe {
            let code = call(device.handle(), &mut info);
            *count = info.processSamplesCount;
            code
        }
    }))?;
    Ok(rows
        .iter()
        .map(|row| Sample {
            pid: row.pid,
            at_us: row.timeStamp,
            sm_pct: row.smUtil,
        })
        .collect())
}

fn sample(row: &nvmlProcessUtilizationSample_t) -> Sample {
    Sample {
        pid: row.pid,
        at_us: row.timeStamp,
        sm_pct: row.smUtil,
    }
}

/// Adds rows; a pid that is there already (another MIG instance, or graphics beside compute) stays one
/// process.
fn add(processes: &mut Vec<Process>, rows: &[nvmlProcessInfo_t], kind: Kind) {
    for row in rows {
        let mem_bytes = (row.usedGpuMemory != u64::MAX).then_some(row.usedGpuMemory);
        match processes.iter_mut().find(|known| known.pid == row.pid) {
            // The other lists repeat the memory of a process that is on two.
            Some(known) if known.kind != kind => {
                if kind == Kind::Mps {
                    known.kind = kind;
                }
            }
            Some(known) => {
                known.mem_bytes = known
                    .mem_bytes
                    .zip(mem_bytes)
                    .map(|(known, more)| known.saturating_add(more));
            }
            None => processes.push(Process {
                pid: row.pid,
                start_ticks: None,
                name: None,
                user: None,
                mem_bytes,
                sm_pct: None,
                kind,
            }),
        }
    }
}

/// A structure that NVML fills, for which all zero bytes are a valid value.
trait Row: Copy {
    const ZERO: Self;
}

impl Row for nvmlProcessInfo_t {
    const ZERO: Self = Self {
        pid: 0,
        usedGpuMemory: 0,
        gpuInstanceId: 0,
        computeInstanceId: 0,
    };
}

impl Row for nvmlProcessUtilizationInfo_v1_t {
    const ZERO: Self = Self {
        timeStamp: 0,
        pid: 0,
        smUtil: 0,
        memUtil: 0,
        encUtil: 0,
        decUtil: 0,
        jpgUtil: 0,
        ofaUtil: 0,
    };
}

impl Row for nvmlProcessUtilizationSample_t {
    const ZERO: Self = Self {
        pid: 0,
        timeStamp: 0,
        smUtil: 0,
        memUtil: 0,
        encUtil: 0,
        decUtil: 0,
    };
}

/// Calls with a buffer, with a larger one as often as it turns out too small.
fn fill<T: Row>(
    buffer: &mut Vec<T>,
    mut call: impl FnMut(*mut u32, *mut T) -> nvmlReturn_t,
) -> Result<&[T], NvmlError> {
    if buffer.is_empty() {
        buffer.resize(FIRST_ROWS, T::ZERO);
    }
    for _ in 0..ATTEMPTS {
        // Rows that the driver counts but does not write must not be those of another GPU.
        buffer.fill(T::ZERO);
        let mut count = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        #[allow(non_upper_case_globals)]
        match call(&mut count, buffer.as_mut_ptr()) {
            nvmlReturn_enum_NVML_SUCCESS => {
                let count = (count as usize).min(buffer.len());
                return Ok(&buffer[..count]);
            }
            nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE => {
                let wanted = (count as usize).max(buffer.len()) * 2;
                if wanted > MAX_ROWS * 2 {
                    break;
                }
                buffer.resize(wanted.min(MAX_ROWS), T::ZERO);
            }
            code => return Err(code.into()),
        }
    }
    Err(NvmlError::InsufficientSize(Some(buffer.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, mem: u64) -> nvmlProcessInfo_t {
        nvmlProcessInfo_t {
            pid,
            usedGpuMemory: mem,
            ..nvmlProcessInfo_t::ZERO
        }
    }

    #[test]
    fn a_list_that_grows_between_calls_is_read_whole() {
        let (mut buffer, mut there) = (Vec::new(), 60_u32);
        let rows = fill::<nvmlProcessInfo_t>(&mut buffer, |count, rows| {
            there += 50;
            // SAFETY: `fill` passes both as live for the call.
            unsafe {
                if *count < there {
                    *count = there;
                    return nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
                }
                *count = there;
                for at in 0..there {
                    *rows.add(at as usize) = row(at + 1, 1);
                }
            }
            nvmlReturn_enum_NVML_SUCCESS
        })
        .unwrap();
        assert_eq!(rows.len(), 160);
        assert_eq!(rows[159].pid, 160);
    }

    #[test]
    fn a_driver_that_wants_ever_more_room_is_given_up_on() {
        let (mut buffer, mut calls) = (Vec::new(), 0);
        let result = fill::<nvmlProcessInfo_t>(&mut buffer, |count, _| {
            calls += 1;
            // SAFETY: as above.
            unsafe { *count = u32::MAX };
            nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE
        });
        assert!(result.is_err());
        assert!(calls <= ATTEMPTS);
        assert!(buffer.len() <= MAX_ROWS);
    }

    #[test]
    fn a_process_with_compute_and_graphics_is_counted_once() {
        let mut processes = Vec::new();
        add(&mut processes, &[row(7, 100)], Kind::Compute);
        add(&mut processes, &[row(7, 100), row(8, 5)], Kind::Graphics);
        assert_eq!(processes.len(), 2);
        assert_eq!(processes[0].mem_bytes, Some(100));
        assert_eq!(processes[0].kind, Kind::Compute);
    }

    #[test]
    fn a_process_on_two_instances_holds_their_sum_and_unknown_memory_stays_unknown() {
        let mut processes = Vec::new();
        add(
            &mut processes,
            &[row(7, 100), row(7, 20), row(9, u64::MAX)],
            Kind::Compute,
        );
        assert_eq!(processes[0].mem_bytes, Some(120));
        assert_eq!(processes[1].mem_bytes, None);
    }
}
