//! Charts that Netdata does not have.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::BASE;

/// Part of the charts' ids before the dot.
pub const NVIDIA: &str = "nvidia";

/// From the codes that NVML's calls return: 1 for the state it is in, 0 for the others.
pub const GPU_STATE: Chart = Chart {
    id: "gpu_state",
    context: "nvidia.gpu_state",
    family: "gpu state",
    title: "Whether the GPU answers",
    units: "state",
    priority: 70_100,
    dims: &[
        Dim::new("ok"),
        Dim::new("lost"),
        Dim::new("reset_required"),
        Dim::new("stale"),
    ],
    ..BASE
};

/// The lowest and highest of `nvmlDeviceGetSamples` of GPU utilisation since the previous reading, per cent.
pub const GPU_UTILIZATION_RANGE: Chart = Chart {
    id: "gpu_utilization_range",
    context: "nvidia.gpu_utilization_range",
    family: "gpu utilization",
    title: "Range of GPU utilization between two readings",
    units: "percentage",
    priority: 70_104,
    dims: &[Dim::new("min"), Dim::new("max")],
    ..BASE
};

/// `nvmlDeviceGet{Curr,Max}PcieLink{Generation,Width}`: the generation's number and the count of lanes.
pub const PCIE_LINK: Chart = Chart {
    id: "pcie_link",
    context: "nvidia.pcie_link",
    family: "pcie link",
    title: "PCI Express link, now and at best",
    units: "generation, lanes",
    priority: 70_120,
    dims: &[
        Dim::new("generation"),
        Dim::new("generation_max"),
        Dim::new("width"),
        Dim::new("width_max"),
    ],
    ..BASE
};

/// `nvmlDeviceGet{Compute,Graphics}RunningProcesses_v3`, rows; unresolved are those without an entry in
/// the host's /proc.
pub const PROCESSES: Chart = Chart {
    id: "processes",
    context: "nvidia.processes",
    family: "processes",
    title: "Processes on the GPU",
    units: "processes",
    priority: 70_130,
    dims: &[Dim::new("count"), Dim::new("unresolved")],
    ..BASE
};

/// `usedGpuMemory` of the same rows, bytes, summed by command and user.
pub const PROCESS_MEMORY: Chart = Chart {
    id: "process_memory",
    context: "nvidia.process_memory",
    family: "processes",
    title: "GPU memory by command and user",
    units: "B",
    kind: Kind::Stacked,
    priority: 70_131,
    dims: &[Dim::new("other").optional()],
    dynamic: Some(Dim::new("").optional()),
};

/// `nvmlDeviceGetProcessUtilization`, per cent of SM time since the previous reading, summed likewise.
pub const PROCESS_UTILIZATION: Chart = Chart {
    id: "process_utilization",
    context: "nvidia.process_utilization",
    family: "processes",
    title: "SM time by command and user",
    units: "percentage",
    kind: Kind::Stacked,
    priority: 70_132,
    dims: &[Dim::milli("other").optional()],
    dynamic: Some(Dim::milli("").optional()),
};

/// The memory of `PROCESS_MEMORY` while nothing runs on the GPU, else 0; bytes.
pub const HELD_IDLE_MEMORY: Chart = Chart {
    id: "held_idle_memory",
    context: "nvidia.held_idle_memory",
    family: "processes",
    title: "GPU memory held while nothing ran for a minute, by command and user",
    units: "B",
    kind: Kind::Stacked,
    priority: 70_135,
    dims: &[Dim::new("other").optional()],
    dynamic: Some(Dim::new("").optional()),
};

/// GPM (`nvmlGpmMetricsGet`) between two readings, per cent.
pub const ACTIVITY: Chart = Chart {
    id: "activity",
    context: "nvidia.activity",
    family: "gpu utilization",
    title: "How busy the parts of the GPU are",
    units: "percentage",
    priority: 70_105,
    dims: &[
        Dim::milli("sm"),
        Dim::milli("occupancy"),
        Dim::milli("tensor"),
        Dim::milli("dram"),
    ],
    ..BASE
};

/// `nvmlDeviceGetJpgUtilization`, `nvmlDeviceGetOfaUtilization`, per cent.
pub const ENGINES: Chart = Chart {
    id: "engines",
    context: "nvidia.engines",
    family: "gpu utilization",
    title: "Image decoder and optical flow accelerator",
    units: "percentage",
    priority: 70_106,
    dims: &[Dim::new("jpeg").optional(), Dim::new("ofa").optional()],
    ..BASE
};

/// Wall time of all NVML calls of a group for this GPU, milliseconds, the last time it was read.
pub const DRIVER_CALL_LATENCY: Chart = Chart {
    id: "driver_call_latency",
    context: "nvidia.driver_call_latency",
    family: "driver",
    title: "Time spent in the driver for one reading",
    units: "milliseconds",
    priority: 70_190,
    dims: &[
        Dim::milli("fast"),
        Dim::milli("processes"),
        Dim::milli("slow"),
    ],
    ..BASE
};
