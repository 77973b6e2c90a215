//! Charts of the board and of what is around it, which Netdata does not have.

use netdata_plugin::chart::{Chart, Dim};

use super::BASE;

/// Fields 185 and 186 (`NVML_FI_DEV_POWER_AVERAGE`, `…_INSTANT`) of the GPU (scope 0), of the module with its
/// CPU (1) and of the memory (2), mW. Watts.
pub const POWER_SENSORS: Chart = Chart {
    id: "power_sensors",
    context: "nvidia.power_sensors",
    family: "power",
    title: "Power by sensor, at the moment of the reading",
    units: "Watts",
    priority: 70_111,
    dims: &[
        Dim::milli("instant").optional(),
        Dim::milli("one_second").optional(),
        Dim::milli("memory").optional(),
        Dim::milli("module").optional(),
    ],
    ..BASE
};

/// Fields 173 to 182 (`NVML_FI_DEV_PCIE_COUNT_*`): counts.
pub const PCIE_ERRORS: Chart = Chart {
    id: "pcie_errors",
    context: "nvidia.pcie_errors",
    family: "pcie link",
    title: "Errors of the PCI Express link",
    units: "errors",
    priority: 70_122,
    dims: &[
        Dim::new("correctable").optional(),
        Dim::new("non_fatal").optional(),
        Dim::new("fatal").optional(),
        Dim::new("unsupported_request").optional(),
        Dim::new("receiver").optional(),
        Dim::new("bad_tlp").optional(),
        Dim::new("bad_dllp").optional(),
        Dim::new("lcrc").optional(),
        Dim::new("naks_received").optional(),
        Dim::new("naks_sent").optional(),
    ],
    ..BASE
};

/// `state` of `nvmlDeviceGetGpuFabricInfoV`, else `nvmlDeviceGetGpuFabricInfo`: 1 for the one it is in.
pub const FABRIC_STATE: Chart = Chart {
    id: "fabric_state",
    context: "nvidia.fabric_state",
    family: "fabric",
    title: "Whether the GPU has joined its NVLink fabric",
    units: "state",
    priority: 70_126,
    dims: &[
        Dim::new("not_started"),
        Dim::new("in_progress"),
        Dim::new("completed"),
        Dim::new("unknown"),
    ],
    ..BASE
};

/// `healthMask` of `nvmlDeviceGetGpuFabricInfoV`: 1 where it is so.
pub const FABRIC_HEALTH: Chart = Chart {
    id: "fabric_health",
    context: "nvidia.fabric_health",
    family: "fabric",
    title: "What is wrong with the NVLink fabric, as the GPU sees it",
    units: "state",
    priority: 70_127,
    dims: &[
        Dim::new("degraded_bandwidth").optional(),
        Dim::new("route_recovery").optional(),
        Dim::new("route_unhealthy").optional(),
        Dim::new("access_timeout_recovery").optional(),
        Dim::new("misconfigured").optional(),
    ],
    ..BASE
};

/// Fields 170 and 171 (`NVML_FI_DEV_C2C_LINK_*`): counts of links.
pub const C2C_LINKS: Chart = Chart {
    id: "c2c_links",
    context: "nvidia.c2c_links",
    family: "fabric",
    title: "Links to the CPU on the same module",
    units: "links",
    priority: 70_128,
    dims: &[Dim::new("up"), Dim::new("down")],
    ..BASE
};

/// `ccFeature` of `nvmlSystemGetConfComputeState`: 1 for what it is.
pub const CONFIDENTIAL_COMPUTE: Chart = Chart {
    id: "confidential_compute",
    context: "nvidia.confidential_compute",
    family: "modes",
    title: "Confidential computing",
    units: "state",
    priority: 70_151,
    dims: &[Dim::new("off"), Dim::new("on")],
    ..BASE
};

/// `nvmlDeviceGet{Persistence,Accounting}Mode`, `nvmlDeviceGetEccMode`, `nvmlDeviceGetDisplayActive`: 1 where it is
/// switched on.
pub const MODES: Chart = Chart {
    id: "modes",
    context: "nvidia.modes",
    family: "modes",
    title: "What is switched on",
    units: "state",
    priority: 70_150,
    dims: &[
        Dim::new("persistence").optional(),
        Dim::new("ecc").optional(),
        Dim::new("display_active").optional(),
        Dim::new("accounting").optional(),
    ],
    ..BASE
};

/// `nvmlDeviceGetSramEccErrorStatus`, `aggregate*`: counts.
pub const SRAM_ERRORS: Chart = Chart {
    id: "sram_errors",
    context: "nvidia.sram_errors",
    family: "memory errors",
    title: "Errors in caches and registers",
    units: "errors",
    priority: 70_144,
    dims: &[
        Dim::new("corrected"),
        Dim::new("parity"),
        Dim::new("sec_ded"),
    ],
    ..BASE
};

/// `nvmlDeviceGetRowRemapperHistogram`: banks.
pub const SPARE_ROWS: Chart = Chart {
    id: "spare_rows",
    context: "nvidia.spare_rows",
    family: "memory errors",
    title: "Banks of memory by how many of their spare rows are left",
    units: "banks",
    priority: 70_145,
    dims: &[
        Dim::new("max"),
        Dim::new("high"),
        Dim::new("partial"),
        Dim::new("low"),
        Dim::new("none"),
    ],
    ..BASE
};
