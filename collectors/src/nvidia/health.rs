//! What a GPU says about wear and faults, as plain data.

use serde::{Deserialize, Serialize};

/// Errors in memory, what was done about them, and what the driver wants done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Errors found by error-correcting memory.
    pub ecc: Ecc,
    /// Rows of memory replaced by spare ones (Ampere and later).
    pub remapped: RemappedRows,
    /// Pages of memory that are no longer used (before Ampere).
    pub retired: RetiredPages,
    /// `nvmlDeviceGpuRecoveryAction_t`: what brings the GPU back to full health; 0 is nothing.
    pub recovery_action: Option<u32>,
    /// PCI Express packets sent again since the driver was loaded.
    pub pcie_replays: Option<u64>,
}

/// Counts of errors; volatile ones start over when the driver is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ecc {
    /// Corrected, since the driver was loaded.
    pub volatile_corrected: Option<u64>,
    /// Not corrected: data was lost.
    pub volatile_uncorrected: Option<u64>,
    /// Corrected, in the GPU's lifetime.
    pub aggregate_corrected: Option<u64>,
    /// Not corrected.
    pub aggregate_uncorrected: Option<u64>,
}

/// Rows of memory replaced by spare ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemappedRows {
    /// After errors that were corrected.
    pub corrected: Option<u64>,
    /// After errors that were not.
    pub uncorrected: Option<u64>,
    /// A row waits to be remapped, at the next reset.
    pub pending: Option<bool>,
    /// A row could not be remapped: no spare ones are left.
    pub failed: Option<bool>,
}

/// Pages of memory that are no longer used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredPages {
    /// After many errors in one bit.
    pub single_bit: Option<u64>,
    /// After an error in two bits.
    pub double_bit: Option<u64>,
    /// A page waits to be retired, at the next reset.
    pub pending: Option<bool>,
}
