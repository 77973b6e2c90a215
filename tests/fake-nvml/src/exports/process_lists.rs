//! Lists of processes, in the three layouts their rows have had.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Code, INSUFFICIENT_SIZE, INVALID_ARGUMENT, Out};
use crate::gpu::{GpuNow, ProcessNow};
use crate::parts::MigInstance;
use crate::processes::Running;
use crate::scenario::ProcessKind;
use crate::session;

/// The instance id of a process that is in no MIG instance.
const NO_INSTANCE: c_uint = c_uint::MAX;

type RowV1 = sys::nvmlProcessInfo_v1_t;
type RowV2 = sys::nvmlProcessInfo_v2_t;

fn rows<T>(
    gpu: &GpuNow<'_>,
    kind: ProcessKind,
    form: &str,
    row: impl Fn(&ProcessNow) -> T,
) -> Result<Vec<T>, Code> {
    let rows = match recorded(gpu, kind, form) {
        Some(rows) => rows?,
        None => gpu.processes(),
    };
    Ok(rows
        .iter()
        .chain(&more(gpu, kind))
        .filter(|process| process.running.kind == kind)
        .filter(|process| {
            let of = |part: &MigInstance| process.gpu_instance == Some(part.gpu_instance);
            gpu.instance.is_none_or(of)
        })
        .map(row)
        .collect())
}

/// A record has the newest form that the driver had, and that it had no newer one; the others say the same.
fn recorded(
    gpu: &GpuNow<'_>,
    kind: ProcessKind,
    form: &str,
) -> Option<Result<Vec<ProcessNow>, Code>> {
    let record = gpu.machine.record.as_ref()?;
    let name = match kind {
        ProcessKind::Compute => "nvmlDeviceGetComputeRunningProcesses",
        ProcessKind::Graphics => "nvmlDeviceGetGraphicsRunningProcesses",
        ProcessKind::Mps => "nvmlDeviceGetMPSComputeRunningProcesses",
    };
    let board = gpu.gpu.index.to_string();
    let name_of = |form: &str| format!("{name}{form}");
    let at = |form: &str| record.at(&board, &name_of(form), &[], gpu.now_s);
    let answer = match record.has(&board, &name_of(form)) {
        true => at(form),
        false => at("_v3").or_else(|_| at("_v2")),
    };
    Some(answer.map(|recorded| {
        let row = |row: &[i64]| {
            let part = row.get(2).and_then(|part| u32::try_from(*part).ok());
            ProcessNow {
                running: Running {
                    pid: row.first().map_or(0, |pid| *pid as u32),
                    kind,
                },
                gpu_instance: part.filter(|part| *part != NO_INSTANCE),
                memory_bytes: row.get(1).map_or(u64::MAX, |bytes| bytes.cast_unsigned()),
                sm: 0,
                mem: 0,
                enc: 0,
                dec: 0,
            }
        };
        recorded.rows().map(row).collect()
    }))
}

/// The first pid of processes that do not exist: above what Linux gives out.
const NOBODY: u32 = 1 << 23;

/// What makes a list longer with each call, where the scenario wants that.
fn more(gpu: &GpuNow<'_>, kind: ProcessKind) -> Vec<ProcessNow> {
    let by = gpu.gpu.odd.list_grows_by;
    if by == 0 || kind != ProcessKind::Compute {
        return vec![];
    }
    let rows = session::asked_before(&gpu.gpu.uuid).saturating_mul(by);
    let row = |n| ProcessNow {
        running: Running {
            pid: NOBODY + n,
            kind,
        },
        gpu_instance: None,
        memory_bytes: 1 << 20,
        sm: 0,
        mem: 0,
        enc: 0,
        dec: 0,
    };
    (0..rows).map(row).collect()
}

fn v1(gpu: &GpuNow<'_>, kind: ProcessKind) -> Result<Vec<RowV1>, Code> {
    rows(gpu, kind, "", |process| RowV1 {
        pid: process.running.pid,
        usedGpuMemory: process.memory_bytes,
    })
}

/// The layout of `_v2` and `_v3`.
fn v2(gpu: &GpuNow<'_>, kind: ProcessKind, form: &str) -> Result<Vec<RowV2>, Code> {
    rows(gpu, kind, form, |process| RowV2 {
        pid: process.running.pid,
        usedGpuMemory: process.memory_bytes,
        gpuInstanceId: process.gpu_instance.unwrap_or(NO_INSTANCE),
        computeInstanceId: NO_INSTANCE,
    })
}

device_calls! {
    fn nvmlDeviceGetComputeRunningProcesses(gpu, count: Out<c_uint>, rows: Out<RowV1>) {
        rows.list(count, &v1(gpu, ProcessKind::Compute)?)
    }

    fn nvmlDeviceGetComputeRunningProcesses_v2(gpu, count: Out<c_uint>, rows: Out<RowV2>) {
        rows.list(count, &v2(gpu, ProcessKind::Compute, "_v2")?)
    }

    fn nvmlDeviceGetComputeRunningProcesses_v3(gpu, count: Out<c_uint>, rows: Out<RowV2>) {
        rows.list(count, &v2(gpu, ProcessKind::Compute, "_v3")?)
    }

    fn nvmlDeviceGetGraphicsRunningProcesses(gpu, count: Out<c_uint>, rows: Out<RowV1>) {
        rows.list(count, &v1(gpu, ProcessKind::Graphics)?)
    }

    fn nvmlDeviceGetGraphicsRunningProcesses_v2(gpu, count: Out<c_uint>, rows: Out<RowV2>) {
        rows.list(count, &v2(gpu, ProcessKind::Graphics, "_v2")?)
    }

    fn nvmlDeviceGetGraphicsRunningProcesses_v3(gpu, count: Out<c_uint>, rows: Out<RowV2>) {
        rows.list(count, &v2(gpu, ProcessKind::Graphics, "_v3")?)
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses(gpu, count: Out<c_uint>, rows: Out<RowV1>) {
        rows.list(count, &v1(gpu, ProcessKind::Mps)?)
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses_v2(gpu, count: Out<c_uint>, rows: Out<RowV2>) {
        rows.list(count, &v2(gpu, ProcessKind::Mps, "_v2")?)
    }

    fn nvmlDeviceGetMPSComputeRunningProcesses_v3(gpu, count: Out<c_uint>, rows: Out<RowV2>) {
        rows.list(count, &v2(gpu, ProcessKind::Mps, "_v3")?)
    }

    fn nvmlDeviceGetRunningProcessDetailList(gpu, list: Out<sys::nvmlProcessDetailList_t>) {
        list.versioned(|list| {
            let kind = match list.mode {
                0 => ProcessKind::Compute,
                1 => ProcessKind::Graphics,
                2 => ProcessKind::Mps,
                _ => return Err(INVALID_ARGUMENT),
            };
            let rows = rows(gpu, kind, "_v3", |process| sys::nvmlProcessDetail_v1_t {
                pid: process.running.pid,
                usedGpuMemory: process.memory_bytes,
                gpuInstanceId: process.gpu_instance.unwrap_or(NO_INSTANCE),
                computeInstanceId: NO_INSTANCE,
                usedGpuCcProtectedMemory: 0,
            })?;
            let room = std::mem::replace(&mut list.numProcArrayEntries, rows.len() as c_uint);
            if (room as usize) < rows.len() {
                return Err(INSUFFICIENT_SIZE);
            }
            Out::member(list.procArray).copy(&rows)
        })
    }
}
