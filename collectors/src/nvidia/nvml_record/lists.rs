//! What is recorded in a way of its own: field values, lists of processes, the driver's samples, and GPM.

use std::collections::HashMap;

use nvml_wrapper::Nvml;
use nvml_wrapper_sys::bindings::{
    NVML_GPM_METRICS_GET_VERSION, NvmlLib, nvmlDevice_t, nvmlFieldValue_t, nvmlGpmMetric_t,
    nvmlGpmMetric_t__bindgen_ty_1, nvmlGpmMetricsGet_t, nvmlGpmSample_t, nvmlProcessInfo_t,
    nvmlProcessUtilizationSample_t, nvmlSample_t, nvmlValue_t,
};

use super::anonymous::Names;
use super::calls::{Answer, MOST_LINKS, Value};
use super::raw::{self, Handle};

/// The first number that no header names.
const END_OF_FIELDS: u32 = 300;
/// Fields that are told by link: throughput, errors, states.
const BY_LINK: &[u32] = &[
    138, 139, 161, 162, 163, 164, 171, 202, 203, 204, 205, 206, 207, 208, 209, 210,
];
/// Fields of power by part: of the module, and of the memory.
const BY_PART: &[(u32, u32)] = &[(185, 1), (185, 2), (186, 1), (186, 2)];
/// Fields that sum all links.
const ALL_LINKS: &[(u32, u32)] = &[
    (138, u32::MAX),
    (139, u32::MAX),
    (202, u32::MAX),
    (204, u32::MAX),
];
/// What swings: temperature of the memory, times throttled, power, bytes, and links.
const SWINGING: &[u32] = &[
    74, 75, 76, 82, 83, 138, 139, 185, 186, 191, 197, 198, 202, 204, 251, 252, 253, 269, 270, 271,
];

/// `NVML_GPM_METRIC_*` up to those of the fifth generation of NVLink.
const METRICS: std::ops::RangeInclusive<u32> = 1..=97;

/// Rows that are asked for.
const ROWS: usize = 1024;

/// Field values, one by one answered: all of them, or what swings.
pub fn fields(
    lib: &NvmlLib,
    handle: Handle,
    all: bool,
    add: &mut impl FnMut(&str, &[u64], Answer),
) {
    const NAME: &str = "nvmlDeviceGetFieldValues";
    let Ok(function) = lib.nvmlDeviceGetFieldValues.as_ref() else {
        return add(NAME, &[], Answer::refused(raw::MISSING));
    };
    let wanted = |id: u32| all || SWINGING.contains(&id);
    let each = (1..END_OF_FIELDS).map(|id| (id, 0));
    let links = BY_LINK
        .iter()
        .flat_map(|id| (1..MOST_LINKS).map(move |link| (*id, link)));
    let asked = each
        .chain(links)
        .chain(BY_PART.iter().copied())
        .chain(ALL_LINKS.iter().copied());
    let mut values: Vec<_> = asked
        .filter(|(id, _)| wanted(*id))
        .map(|(id, scope)| nvmlFieldValue_t {
            fieldId: id,
            scopeId: scope,
            timestamp: 0,
            latencyUsec: 0,
            valueType: 0,
            nvmlReturn: 0,
            value: nvmlValue_t { ullVal: 0 },
        })
        .collect();
    // Drivers take a limited number at once.
    for batch in values.chunks_mut(64) {
        // SAFETY: the handle comes from this library, still initialised; the buffer holds that many rows.
        let code = unsafe { function(handle.0, batch.len() as i32, batch.as_mut_ptr()) };
        for row in batch {
            let answer = match (code, row.nvmlReturn) {
                (0, 0) => Answer {
                    code: 0,
                    values: vec![
                        Value::Number(row.valueType.into()),
                        // SAFETY: the union is of numbers, its longest was set before the call.
                        Value::Number(unsafe { row.value.ullVal }),
                    ],
                },
                (0, code) | (code, _) => Answer::refused(code),
            };
            add(NAME, &[row.fieldId.into(), row.scopeId.into()], answer);
        }
    }
}

/// The lists of the three kinds of processes, in the newest form that the driver has.
pub fn processes(
    lib: &NvmlLib,
    handle: Handle,
    names: &mut Names,
    add: &mut impl FnMut(&str, &[u64], Answer),
) {
    type List = unsafe extern "C" fn(nvmlDevice_t, *mut u32, *mut nvmlProcessInfo_t) -> u32;
    for kind in ["Compute", "Graphics", "MPSCompute"] {
        for form in ["_v3", "_v2"] {
            let name = format!("nvmlDeviceGet{kind}RunningProcesses{form}");
            let symbol = [name.as_bytes(), b"\0"].concat();
            // SAFETY: functions of these names are of that type in nvml.h.
            let function = unsafe { lib.__library.get::<List>(&symbol) };
            let mut rows = vec![
                nvmlProcessInfo_t {
                    pid: 0,
                    usedGpuMemory: 0,
                    gpuInstanceId: 0,
                    computeInstanceId: 0,
                };
                ROWS
            ];
            let mut count = ROWS as u32;
            let code = match function {
                // SAFETY: the handle comes from this library, still initialised; the buffer holds `count` rows.
                Ok(function) => unsafe { function(handle.0, &mut count, rows.as_mut_ptr()) },
                Err(_) => raw::MISSING,
            };
            rows.truncate(count as usize);
            let row = |row: &nvmlProcessInfo_t| {
                Value::Row(vec![
                    names.pid(row.pid),
                    row.usedGpuMemory.cast_signed(),
                    row.gpuInstanceId.into(),
                    row.computeInstanceId.into(),
                ])
            };
            let answer = match code {
                0 => Answer {
                    code,
                    values: rows.iter().map(row).collect(),
                },
                code => Answer::refused(code),
            };
            add(&name, &[], answer);
            if code != raw::MISSING {
                break;
            }
        }
    }
}

/// The driver's samples, of which each is recorded once, and GPM's.
pub struct Samples {
    /// What the times in the record are counted from, Unix microseconds.
    began_us: u64,
    last_seen_us: HashMap<(String, u64), u64>,
    activity: HashMap<(String, Option<u32>), nvmlGpmSample_t>,
}

/// `nvmlSamplingType_t` of what is recorded: power, utilisation of the GPU and of its memory.
const KINDS: [u32; 3] = [0, 1, 2];
/// Stands for the samples of processes among the kinds.
const OF_PROCESSES: u64 = u64::MAX;

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
        let since = self.since(gpu, OF_PROCESSES);
        let (code, rows) = of_processes(lib, handle, since);
        let row = |row: &nvmlProcessUtilizationSample_t| {
            let shares = [row.smUtil, row.memUtil, row.encUtil, row.decUtil];
            let mut values = vec![names.pid(row.pid)];
            values.extend(shares.map(i64::from));
            (row.timeStamp, values)
        };
        let rows = rows.iter().map(row).collect();
        let answer = self.rows(gpu, OF_PROCESSES, code, rows);
        add("nvmlDeviceGetProcessUtilization", &[], answer);
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

fn of_processes(
    lib: &NvmlLib,
    handle: Handle,
    since: u64,
) -> (u32, Vec<nvmlProcessUtilizationSample_t>) {
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
    // SAFETY: as above.
    let code = unsafe { function(handle.0, rows.as_mut_ptr(), &mut count, since) };
    rows.truncate(given(code, count));
    (code, rows)
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
