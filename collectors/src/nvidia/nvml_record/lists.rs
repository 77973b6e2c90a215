//! What is recorded in a way of its own: field values, and lists of processes.

use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlDevice_t, nvmlFieldValue_t, nvmlProcessInfo_t, nvmlValue_t,
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

/// Rows that are asked for.
pub const ROWS: usize = 1024;

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
