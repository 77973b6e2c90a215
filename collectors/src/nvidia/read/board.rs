//! The board and what is around it, every ten seconds: errors of its link to the host, its links to other
//! chips, its modes, and errors in its caches.

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{
    NvmlLib, nvmlConfComputeSystemState_t, nvmlDevice_t, nvmlEccSramErrorStatus_t,
    nvmlGpuFabricInfo_t, nvmlGpuFabricInfo_v2_t, nvmlReturn_t, nvmlRowRemapperHistogramValues_t,
};

use super::calls::Calls;
use super::fields::{Batch, Field, Numbering, Value};
use crate::nvidia::snapshot::{
    Board, C2c, FabricHealth, HeatLimits, Modes, PcieErrors, SpareRows, SramErrors,
};

const CORRECTABLE: Field = Field::new(173);
const NAKS_RECEIVED: Field = Field::new(174);
const RECEIVER: Field = Field::new(175);
const BAD_TLP: Field = Field::new(176);
const NAKS_SENT: Field = Field::new(177);
const BAD_DLLP: Field = Field::new(178);
const NON_FATAL: Field = Field::new(179);
const FATAL: Field = Field::new(180);
const UNSUPPORTED_REQUEST: Field = Field::new(181);
const LCRC: Field = Field::new(182);
const C2C_COUNT: Field = Field::new(170);
/// `NVML_FI_DEV_TEMPERATURE_*_TLIMIT`, signed.
const SHUTDOWN: Field = Field::new(193);
const SLOWDOWN: Field = Field::new(194);
const MEMORY_MAX: Field = Field::new(195);
const GPU_MAX: Field = Field::new(196);
/// By link: 1 where it works.
const C2C_STATUS: u32 = 171;
/// More links than any board has.
const MOST_C2C: u32 = 16;

/// The fields of one GPU.
pub struct Past {
    fields: Batch,
    /// The states of its chip-to-chip links, once their number is known.
    c2c: Option<(u32, Batch)>,
}

impl Default for Past {
    fn default() -> Self {
        Self {
            fields: Batch::new([
                CORRECTABLE,
                NAKS_RECEIVED,
                RECEIVER,
                BAD_TLP,
                NAKS_SENT,
                BAD_DLLP,
                NON_FATAL,
                FATAL,
                UNSUPPORTED_REQUEST,
                LCRC,
                C2C_COUNT,
                SHUTDOWN,
                SLOWDOWN,
                MEMORY_MAX,
                GPU_MAX,
            ]),
            c2c: None,
        }
    }
}

/// Reads all of it.
pub fn read(
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    past: &mut Past,
    numbering: Numbering,
) -> Board {
    past.fields.read(device, uuid, calls, numbering);
    let count = |field| past.fields.get(field, numbering).and_then(Value::count);
    let pcie_errors = PcieErrors {
        correctable: count(CORRECTABLE),
        non_fatal: count(NON_FATAL),
        fatal: count(FATAL),
        unsupported_request: count(UNSUPPORTED_REQUEST),
        receiver: count(RECEIVER),
        bad_tlp: count(BAD_TLP),
        bad_dllp: count(BAD_DLLP),
        lcrc: count(LCRC),
        naks_received: count(NAKS_RECEIVED),
        naks_sent: count(NAKS_SENT),
    };
    let degrees = |field| past.fields.get(field, numbering).and_then(Value::small);
    let margin_limits = HeatLimits {
        slowdown_c: degrees(SLOWDOWN),
        shutdown_c: degrees(SHUTDOWN),
        gpu_max_c: degrees(GPU_MAX),
        memory_max_c: degrees(MEMORY_MAX),
    };
    let links = count(C2C_COUNT).and_then(|links| u32::try_from(links).ok());
    let links = links.unwrap_or(0).min(MOST_C2C);
    if past.c2c.as_ref().map_or(0, |(known, _)| *known) != links {
        let status = |scope| Field {
            id: C2C_STATUS,
            scope,
        };
        past.c2c = (links > 0).then(|| (links, Batch::new((0..links).map(status))));
    }
    let c2c = past.c2c.as_mut().map(|(links, batch)| {
        batch.read(device, uuid, calls, numbering);
        c2c(batch, *links, numbering)
    });
    let (fabric_state, fabric_health) = fabric(device, uuid, calls);
    Board {
        pcie_errors,
        margin_limits,
        fabric_state,
        fabric_health,
        c2c: c2c.unwrap_or_default(),
        confidential: calls.ask(uuid, "nvmlSystemGetConfComputeState", || {
            confidential(device)
        }),
        modes: modes(device, uuid, calls),
        sram: calls
            .ask(uuid, "nvmlDeviceGetSramEccErrorStatus", || sram(device))
            .unwrap_or_default(),
        spare_rows: calls
            .ask(uuid, "nvmlDeviceGetRowRemapperHistogram", || {
                spare_rows(device)
            })
            .unwrap_or_default(),
    }
}

/// Unknown as a whole where one of the links does not tell.
fn c2c(batch: &Batch, links: u32, numbering: Numbering) -> C2c {
    let status = |scope| {
        let field = Field {
            id: C2C_STATUS,
            scope,
        };
        batch.get(field, numbering).and_then(Value::count)
    };
    let states: Option<Vec<_>> = (0..links).map(status).collect();
    let up = states.map(|states| states.iter().filter(|state| **state == 1).count() as u32);
    C2c {
        up,
        down: up.map(|up| links - up),
    }
}

/// State and health. A board that belongs to no fabric says so by state 0, or does not know the call.
fn fabric(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> (Option<u32>, FabricHealth) {
    const VERSION: u32 = size_of::<nvmlGpuFabricInfo_v2_t>() as u32 | (2 << 24);
    let newer = calls.ask(uuid, "nvmlDeviceGetGpuFabricInfoV", || {
        let call = nvml_sym(device.nvml().lib().nvmlDeviceGetGpuFabricInfoV.as_ref())?;
        let mut info = nvmlGpuFabricInfo_v2_t {
            version: VERSION,
            clusterUuid: [0; 16],
            status: 0,
            cliqueId: 0,
            state: 0,
            healthMask: 0,
        };
        // SAFETY: the handle comes from this library, still initialised; `info` says its own size and version,
        // by which the library knows that it is shorter than the newest one.
        nvml_try(unsafe { call(device.handle(), (&raw mut info).cast()) })?;
        Ok((u32::from(info.state), info.healthMask))
    });
    let known = newer.or_else(|| {
        calls.ask(uuid, "nvmlDeviceGetGpuFabricInfo", || {
            let call = nvml_sym(device.nvml().lib().nvmlDeviceGetGpuFabricInfo.as_ref())?;
            let mut info = nvmlGpuFabricInfo_t {
                clusterUuid: [0; 16],
                status: 0,
                cliqueId: 0,
                state: 0,
            };
            // SAFETY: the handle comes from this library, still initialised; `info` is live.
            nvml_try(unsafe { call(device.handle(), &mut info) })?;
            Ok((u32::from(info.state), 0))
        })
    });
    match known {
        Some((state, mask)) if state > 0 => (Some(state), FabricHealth::from_mask(mask)),
        _ => (None, FabricHealth::default()),
    }
}

/// Of the whole machine: `nvmlSystemGetConfComputeState`.
fn confidential(device: &Device<'_>) -> Result<bool, NvmlError> {
    let call = nvml_sym(device.nvml().lib().nvmlSystemGetConfComputeState.as_ref())?;
    let mut state = nvmlConfComputeSystemState_t {
        environment: 0,
        ccFeature: 0,
        devToolsMode: 0,
    };
    // SAFETY: the library is initialised; `state` is live.
    nvml_try(unsafe { call(&mut state) })?;
    Ok(state.ccFeature != 0)
}

/// A call that says whether something is switched on.
type ModeCall = unsafe extern "C" fn(nvmlDevice_t, *mut u32) -> nvmlReturn_t;

fn modes(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Modes {
    let lib = device.nvml().lib();
    let mut mode = |name, find: fn(&NvmlLib) -> Result<ModeCall, NvmlError>| {
        calls.ask(uuid, name, || {
            let call = find(lib)?;
            let mut on = 0;
            // SAFETY: the handle comes from this library, still initialised; `on` is a live integer.
            nvml_try(unsafe { call(device.handle(), &mut on) })?;
            Ok(on != 0)
        })
    };
    Modes {
        persistence: mode("nvmlDeviceGetPersistenceMode", |lib| {
            nvml_sym(lib.nvmlDeviceGetPersistenceMode.as_ref()).copied()
        }),
        display_active: mode("nvmlDeviceGetDisplayActive", |lib| {
            nvml_sym(lib.nvmlDeviceGetDisplayActive.as_ref()).copied()
        }),
        accounting: mode("nvmlDeviceGetAccountingMode", |lib| {
            nvml_sym(lib.nvmlDeviceGetAccountingMode.as_ref()).copied()
        }),
        ecc: calls.ask(uuid, "nvmlDeviceGetEccMode", || {
            let call = nvml_sym(lib.nvmlDeviceGetEccMode.as_ref())?;
            let (mut now, mut pending) = (0, 0);
            // SAFETY: as above, with two integers.
            nvml_try(unsafe { call(device.handle(), &mut now, &mut pending) })?;
            Ok(now != 0)
        }),
    }
}

fn sram(device: &Device<'_>) -> Result<SramErrors, NvmlError> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetSramEccErrorStatus.as_ref())?;
    let mut status = nvmlEccSramErrorStatus_t {
        version: size_of::<nvmlEccSramErrorStatus_t>() as u32 | (1 << 24),
        aggregateUncParity: 0,
        aggregateUncSecDed: 0,
        aggregateCor: 0,
        volatileUncParity: 0,
        volatileUncSecDed: 0,
        volatileCor: 0,
        aggregateUncBucketL2: 0,
        aggregateUncBucketSm: 0,
        aggregateUncBucketPcie: 0,
        aggregateUncBucketMcu: 0,
        aggregateUncBucketOther: 0,
        bThresholdExceeded: 0,
    };
    // SAFETY: the handle comes from this library, still initialised; `status` says its own size and version.
    nvml_try(unsafe { call(device.handle(), &mut status) })?;
    let known = |count: u64| (count != u64::MAX).then_some(count);
    Ok(SramErrors {
        corrected: known(status.aggregateCor),
        parity: known(status.aggregateUncParity),
        sec_ded: known(status.aggregateUncSecDed),
        threshold_exceeded: Some(status.bThresholdExceeded != 0),
    })
}

fn spare_rows(device: &Device<'_>) -> Result<SpareRows, NvmlError> {
    let lib = device.nvml().lib();
    let call = nvml_sym(lib.nvmlDeviceGetRowRemapperHistogram.as_ref())?;
    let mut banks = nvmlRowRemapperHistogramValues_t {
        max: 0,
        high: 0,
        partial: 0,
        low: 0,
        none: 0,
    };
    // SAFETY: the handle comes from this library, still initialised; `banks` is live.
    nvml_try(unsafe { call(device.handle(), &mut banks) })?;
    Ok(SpareRows {
        max: Some(banks.max),
        high: Some(banks.high),
        partial: Some(banks.partial),
        low: Some(banks.low),
        none: Some(banks.none),
    })
}
