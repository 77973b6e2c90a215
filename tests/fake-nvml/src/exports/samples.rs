//! The driver's sample buffers: a GPU's readings and its processes' utilisation. Samples lie on
//! a fixed grid of the wall clock, so everyone reads the same ones.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Code, INSUFFICIENT_SIZE, INVALID_ARGUMENT, NOT_FOUND, Out};
use crate::gpu::{GpuNow, ProcessNow, supported};
use crate::processes::Running;
use crate::scenario::ProcessKind;

/// How many samples a buffer holds.
const BUFFER: u64 = 120;
/// How far apart the samples are, µs.
const POWER_PERIOD_US: u64 = 20_000;
const UTILIZATION_PERIOD_US: u64 = 167_000;
/// `nvmlValueType_t` of every sample.
const UNSIGNED_INT: c_uint = 1;

fn now_us(gpu: &GpuNow<'_>) -> u64 {
    (gpu.now_s * 1e6) as u64
}

fn seconds(at_us: u64) -> f64 {
    at_us as f64 / 1e6
}

/// The times of the samples newer than `last_seen_us`, oldest first.
fn times(now_us: u64, period_us: u64, last_seen_us: u64) -> Vec<u64> {
    let newest = now_us / period_us;
    let oldest = newest
        .saturating_sub(BUFFER - 1)
        .max(last_seen_us / period_us + 1);
    (oldest..=newest).map(|sample| sample * period_us).collect()
}

/// How far the samples' clock is ahead of the system's, µs.
fn ahead_us(gpu: &GpuNow<'_>) -> i64 {
    (gpu.gpu.odd.sample_clock_s * 1e6) as i64
}

/// How many samples of nonsense there are.
const GARBAGE: u64 = if BUFFER < 100 { BUFFER } else { 100 };

/// Values and times as drivers have been seen to give: far too large, from the beginning of time and its end.
fn garbage(gpu: &GpuNow<'_>) -> impl Iterator<Item = (u64, c_uint)> {
    let count = if gpu.gpu.odd.garbage_samples {
        GARBAGE
    } else {
        0
    };
    let now = now_us(gpu);
    (0..count).map(move |n| match n % 4 {
        0 => (now, 4_000_000_000),
        1 => (0, 50),
        2 => (u64::MAX, 60),
        _ => (now, c_uint::MAX - n as c_uint),
    })
}

/// A reading by `nvmlSamplingType_t` at a time, and how far apart its samples are.
fn value(gpu: &GpuNow<'_>, kind: c_uint, at_us: u64) -> Result<c_uint, Code> {
    let readings = &gpu.gpu.model.readings;
    let percent = |signal: &Option<_>| gpu.percent_at(signal.as_ref(), seconds(at_us));
    let clocks = || supported(readings.clocks_mhz.as_ref());
    let mhz = |signal: &crate::signal::Signal| {
        signal.at(seconds(at_us) + gpu.gpu.phase_s).round().max(0.0) as c_uint
    };
    match kind {
        0 => gpu.power_at_mw(seconds(at_us)),
        1 => percent(&readings.gpu_utilization),
        2 => percent(&readings.memory_utilization),
        3 => percent(&readings.encoder_utilization),
        4 => percent(&readings.decoder_utilization),
        5 => Ok(mhz(&clocks()?.sm)),
        6 => Ok(mhz(&clocks()?.memory)),
        8 => percent(&readings.jpeg_utilization),
        9 => percent(&readings.ofa_utilization),
        7 => Err(crate::ffi::NOT_SUPPORTED),
        _ => Err(INVALID_ARGUMENT),
    }
}

/// What each process that did anything did in the newest sample, if that is newer than
/// `last_seen_us`; `call` is who asks.
fn newest_of_processes(
    gpu: &GpuNow<'_>,
    call: &str,
    last_seen_us: u64,
) -> Result<(u64, Vec<ProcessNow>), Code> {
    if let Some(rows) = recorded(gpu, call, &[])? {
        return newest_recorded(&rows, last_seen_us);
    }
    supported(gpu.gpu.model.readings.gpu_utilization.as_ref())?;
    let at_us = now_us(gpu) / UTILIZATION_PERIOD_US * UTILIZATION_PERIOD_US;
    let mut processes = gpu.processes_at(seconds(at_us));
    processes.retain(|process| process.sm + process.mem + process.enc + process.dec > 0);
    let stamp_us = at_us.saturating_add_signed(ahead_us(gpu));
    if stamp_us <= last_seen_us || processes.is_empty() {
        return Err(NOT_FOUND);
    }
    Ok((stamp_us, processes))
}

/// A row of a record: when it was sampled, Unix microseconds, and what.
type RecordedRow = (u64, Vec<i64>);

/// The samples of a record up to now, as many as a buffer holds; `None` without a record.
fn recorded(gpu: &GpuNow<'_>, name: &str, asked: &[u64]) -> Result<Option<Vec<RecordedRow>>, Code> {
    let Some(record) = &gpu.machine.record else {
        return Ok(None);
    };
    let key = gpu.key();
    match record.at(&key, name, asked, gpu.now_s) {
        // Nothing was newer then.
        Ok(_) | Err(NOT_FOUND) => {}
        Err(code) => return Err(code),
    }
    let (began_s, _) = record.place(gpu.now_s);
    let began_us = (began_s * 1e6) as i64;
    let rows = record.rows_until(&key, name, asked, gpu.now_s);
    let mut rows: Vec<_> = rows
        .filter_map(|row| {
            let (at_us, values) = row.split_first()?;
            Some(((began_us + at_us).cast_unsigned(), values.to_vec()))
        })
        .collect();
    let older = rows.len().saturating_sub(BUFFER as usize);
    rows.drain(..older);
    Ok(Some(rows))
}

fn newest_recorded(
    rows: &[RecordedRow],
    last_seen_us: u64,
) -> Result<(u64, Vec<ProcessNow>), Code> {
    let newest = rows.iter().map(|row| row.0).max().unwrap_or(0);
    if newest <= last_seen_us {
        return Err(NOT_FOUND);
    }
    let row = |row: &RecordedRow| {
        let value = |place: usize| row.1.get(place).map_or(0, |value| *value as u32);
        ProcessNow {
            running: Running {
                pid: value(0),
                kind: ProcessKind::Compute,
            },
            gpu_instance: None,
            memory_bytes: 0,
            sm: value(1),
            mem: value(2),
            enc: value(3),
            dec: value(4),
        }
    };
    let of_newest = rows.iter().filter(|row| row.0 == newest);
    Ok((newest, of_newest.map(row).collect()))
}

device_calls! {
    fn nvmlDeviceGetSamples(
        gpu,
        kind: c_uint,
        last_seen_us: u64,
        value_type: Out<c_uint>,
        count: Out<c_uint>,
        samples: Out<sys::nvmlSample_t>,
    ) {
        let period = if kind == 0 { POWER_PERIOD_US } else { UTILIZATION_PERIOD_US };
        let recorded = recorded(gpu, "nvmlDeviceGetSamples", &[kind.into()])?;
        if recorded.is_none() {
            value(gpu, kind, now_us(gpu))?;
        }
        value_type.put(UNSIGNED_INT)?;
        if samples.is_null() {
            return count.put(BUFFER as c_uint);
        }
        let mut rows = Vec::new();
        let mut add = |stamp_us, value| {
            // The union is 8 bytes wide, of which an unsigned int sets 4.
            let mut sample = sys::nvmlValue_st { ullVal: 0 };
            sample.uiVal = value;
            rows.push(sys::nvmlSample_t { timeStamp: stamp_us, sampleValue: sample });
        };
        garbage(gpu).for_each(|(stamp_us, value)| add(stamp_us, value));
        for row in recorded.iter().flatten().filter(|row| row.0 > last_seen_us) {
            add(row.0, row.1[0] as c_uint);
        }
        let ahead_us = ahead_us(gpu);
        for at_us in times(now_us(gpu), period, last_seen_us.saturating_add_signed(-ahead_us)) {
            if recorded.is_some() {
                break;
            }
            add(at_us.saturating_add_signed(ahead_us), value(gpu, kind, at_us)?);
        }
        if rows.is_empty() {
            return Err(NOT_FOUND);
        }
        let written = count.change(|count| {
            *count = (*count).min(rows.len() as c_uint);
            *count as usize
        })?;
        if written == 0 {
            return Err(INVALID_ARGUMENT);
        }
        samples.copy(&rows[..written])
    }

    fn nvmlDeviceGetProcessUtilization(
        gpu,
        samples: Out<sys::nvmlProcessUtilizationSample_t>,
        count: Out<c_uint>,
        last_seen_us: u64,
    ) {
        let (at_us, processes) = newest_of_processes(gpu, "nvmlDeviceGetProcessUtilization", last_seen_us)?;
        let garbage = garbage(gpu).map(|(stamp_us, value)| sys::nvmlProcessUtilizationSample_t {
            pid: processes[0].running.pid,
            timeStamp: stamp_us,
            smUtil: value,
            memUtil: value,
            encUtil: value,
            decUtil: value,
        });
        let true_ones = processes
            .iter()
            .map(|process| sys::nvmlProcessUtilizationSample_t {
                pid: process.running.pid,
                timeStamp: at_us,
                smUtil: process.sm,
                memUtil: process.mem,
                encUtil: process.enc,
                decUtil: process.dec,
            });
        let rows: Vec<_> = garbage.chain(true_ones).collect();
        if samples.is_null() {
            count.put(rows.len() as c_uint)?;
            return Err(INSUFFICIENT_SIZE);
        }
        samples.list(count, &rows)
    }

    fn nvmlDeviceGetProcessesUtilizationInfo(
        gpu,
        info: Out<sys::nvmlProcessesUtilizationInfo_t>,
    ) {
        info.versioned(|info| {
            let call = "nvmlDeviceGetProcessesUtilizationInfo";
            let (at_us, processes) = newest_of_processes(gpu, call, info.lastSeenTimeStamp)?;
            let room = std::mem::replace(&mut info.processSamplesCount, processes.len() as c_uint);
            if info.procUtilArray.is_null() || (room as usize) < processes.len() {
                return Err(INSUFFICIENT_SIZE);
            }
            let row = |process: &ProcessNow| sys::nvmlProcessUtilizationInfo_v1_t {
                timeStamp: at_us,
                pid: process.running.pid,
                smUtil: process.sm,
                memUtil: process.mem,
                encUtil: process.enc,
                decUtil: process.dec,
                jpgUtil: 0,
                ofaUtil: 0,
            };
            Out::member(info.procUtilArray).copy(&processes.iter().map(row).collect::<Vec<_>>())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_lie_on_a_grid_and_none_is_read_twice() {
        assert_eq!(
            times(1_000_050, 20_000, 940_000),
            [960_000, 980_000, 1_000_000]
        );
        assert_eq!(times(1_000_050, 20_000, 1_000_000), [] as [u64; 0]);
        assert_eq!(times(10_000_000, 20_000, 0).len() as u64, BUFFER);
        assert_eq!(times(1_000_050, 20_000, u64::MAX / 2), [] as [u64; 0]);
    }
}
