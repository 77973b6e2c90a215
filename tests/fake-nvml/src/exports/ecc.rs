//! Memory errors: counts, remapped rows, retired pages.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Answer, Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};
use crate::scenario::Ecc;

/// `nvmlMemoryLocation_t` of the DRAM, where this library has all errors happen.
const DRAM: c_uint = 2;
/// `nvmlEccCounterType_t`.
pub const VOLATILE: c_uint = 0;
pub const AGGREGATE: c_uint = 1;
/// `nvmlPageRetirementCause_t`.
const SINGLE_BIT: c_uint = 0;
const DOUBLE_BIT: c_uint = 1;

/// What the model says of ECC.
pub fn ecc<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a Ecc, Code> {
    supported(gpu.gpu.model.ecc.as_ref())
}

/// Errors by `nvmlMemoryErrorType_t` and `nvmlEccCounterType_t`: since the driver was loaded, or ever.
pub fn errors(gpu: &GpuNow<'_>, kind: c_uint, counter: c_uint) -> Result<u64, Code> {
    let ecc = ecc(gpu)?;
    let (volatile, ever) = match kind {
        0 => (&ecc.corrected, &ecc.aggregate_corrected),
        1 => (&ecc.uncorrected, &ecc.aggregate_uncorrected),
        _ => return Err(INVALID_ARGUMENT),
    };
    match counter {
        VOLATILE => Ok(gpu.whole(volatile)),
        AGGREGATE => Ok(gpu.whole(ever.as_ref().unwrap_or(volatile))),
        _ => Err(INVALID_ARGUMENT),
    }
}

/// Rows remapped after corrected and after uncorrected errors.
pub fn remapped(gpu: &GpuNow<'_>) -> Result<(c_uint, c_uint), Code> {
    let ecc = ecc(gpu)?;
    let corrected = gpu.count(ecc.remapped_corrected.as_ref())?;
    Ok((corrected, gpu.count(ecc.remapped_uncorrected.as_ref())?))
}

/// Whether a row waits to be remapped, and whether one could not be.
pub fn remap_state(gpu: &GpuNow<'_>) -> Result<(c_uint, c_uint), Code> {
    remapped(gpu)?;
    let ecc = ecc(gpu)?;
    let flag = |signal: &Option<_>| signal.as_ref().map_or(0, |signal| gpu.whole(signal).min(1));
    Ok((
        flag(&ecc.remap_pending) as c_uint,
        flag(&ecc.remap_failed) as c_uint,
    ))
}

/// Pages retired for that cause.
pub fn retired(gpu: &GpuNow<'_>, cause: c_uint) -> Result<u64, Code> {
    retires_pages(gpu)?;
    let ecc = ecc(gpu)?;
    let count = match cause {
        SINGLE_BIT => &ecc.retired_single_bit,
        DOUBLE_BIT => &ecc.retired_double_bit,
        _ => return Err(INVALID_ARGUMENT),
    };
    Ok(count.as_ref().map_or(0, |count| gpu.whole(count)))
}

/// Whether a page waits to be retired.
pub fn retirement_pending(gpu: &GpuNow<'_>) -> Result<c_uint, Code> {
    retires_pages(gpu)?;
    let pending = ecc(gpu)?.retirement_pending.as_ref();
    Ok(pending.map_or(0, |pending| gpu.whole(pending).min(1)) as c_uint)
}

/// The addresses of retired pages, made up.
fn pages(gpu: &GpuNow<'_>, cause: c_uint) -> Result<Vec<u64>, Code> {
    let count = retired(gpu, cause)?;
    Ok((1..=count).map(|page| page << 16).collect())
}

/// GPUs that remap rows do not retire pages.
pub fn retires_pages(gpu: &GpuNow<'_>) -> Answer {
    if ecc(gpu)?.remapped_corrected.is_some() {
        Err(NOT_SUPPORTED)
    } else {
        Ok(())
    }
}

device_calls! {
    fn nvmlDeviceGetEccMode(gpu, current: Out<c_uint>, pending: Out<c_uint>) {
        ecc(gpu)?;
        current.put(1)?;
        pending.put(1)
    }

    fn nvmlDeviceGetDefaultEccMode(gpu, mode: Out<c_uint>) {
        ecc(gpu)?;
        mode.put(1)
    }

    fn nvmlDeviceGetTotalEccErrors(gpu, kind: c_uint, counter: c_uint, count: Out<u64>) {
        count.put(errors(gpu, kind, counter)?)
    }

    fn nvmlDeviceGetMemoryErrorCounter(
        gpu,
        kind: c_uint,
        counter: c_uint,
        location: c_uint,
        count: Out<u64>,
    ) {
        let errors = errors(gpu, kind, counter)?;
        count.put(if location == DRAM { errors } else { 0 })
    }

    fn nvmlDeviceGetDetailedEccErrors(
        gpu,
        kind: c_uint,
        counter: c_uint,
        counts: Out<sys::nvmlEccErrorCounts_t>,
    ) {
        counts.put(sys::nvmlEccErrorCounts_t {
            l1Cache: 0,
            l2Cache: 0,
            deviceMemory: errors(gpu, kind, counter)?,
            registerFile: 0,
        })
    }

    fn nvmlDeviceGetRemappedRows(
        gpu,
        corrected: Out<c_uint>,
        uncorrected: Out<c_uint>,
        pending: Out<c_uint>,
        failed: Out<c_uint>,
    ) {
        let rows = remapped(gpu)?;
        corrected.put(rows.0)?;
        uncorrected.put(rows.1)?;
        let state = remap_state(gpu)?;
        pending.put(state.0)?;
        failed.put(state.1)
    }

    fn nvmlDeviceGetSramEccErrorStatus(gpu, status: Out<sys::nvmlEccSramErrorStatus_t>) {
        status.versioned(|status| {
            let ecc = ecc(gpu)?;
            let count = |signal: &Option<_>| signal.as_ref().map(|signal| gpu.whole(signal));
            let known = (
                count(&ecc.sram_corrected),
                count(&ecc.sram_uncorrected),
                count(&ecc.sram_threshold),
            );
            if known == (None, None, None) {
                return Err(NOT_SUPPORTED);
            }
            status.aggregateCor = known.0.unwrap_or(0);
            status.volatileCor = status.aggregateCor;
            status.aggregateUncSecDed = known.1.unwrap_or(0);
            status.volatileUncSecDed = status.aggregateUncSecDed;
            status.aggregateUncBucketSm = status.aggregateUncSecDed;
            (status.aggregateUncParity, status.volatileUncParity) = (0, 0);
            status.bThresholdExceeded = known.2.unwrap_or(0).min(1) as c_uint;
            Ok(())
        })
    }

    fn nvmlDeviceGetRowRemapperHistogram(
        gpu,
        banks: Out<sys::nvmlRowRemapperHistogramValues_t>,
    ) {
        remapped(gpu)?;
        banks.put(sys::nvmlRowRemapperHistogramValues_t {
            max: 6144,
            high: 0,
            partial: 0,
            low: 0,
            none: 0,
        })
    }

    fn nvmlDeviceGetRetiredPages(gpu, cause: c_uint, count: Out<c_uint>, addresses: Out<u64>) {
        addresses.list(count, &pages(gpu, cause)?)
    }

    fn nvmlDeviceGetRetiredPages_v2(
        gpu,
        cause: c_uint,
        count: Out<c_uint>,
        addresses: Out<u64>,
        timestamps: Out<u64>,
    ) {
        let pages = pages(gpu, cause)?;
        addresses.list(count, &pages)?;
        timestamps.copy(&vec![0; pages.len()])
    }

    fn nvmlDeviceGetRetiredPagesPendingStatus(gpu, pending: Out<c_uint>) {
        pending.put(retirement_pending(gpu)?)
    }
}
