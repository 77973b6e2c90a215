//! Memory errors: counts, remapped rows, retired pages.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings as sys;

use crate::ffi::{Answer, Code, INVALID_ARGUMENT, NOT_SUPPORTED, Out};
use crate::gpu::{GpuNow, supported};
use crate::scenario::Ecc;

/// `nvmlMemoryLocation_t` of the DRAM, where this library has all errors happen.
const DRAM: c_uint = 2;

/// What the model says of ECC.
pub fn ecc<'a>(gpu: &'a GpuNow<'_>) -> Result<&'a Ecc, Code> {
    supported(gpu.gpu.model.ecc.as_ref())
}

/// Errors since the driver was loaded, by `nvmlMemoryErrorType_t`. The aggregate is the same.
pub fn errors(gpu: &GpuNow<'_>, kind: c_uint) -> Result<u64, Code> {
    let ecc = ecc(gpu)?;
    match kind {
        0 => Ok(gpu.whole(&ecc.corrected)),
        1 => Ok(gpu.whole(&ecc.uncorrected)),
        _ => Err(INVALID_ARGUMENT),
    }
}

/// Rows remapped after corrected and after uncorrected errors.
pub fn remapped(gpu: &GpuNow<'_>) -> Result<(c_uint, c_uint), Code> {
    let ecc = ecc(gpu)?;
    let corrected = gpu.count(ecc.remapped_corrected.as_ref())?;
    Ok((corrected, gpu.count(ecc.remapped_uncorrected.as_ref())?))
}

/// GPUs that remap rows do not retire pages. This library's others have retired none.
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

    fn nvmlDeviceGetTotalEccErrors(gpu, kind: c_uint, _counter: c_uint, count: Out<u64>) {
        count.put(errors(gpu, kind)?)
    }

    fn nvmlDeviceGetMemoryErrorCounter(
        gpu,
        kind: c_uint,
        _counter: c_uint,
        location: c_uint,
        count: Out<u64>,
    ) {
        let errors = errors(gpu, kind)?;
        count.put(if location == DRAM { errors } else { 0 })
    }

    fn nvmlDeviceGetDetailedEccErrors(
        gpu,
        kind: c_uint,
        _counter: c_uint,
        counts: Out<sys::nvmlEccErrorCounts_t>,
    ) {
        counts.put(sys::nvmlEccErrorCounts_t {
            l1Cache: 0,
            l2Cache: 0,
            deviceMemory: errors(gpu, kind)?,
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
        pending.put(0)?;
        failed.put(0)
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

    fn nvmlDeviceGetRetiredPages(gpu, _cause: c_uint, count: Out<c_uint>, _pages: Out<u64>) {
        retires_pages(gpu)?;
        count.put(0)
    }

    fn nvmlDeviceGetRetiredPages_v2(
        gpu,
        _cause: c_uint,
        count: Out<c_uint>,
        _pages: Out<u64>,
        _timestamps: Out<u64>,
    ) {
        retires_pages(gpu)?;
        count.put(0)
    }

    fn nvmlDeviceGetRetiredPagesPendingStatus(gpu, pending: Out<c_uint>) {
        retires_pages(gpu)?;
        pending.put(0)
    }
}
