//! The driver's samples of power, utilisation and processes, and its performance monitoring.

use std::collections::HashMap;

use nvml_wrapper::Nvml;
use nvml_wrapper_sys::bindings::{
    NVML_GPM_METRICS_GET_VERSION, NvmlLib, nvmlGpmMetric_t, nvmlGpmMetric_t__bindgen_ty_1,
    nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlProcessUtilizationInfo_v1_t,
    nvmlProcessUtilizationSample_t, nvmlProcessesUtilizationInfo_t, nvmlSample_t, nvmlValue_t,
};

use super::anonymous::Names;
use super::calls::{Answer, Value};
use super::lists::ROWS;
use super::raw::{self, Handle};

/// `NVML_GPM_METRIC_*` up to those of the fifth generation of NVLink.
const METRICS: std::ops::RangeInclusive<u32> = 1..=97;

/// The driver's samples, of which each is recorded once, and GPM's.
pub struct Samples {
    /// What the times in the record are counted from, Unix microseconds.
    began_us: u64,
    last_seen_us: HashMap<(String, u64), u64>,
    activity: HashMap<(String, Option<u32>), nvmlGpmSample_t>,
}

/// `nvmlSamplingType_t` of what is recorded: power, utilisation of the GPU and of its memory.
const KINDS: [u32; 3] = [0, 1, 2];
/// What a process did: when it was sampled, its pid, and its shares of SMs, memory, encoder and decoder.
type Share = (u64, u32, [u32; 4]);
type AskShares = fn(&NvmlLib, Handle, u64) -> (u32, Vec<Share>);
/// The two calls that tell it: boards may have either. The numbers stand for them among the kinds.
const OF_PROCESSES: &[(u64, &str, AskShares)] = &[
    (u64::MAX, "nvmlDeviceGetProcessUtilization", shares),
    (
        u64::MAX - 1,
        "nvmlDeviceGetProcessesUtilizationInfo",
        newer_shares,
    ),
];

impl Samples {
    /// None yet.
    pub fn new(began_us: u64) -> Self {
        Self {
            began_us,
            last_seen_us: HashMap::new(),
            activity: HashMap::new(),
        }
    }

    /// Records what is new.
    pub fn read(
        &mut self,
        lib: &NvmlLib,
        gpu: &str,
        handle: Handle,
        names: &mut Names,
        add: &mut impl FnMut(&str, &[u64], Answer),
    ) {
        for kind in KINDS {
            let since = self.since(gpu, kind.into());
            let (code, rows) = values(lib, handle, kind, since);
            let rows = rows.into_iter().map(|(at, value)| (at, vec![value]));
            let answer = self.rows(gpu, kind.into(), code, rows.collect());
            add("nvmlDeviceGetSamples", &[kind.into()], answer);
        }
        for (kind, name, ask) in OF_PROCESSES {
            let (code, rows) = ask(lib, handle, self.since(gpu, *kind));
            let row = |(at, pid, shares): (u64, u32, [u32; 4])| {
                let mut values = vec![names.pid(pid)];
                values.extend(shares.map(i64::from));
                (at, values)
            };
            let rows = rows.into_iter().map(row).collect();
            add(name, &[], self.rows(gpu, *kind, code, rows));
        }
    }

    fn since(&self, gpu: &str, kind: u64) -> u64 {
        let known = self.last_seen_us.get(&(gpu.to_owned(), kind));
        known.copied().unwrap_or(0)
    }

    fn rows(&mut self, gpu: &str, kind: u64, code: u32, rows: Vec<(u64, Vec<i64>)>) -> Answer {
        if code != 0 {
            return Answer::refused(code);
        }
        let newest = rows.iter().map(|(at, _)| *at).max().unwrap_or(0);
        self.last_seen_us.insert((gpu.to_owned(), kind), newest);
        let row = |(at, values): (u64, Vec<i64>)| {
            let mut row = vec![at.cast_signed() - self.began_us.cast_signed()];
            row.extend(values);
            Value::Row(row)
        };
        Answer {
            code,
            values: rows.into_iter().map(row).collect(),
        }
    }

    /// Takes a sample of a GPU, and records what lies between it and the one before.
    pub fn activity(
        &mut self,
        nvml: &Nvml,
        gpu: &str,
        handle: Handle,
        mut add: impl FnMut(&str, &[u64], Answer),
    ) {
        let lib = nvml.lib();
        let (Ok(alloc), Ok(free), Ok(take)) = (
            lib.nvmlGpmSampleAlloc.as_ref(),
            lib.nvmlGpmSampleFree.as_ref(),
            lib.nvmlGpmSampleGet.as_ref(),
        ) else {
            return;
        };
        let mut instances = vec![None];
        for (_, part) in raw::instances(lib, handle, super::MOST_INSTANCES) {
            let mut id = 0;
            if let Ok(function) = lib.nvmlDeviceGetGpuInstanceId.as_ref()
                // SAFETY: the handle comes from this library, still initialised; `id` is a live integer.
                && unsafe { function(part.0, &mut id) } == 0
            {
                instances.push(Some(id));
            }
        }
        for instance in instances {
            let mut sample: nvmlGpmSample_t = std::ptr::null_mut();
            // SAFETY: the library is initialised; `sample` is a live pointer for it to fill.
            if unsafe { alloc(&mut sample) } != 0 {
                return;
            }
            let (name, arguments, code) = match instance {
                // SAFETY: handle and sample come from this library, still initialised.
                None => ("nvmlGpmSampleGet", vec![], unsafe {
                    take(handle.0, sample)
                }),
                Some(id) => {
                    let code = match lib.nvmlGpmMigSampleGet.as_ref() {
                        // SAFETY: as above.
                        Ok(take) => unsafe { take(handle.0, id, sample) },
                        Err(_) => raw::MISSING,
                    };
                    ("nvmlGpmMigSampleGet", vec![u64::from(id)], code)
                }
            };
            add(
                name,
                &arguments,
                Answer {
                    code,
                    values: vec![],
                },
            );
            if code != 0 {
                // SAFETY: it was allocated by this library and is freed once.
                unsafe { free(sample) };
                continue;
            }
            let key = (gpu.to_owned(), instance);
            if let Some(older) = self.activity.insert(key, sample) {
                metrics(lib, older, sample, |id, answer| {
                    let mut asked = vec![u64::from(id)];
                    asked.extend(instance.map(u64::from));
                    add("nvmlGpmMetricsGet", &asked, answer);
                });
                // SAFETY: as above; it is in no map any more.
                unsafe { free(older) };
            }
        }
    }
}

fn values(lib: &NvmlLib, handle: Handle, kind: u32, since: u64) -> (u32, Vec<(u64, i64)>) {
    let Ok(function) = lib.nvmlDeviceGetSamples.as_ref() else {
        return (raw::MISSING, vec![]);
    };
    let mut rows = vec![
        nvmlSample_t {
            timeStamp: 0,
            sampleValue: nvmlValue_t { ullVal: 0 },
        };
        ROWS
    ];
    let (mut kind_of_value, mut count) = (0, ROWS as u32);
    // SAFETY: the handle comes from this library, still initialised; the buffer holds `count` rows.
    let code = unsafe {
        function(
            handle.0,
            kind,
            since,
            &mut kind_of_value,
            &mut count,
            rows.as_mut_ptr(),
        )
    };
    rows.truncate(given(code, count));
    // SAFETY: the union is of numbers; power and utilisation are unsigned integers of four bytes.
    let row = |row: &nvmlSample_t| (row.timeStamp, unsafe { row.sampleValue.uiVal }.into());
    (code, rows.iter().map(row).collect())
}

fn shares(lib: &NvmlLib, handle: Handle, since: u64) -> (u32, Vec<Share>) {
    let Ok(function) = lib.nvmlDeviceGetProcessUtilization.as_ref() else {
        return (raw::MISSING, vec![]);
    };
    let mut rows = vec![
        nvmlProcessUtilizationSample_t {
            pid: 0,
            timeStamp: 0,
            smUtil: 0,
            memUtil: 0,
            encUtil: 0,
            decUtil: 0,
        };
        ROWS
    ];
    let mut count = ROWS as u32;
    // SAFETY: the handle comes from this library, still initialised; the buffer holds `count` rows.
    let code = unsafe { function(handle.0, rows.as_mut_ptr(), &mut count, since) };
    rows.truncate(given(code, count));
    let share = |row: &nvmlProcessUtilizationSample_t| {
        let shares = [row.smUtil, row.memUtil, row.encUtil, row.decUtil];
        (row.timeStamp, row.pid, shares)
    };
    (code, rows.iter().map(share).collect())
}

fn newer_shares(lib: &NvmlLib, handle: Handle, since: u64) -> (u32, Vec<Share>) {
    let Ok(function) = lib.nvmlDeviceGetProcessesUtilizationInfo.as_ref() else {
        return (raw::MISSING, vec![]);
    };
    let mut rows = vec![
        nvmlProcessUtilizationInfo_v1_t {
            timeStamp: 0,
            pid: 0,
            smUtil: 0,
            memUtil: 0,
            encUtil: 0,
            decUtil: 0,
            jpgUtil: 0,
            ofaUtil: 0,
        };
        ROWS
    ];
    let mut request = nvmlProcessesUtilizationInfo_t {
        version: size_of::<nvmlProcessesUtilizationInfo_t>() as u32 | 1 << 24,
        processSamplesCount: ROWS as u32,
        lastSeenTimeStamp: since,
        procUtilArray: rows.as_mut_ptr(),
    };
    // SAFETY: the handle comes from this library, still initialised; `request` says its version and the room in the
    // buffer it points to.
    let code = unsafe { function(handle.0, &mut request) };
    rows.truncate(given(code, request.processSamplesCount));
    let share = |row: &nvmlProcessUtilizationInfo_v1_t| {
        let shares = [row.smUtil, row.memUtil, row.encUtil, row.decUtil];
        (row.timeStamp, row.pid, shares)
    };
    (code, rows.iter().map(share).collect())
}

/// How many rows of a buffer an answer filled: none where it is a refusal.
fn given(code: u32, count: u32) -> usize {
    match code {
        0 => count as usize,
        _ => 0,
    }
}

fn metrics(
    lib: &NvmlLib,
    older: nvmlGpmSample_t,
    newer: nvmlGpmSample_t,
    mut add: impl FnMut(u32, Answer),
) {
    let Ok(function) = lib.nvmlGpmMetricsGet.as_ref() else {
        return;
    };
    let nothing = nvmlGpmMetric_t {
        metricId: 0,
        nvmlReturn: 0,
        value: 0.0,
        metricInfo: nvmlGpmMetric_t__bindgen_ty_1 {
            shortName: std::ptr::null_mut(),
            longName: std::ptr::null_mut(),
            unit: std::ptr::null_mut(),
        },
    };
    let mut request = nvmlGpmMetricsGet_t {
        version: NVML_GPM_METRICS_GET_VERSION,
        numMetrics: METRICS.count() as u32,
        sample1: older,
        sample2: newer,
        metrics: [nothing; 210],
    };
    for (metric, id) in request.metrics.iter_mut().zip(METRICS) {
        metric.metricId = id;
    }
    // SAFETY: both samples come from this library, still initialised; `request` is live and says its version.
    let code = unsafe { function(&mut request) };
    for metric in request.metrics.iter().take(METRICS.count()) {
        let answer = match (code, metric.nvmlReturn) {
            (0, 0) if metric.value.is_finite() => Answer {
                code: 0,
                values: vec![Value::Float(metric.value)],
            },
            (0, code) | (code, _) => Answer::refused(code),
        };
        add(metric.metricId, answer);
    }
}
