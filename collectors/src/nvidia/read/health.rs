//! Errors in memory and what was done about them, in one batch of fields; where a driver or GPU has no such
//! field, by the calls that say the same.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError};
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};

use super::calls::Calls;
use super::fields::{Batch, Field, Numbering, Value};
use crate::nvidia::snapshot::{Ecc, Health, RemappedRows, RetiredPages};

const ECC_CORRECTED: Field = Field::new(3);
const ECC_UNCORRECTED: Field = Field::new(4);
const ECC_CORRECTED_EVER: Field = Field::new(5);
const ECC_UNCORRECTED_EVER: Field = Field::new(6);
const RETIRED_SINGLE_BIT: Field = Field::new(29);
const RETIRED_DOUBLE_BIT: Field = Field::new(30);
const RETIRED_PENDING: Field = Field::new(31);
const PCIE_REPLAYS: Field = Field::new(94);
const REMAPPED_CORRECTED: Field = Field::new(142);
const REMAPPED_UNCORRECTED: Field = Field::new(143);
const REMAPPED_PENDING: Field = Field::new(144);
const REMAPPED_FAILED: Field = Field::new(145);
const RECOVERY_ACTION: Field = Field::new(230);

/// Every field that is read here.
pub fn batch() -> Batch {
    Batch::new([
        ECC_CORRECTED,
        ECC_UNCORRECTED,
        ECC_CORRECTED_EVER,
        ECC_UNCORRECTED_EVER,
        RETIRED_SINGLE_BIT,
        RETIRED_DOUBLE_BIT,
        RETIRED_PENDING,
        PCIE_REPLAYS,
        REMAPPED_CORRECTED,
        REMAPPED_UNCORRECTED,
        REMAPPED_PENDING,
        REMAPPED_FAILED,
        RECOVERY_ACTION,
    ])
}

/// Reads all of it.
pub fn read(
    device: &Device<'_>,
    uuid: &str,
    calls: &mut Calls,
    batch: &mut Batch,
    numbering: Numbering,
) -> Health {
    batch.read(device, uuid, calls, numbering);
    let count = |field| batch.get(field, numbering).and_then(Value::count);
    let flag = |field| count(field).map(|value| value != 0);
    let mut ecc = |field, call, kind, counter| {
        count(field).or_else(|| calls.ask(uuid, call, || device.total_ecc_errors(kind, counter)))
    };
    let ecc = Ecc {
        volatile_corrected: ecc(
            ECC_CORRECTED,
            "nvmlDeviceGetTotalEccErrors(corrected)",
            MemoryError::Corrected,
            EccCounter::Volatile,
        ),
        volatile_uncorrected: ecc(
            ECC_UNCORRECTED,
            "nvmlDeviceGetTotalEccErrors(uncorrected)",
            MemoryError::Uncorrected,
            EccCounter::Volatile,
        ),
        aggregate_corrected: ecc(
            ECC_CORRECTED_EVER,
            "nvmlDeviceGetTotalEccErrors(corrected ever)",
            MemoryError::Corrected,
            EccCounter::Aggregate,
        ),
        aggregate_uncorrected: ecc(
            ECC_UNCORRECTED_EVER,
            "nvmlDeviceGetTotalEccErrors(uncorrected ever)",
            MemoryError::Uncorrected,
            EccCounter::Aggregate,
        ),
    };
    let mut remapped = RemappedRows {
        corrected: count(REMAPPED_CORRECTED),
        uncorrected: count(REMAPPED_UNCORRECTED),
        pending: flag(REMAPPED_PENDING),
        failed: flag(REMAPPED_FAILED),
    };
    if remapped == RemappedRows::default() {
        let rows = calls.ask(uuid, "nvmlDeviceGetRemappedRows", || remapped_rows(device));
        remapped = rows.unwrap_or_default();
    }
    let retired = RetiredPages {
        single_bit: count(RETIRED_SINGLE_BIT),
        double_bit: count(RETIRED_DOUBLE_BIT),
        pending: flag(RETIRED_PENDING),
    };
    let pcie_replays = count(PCIE_REPLAYS).or_else(|| {
        calls
            .ask(uuid, "nvmlDeviceGetPcieReplayCounter", || {
                device.pcie_replay_counter()
            })
            .map(u64::from)
    });
    Health {
        ecc,
        remapped,
        retired,
        recovery_action: count(RECOVERY_ACTION).and_then(|action| u32::try_from(action).ok()),
        pcie_replays,
    }
}

fn remapped_rows(device: &Device<'_>) -> Result<RemappedRows, NvmlError> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetRemappedRows.as_ref())?;
    let (mut corrected, mut uncorrected, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: the handle comes from this library, still initialised; the pointers are to live integers.
    nvml_try(unsafe {
        call(
            device.handle(),
            &mut corrected,
            &mut uncorrected,
            &mut pending,
            &mut failed,
        )
    })?;
    Ok(RemappedRows {
        corrected: Some(corrected.into()),
        uncorrected: Some(uncorrected.into()),
        pending: Some(pending != 0),
        failed: Some(failed != 0),
    })
}
