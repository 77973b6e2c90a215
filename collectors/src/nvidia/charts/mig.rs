//! Charts of MIG: whether a GPU is split, and its instances. Those that Netdata has are as Netdata's.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::BASE;

/// `nvmlDeviceGetMigMode`, the current one: 1 for the mode it is in.
pub const MIG_MODE: Chart = Chart {
    id: "mig_mode_current_status",
    context: "nvidia_smi.gpu_mig_mode_current_status",
    family: "mig",
    title: "MIG current mode",
    units: "status",
    priority: 70_007,
    dims: &[Dim::new("enabled"), Dim::new("disabled")],
    ..BASE
};

/// `nvmlDeviceGetMigDeviceHandleByIndex`: GPU instances.
pub const MIG_DEVICES: Chart = Chart {
    id: "mig_devices_count",
    context: "nvidia_smi.gpu_mig_devices_count",
    family: "mig",
    title: "MIG devices",
    units: "devices",
    priority: 70_008,
    dims: &[Dim::new("mig")],
    ..BASE
};

/// `nvmlDeviceGetMemoryInfo_v2` of the instance, bytes.
pub const MIG_FRAME_BUFFER_MEMORY: Chart = Chart {
    id: "frame_buffer_memory_usage",
    context: "nvidia_smi.gpu_mig_frame_buffer_memory_usage",
    family: "fb mem usage",
    title: "Frame buffer memory usage",
    units: "B",
    kind: Kind::Stacked,
    priority: 70_010,
    dims: &[
        Dim::new("free"),
        Dim::new("used"),
        Dim::new("reserved").optional(),
    ],
    ..BASE
};

/// `nvmlDeviceGetBAR1MemoryInfo` of the instance, bytes.
pub const MIG_BAR1_MEMORY: Chart = Chart {
    id: "bar1_memory_usage",
    context: "nvidia_smi.gpu_mig_bar1_memory_usage",
    family: "bar1 mem usage",
    title: "BAR1 memory usage",
    units: "B",
    kind: Kind::Stacked,
    priority: 70_012,
    dims: &[Dim::new("free"), Dim::new("used")],
    ..BASE
};

/// GPM of the instance (`nvmlGpmMigSampleGet`), per cent.
pub const MIG_ACTIVITY: Chart = Chart {
    id: "mig_activity",
    context: "nvidia.mig_activity",
    family: "mig",
    title: "How busy the parts of the instance are",
    units: "percentage",
    priority: 70_107,
    dims: &[
        Dim::milli("sm"),
        Dim::milli("occupancy"),
        Dim::milli("tensor"),
        Dim::milli("dram"),
    ],
    ..BASE
};
