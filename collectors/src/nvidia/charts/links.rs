//! Charts of what passes over PCI Express and NVLink.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::BASE;

/// Fields 197 and 198 (`NVML_FI_DEV_PCIE_COUNT_*_BYTES`) as rates, else GPM; B/s. Sent below zero, as
/// Netdata's own collector has it.
pub const PCIE_BANDWIDTH: Chart = Chart {
    id: "pcie_bandwidth_usage",
    context: "nvidia_smi.gpu_pcie_bandwidth_usage",
    family: "pcie bandwidth",
    title: "PCI Express bandwidth usage",
    units: "B/s",
    kind: Kind::Area,
    priority: 70_000,
    dims: &[Dim::new("rx"), Dim::new("tx").below_zero()],
    ..BASE
};

/// The same as a share of what the link can do at best, by its generation and lanes; percentage.
pub const PCIE_BANDWIDTH_UTILIZATION: Chart = Chart {
    id: "pcie_bandwidth_utilization",
    context: "nvidia_smi.gpu_pcie_bandwidth_utilization",
    family: "pcie bandwidth",
    title: "PCI Express bandwidth utilization",
    units: "percentage",
    kind: Kind::Area,
    priority: 70_001,
    dims: &[Dim::milli("rx"), Dim::milli("tx").below_zero()],
    ..BASE
};

/// Fields 138 and 139 (`NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_*`) of all links as rates, else GPM; B/s.
pub const NVLINK_THROUGHPUT: Chart = Chart {
    id: "nvlink_throughput",
    context: "nvidia.nvlink_throughput",
    family: "nvlink",
    title: "NVLink throughput, all links",
    units: "B/s",
    kind: Kind::Area,
    priority: 70_122,
    dims: &[Dim::new("rx"), Dim::new("tx").below_zero()],
    ..BASE
};

/// The same fields, else 202 and 204 (`NVML_FI_DEV_NVLINK_COUNT_*_BYTES`), of each link, both directions; B/s.
pub const NVLINK_THROUGHPUT_BY_LINK: Chart = Chart {
    id: "nvlink_throughput_by_link",
    context: "nvidia.nvlink_throughput_by_link",
    family: "nvlink",
    title: "NVLink throughput by link, both directions",
    units: "B/s",
    kind: Kind::Stacked,
    priority: 70_123,
    dims: &[],
    dynamic: Some(Dim::new("")),
};

/// `nvmlDeviceGetNvLinkState`: links.
pub const NVLINK_STATE: Chart = Chart {
    id: "nvlink_state",
    context: "nvidia.nvlink_state",
    family: "nvlink",
    title: "NVLinks by state",
    units: "links",
    priority: 70_124,
    dims: &[Dim::new("up"), Dim::new("down")],
    ..BASE
};

/// Fields 161 to 163 (`NVML_FI_DEV_NVLINK_ERROR_DL_*`) of each link, else `nvmlDeviceGetNvLinkErrorCounter`: counts
/// over all links.
pub const NVLINK_ERRORS: Chart = Chart {
    id: "nvlink_errors",
    context: "nvidia.nvlink_errors",
    family: "nvlink",
    title: "NVLink errors, all links",
    units: "errors",
    priority: 70_125,
    dims: &[
        Dim::new("replay").optional(),
        Dim::new("recovery").optional(),
        Dim::new("crc").optional(),
    ],
    ..BASE
};

/// The same as the sum of each link.
pub const NVLINK_ERRORS_BY_LINK: Chart = Chart {
    id: "nvlink_errors_by_link",
    context: "nvidia.nvlink_errors_by_link",
    family: "nvlink",
    title: "NVLink errors by link",
    units: "errors",
    priority: 70_126,
    dims: &[],
    dynamic: Some(Dim::new("")),
    ..BASE
};
