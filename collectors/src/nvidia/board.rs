//! What a GPU says about its board and the machine around it, as plain data.

use serde::{Deserialize, Serialize};

/// The link to the host, to a CPU on the same module, to a fabric of GPUs; modes; and errors in caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Board {
    /// Errors of the PCI Express link since the driver was loaded.
    pub pcie_errors: PcieErrors,
    /// `nvmlGpuFabricState_t` of the registration with a fabric of GPUs; `None` where there is none.
    pub fabric_state: Option<u32>,
    /// What is wrong with that fabric, as this GPU sees it.
    pub fabric_health: FabricHealth,
    /// Links to the CPU on the same module.
    pub c2c: C2c,
    /// Whether memory and transfers are encrypted for one tenant.
    pub confidential: Option<bool>,
    /// What is switched on.
    pub modes: Modes,
    /// Errors in caches and registers.
    pub sram: SramErrors,
    /// How many spare rows the banks of memory have left.
    pub spare_rows: SpareRows,
    /// The margin that is left where heat is acted upon; below zero past the highest of operation.
    pub margin_limits: HeatLimits,
}

/// Degrees Celsius at which heat is acted upon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeatLimits {
    /// The hardware slows the GPU down.
    pub slowdown_c: Option<i32>,
    /// It switches it off.
    pub shutdown_c: Option<i32>,
    /// The highest of operation: above, the driver lowers the clocks.
    pub gpu_max_c: Option<i32>,
    /// The memory's highest, likewise.
    pub memory_max_c: Option<i32>,
}

/// Counts since the driver was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcieErrors {
    /// That the hardware corrected.
    pub correctable: Option<u64>,
    /// Not corrected, the link goes on.
    pub non_fatal: Option<u64>,
    /// The link broke.
    pub fatal: Option<u64>,
    /// Requests that the other side does not know.
    pub unsupported_request: Option<u64>,
    /// Symbols that were no symbols.
    pub receiver: Option<u64>,
    /// Transaction packets with a wrong check sum.
    pub bad_tlp: Option<u64>,
    /// Link packets with a wrong check sum.
    pub bad_dllp: Option<u64>,
    /// Wrong check sums of the link.
    pub lcrc: Option<u64>,
    /// Requests of the other side to send again.
    pub naks_received: Option<u64>,
    /// Requests of ours.
    pub naks_sent: Option<u64>,
}

/// `None` where the fabric does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FabricHealth {
    /// Some of its links do not work.
    pub degraded_bandwidth: Option<bool>,
    /// Routes are being recovered.
    pub route_recovery: Option<bool>,
    /// A route does not work.
    pub route_unhealthy: Option<bool>,
    /// Memory of another GPU did not answer and is being recovered.
    pub access_timeout_recovery: Option<bool>,
    /// It is set up wrongly.
    pub misconfigured: Option<bool>,
}

impl FabricHealth {
    /// From `healthMask`: two bits each (1 yes, 2 no), four for the configuration (1 right, above wrong).
    pub fn from_mask(mask: u32) -> Self {
        let flag = |shift: u32| match mask >> shift & 0x3 {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        };
        Self {
            degraded_bandwidth: flag(0),
            route_recovery: flag(2),
            route_unhealthy: flag(4),
            access_timeout_recovery: flag(6),
            misconfigured: match mask >> 8 & 0xf {
                0 => None,
                configuration => Some(configuration > 1),
            },
        }
    }
}

/// Chip-to-chip links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct C2c {
    /// That work; `None` on boards without any.
    pub up: Option<u32>,
    /// That do not.
    pub down: Option<u32>,
}

/// What is switched on; `None` where a board cannot be switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    /// The driver stays loaded while nobody uses the GPU.
    pub persistence: Option<bool>,
    /// Memory corrects its errors.
    pub ecc: Option<bool>,
    /// A screen is driven.
    pub display_active: Option<bool>,
    /// The driver keeps accounts of processes.
    pub accounting: Option<bool>,
}

/// Errors in caches and registers, in the GPU's lifetime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SramErrors {
    /// Corrected.
    pub corrected: Option<u64>,
    /// Found by parity, not corrected.
    pub parity: Option<u64>,
    /// Found by a code that corrects one bit, not corrected.
    pub sec_ded: Option<u64>,
    /// So many that the vendor replaces the board.
    pub threshold_exceeded: Option<bool>,
}

/// Banks of memory by how many of their spare rows are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpareRows {
    /// All.
    pub max: Option<u32>,
    /// Nearly all.
    pub high: Option<u32>,
    /// Some.
    pub partial: Option<u32>,
    /// Few.
    pub low: Option<u32>,
    /// None: the next error cannot be repaired.
    pub none: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fabric_that_does_not_tell_is_unknown_and_a_wrong_set_up_is_told() {
        assert_eq!(FabricHealth::from_mask(0), FabricHealth::default());
        let health = FabricHealth::from_mask(0b10 | 0b01 << 2 | 0b10 << 4 | 0b11 << 6 | 5 << 8);
        let expected = FabricHealth {
            degraded_bandwidth: Some(false),
            route_recovery: Some(true),
            route_unhealthy: Some(false),
            access_timeout_recovery: None,
            misconfigured: Some(true),
        };
        assert_eq!(health, expected);
        assert_eq!(FabricHealth::from_mask(1 << 8).misconfigured, Some(false));
    }
}
