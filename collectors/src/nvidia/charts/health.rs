//! Charts of what tells of wear, faults and waste, which Netdata does not have.

use netdata_plugin::chart::{Chart, Dim};

use super::BASE;

/// Fields 3 to 6 (`NVML_FI_DEV_ECC_*_TOTAL`), else `nvmlDeviceGetTotalEccErrors`: counts.
pub const ECC_ERRORS: Chart = Chart {
    id: "ecc_errors",
    context: "nvidia.ecc_errors",
    family: "memory errors",
    title: "Errors found by error-correcting memory",
    units: "errors",
    priority: 70_140,
    dims: &[
        Dim::new("volatile_corrected").optional(),
        Dim::new("volatile_uncorrected").optional(),
        Dim::new("aggregate_corrected").optional(),
        Dim::new("aggregate_uncorrected").optional(),
    ],
    ..BASE
};

/// Fields 142 and 143 (`NVML_FI_DEV_REMAPPED_*`), else `nvmlDeviceGetRemappedRows`: counts.
pub const REMAPPED_ROWS: Chart = Chart {
    id: "remapped_rows",
    context: "nvidia.remapped_rows",
    family: "memory errors",
    title: "Rows of memory replaced by spare ones, by what they were replaced for",
    units: "rows",
    priority: 70_141,
    dims: &[Dim::new("corrected"), Dim::new("uncorrected")],
    ..BASE
};

/// Fields 29 and 30 (`NVML_FI_DEV_RETIRED_*`): counts.
pub const RETIRED_PAGES: Chart = Chart {
    id: "retired_pages",
    context: "nvidia.retired_pages",
    family: "memory errors",
    title: "Pages of memory no longer used, by what they were retired for",
    units: "pages",
    priority: 70_142,
    dims: &[Dim::new("single_bit"), Dim::new("double_bit")],
    ..BASE
};

/// Fields 144, 145 and 31, and `bThresholdExceeded` of `nvmlDeviceGetSramEccErrorStatus`: 1 where it is so.
pub const MEMORY_REPAIR: Chart = Chart {
    id: "memory_repair",
    context: "nvidia.memory_repair",
    family: "memory errors",
    title: "Whether a repair of the memory waits for a reset, or failed",
    units: "state",
    priority: 70_143,
    dims: &[
        Dim::new("remap_pending").optional(),
        Dim::new("remap_failed").optional(),
        Dim::new("retirement_pending").optional(),
        Dim::new("sram_threshold_exceeded").optional(),
    ],
    ..BASE
};

/// Field 230 (`NVML_FI_DEV_GET_GPU_RECOVERY_ACTION`): 1 for what the driver wants done, 0 for the rest.
pub const RECOVERY_ACTION: Chart = Chart {
    id: "recovery_action",
    context: "nvidia.recovery_action",
    family: "gpu state",
    title: "What the driver wants done to the GPU",
    units: "state",
    priority: 70_101,
    dims: &[
        Dim::new("none"),
        Dim::new("gpu_reset"),
        Dim::new("node_reboot"),
        Dim::new("drain_p2p"),
        Dim::new("drain_and_reset"),
        Dim::new("recover_imex_domain"),
        Dim::new("bus_reset"),
        Dim::new("system_reboot"),
        Dim::new("unknown"),
    ],
    ..BASE
};

/// `nvmlEventSetWait_v2`: XID errors since the previous tick, by whose fault they are.
pub const XID_EVENTS: Chart = Chart {
    id: "xid_events",
    context: "nvidia.xid_events",
    family: "xid",
    title: "XID errors",
    units: "events",
    priority: 70_102,
    dims: &[
        Dim::new("user"),
        Dim::new("hardware"),
        Dim::new("fatal"),
        Dim::new("other"),
    ],
    ..BASE
};

/// The number of the newest of them since the plugin was started.
pub const XID_LAST: Chart = Chart {
    id: "xid_last",
    context: "nvidia.xid_last",
    family: "xid",
    title: "Number of the latest XID error",
    units: "xid",
    priority: 70_103,
    dims: &[Dim::new("xid")],
    ..BASE
};

/// `nvmlDeviceGetComputeMode`: 1 for the mode it is in.
pub const COMPUTE_MODE: Chart = Chart {
    id: "compute_mode",
    context: "nvidia.compute_mode",
    family: "processes",
    title: "Who may use the GPU",
    units: "state",
    priority: 70_134,
    dims: &[
        Dim::new("default"),
        Dim::new("exclusive_thread"),
        Dim::new("prohibited"),
        Dim::new("exclusive_process"),
    ],
    ..BASE
};

/// From `nvmlDeviceGetUtilizationRates` and the list of processes: seconds since anything ran while a
/// process holds memory.
pub const HELD_IDLE: Chart = Chart {
    id: "held_idle",
    context: "nvidia.held_idle",
    family: "processes",
    title: "Time since anything ran while memory is held",
    units: "seconds",
    priority: 70_133,
    dims: &[Dim::new("seconds")],
    ..BASE
};

/// Field 94 (`NVML_FI_DEV_PCIE_REPLAY_COUNTER`), else `nvmlDeviceGetPcieReplayCounter`: a count.
pub const PCIE_REPLAYS: Chart = Chart {
    id: "pcie_replays",
    context: "nvidia.pcie_replays",
    family: "pcie link",
    title: "PCI Express packets sent again",
    units: "replays",
    priority: 70_121,
    dims: &[Dim::new("replays")],
    ..BASE
};
