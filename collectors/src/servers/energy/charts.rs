//! The charts of what servers hold and use of the GPUs, and what the energy went into.

use netdata_plugin::chart::{Chart, Dim, Kind};

/// Position of the first chart; the others follow in the order of this file: below what the server says itself, above its
/// processes.
const PRIORITY: u32 = 70_370;

/// `usedGpuMemory` of NVML's process lists, bytes, summed over the server's processes. One chart for each server and
/// GPU.
pub const GPU_MEMORY: Chart = Chart {
    id: "gpu_memory",
    context: "inference.gpu_memory",
    family: "gpu",
    title: "GPU memory held by the server",
    units: "B",
    kind: Kind::Area,
    priority: PRIORITY,
    dims: &[Dim::new("held")],
    dynamic: None,
};

/// `smUtil` of `nvmlDeviceGetProcessUtilization`, per cent of SM time, summed over the server's processes. One chart for
/// each server and GPU.
pub const GPU_UTILIZATION: Chart = Chart {
    id: "gpu_utilization",
    context: "inference.gpu_utilization",
    family: "gpu",
    title: "GPU time used by the server",
    units: "percentage",
    kind: Kind::Area,
    priority: PRIORITY + 1,
    dims: &[Dim::milli("sm")],
    dynamic: None,
};

/// The server's part of the gain of `nvmlDeviceGetTotalEnergyConsumption`, mJ, over the time between two readings. One
/// chart for each server and GPU.
pub const GPU_POWER: Chart = Chart {
    id: "gpu_power",
    context: "inference.gpu_power",
    family: "gpu",
    title: "Power of the GPU used by the server",
    units: "Watts",
    kind: Kind::Area,
    priority: PRIORITY + 2,
    dims: &[Dim::milli("power")],
    dynamic: None,
};

/// The same over all GPUs, divided at the boards' idle power. One chart for each server.
pub const GPU_ENERGY: Chart = Chart {
    id: "gpu_energy",
    context: "inference.gpu_energy",
    family: "energy",
    title: "GPU energy used by the server, per second",
    units: "Watts",
    kind: Kind::Stacked,
    priority: PRIORITY + 10,
    dims: &[
        Dim::milli("active"),
        Dim::milli("idle"),
        Dim::milli("undivided").optional(),
    ],
    dynamic: None,
};

/// Energy of a window, J, over the tokens that the server generated in it. One chart for each server.
pub const ENERGY_PER_OUTPUT_TOKEN: Chart = Chart {
    id: "energy_per_output_token",
    context: "inference.energy_per_output_token",
    family: "energy",
    title: "GPU energy per token generated",
    units: "J/token",
    kind: Kind::Line,
    priority: PRIORITY + 11,
    dims: &[Dim::micro("all_in"), Dim::micro("active")],
    dynamic: None,
};

/// The same over the tokens that the model was run for, prefill and decode together.
pub const ENERGY_PER_COMPUTED_TOKEN: Chart = Chart {
    id: "energy_per_computed_token",
    context: "inference.energy_per_computed_token",
    title: "GPU energy per token computed, prompt and output",
    priority: PRIORITY + 12,
    ..ENERGY_PER_OUTPUT_TOKEN
};

/// The same over the requests that ended.
pub const ENERGY_PER_REQUEST: Chart = Chart {
    id: "energy_per_request",
    context: "inference.energy_per_request",
    title: "GPU energy per finished request",
    units: "J/request",
    priority: PRIORITY + 13,
    dims: &[Dim::milli("finished")],
    ..ENERGY_PER_OUTPUT_TOKEN
};

/// All energy of a window and the host's part, at `price_per_kwh`, over a million tokens generated.
pub const ELECTRICITY_COST: Chart = Chart {
    id: "electricity_cost",
    context: "inference.electricity_cost",
    title: "Electricity per million tokens generated",
    units: "currency/million tokens",
    priority: PRIORITY + 14,
    dims: &[Dim::micro("electricity")],
    ..ENERGY_PER_OUTPUT_TOKEN
};

/// The GPUs' time in a window, at `gpu_hour_price`, over a million tokens generated.
pub const COST: Chart = Chart {
    id: "cost",
    context: "inference.cost",
    title: "GPU time per million tokens generated",
    units: "currency/million tokens",
    priority: PRIORITY + 15,
    dims: &[Dim::micro("gpu_time")],
    ..ENERGY_PER_OUTPUT_TOKEN
};

/// What is left of a board's energy beside all servers: together it is the board's. One chart for each GPU.
pub const UNATTRIBUTED_ENERGY: Chart = Chart {
    id: "unattributed_energy",
    context: "inference.unattributed_energy",
    family: "energy",
    title: "GPU energy charged to no server, per second",
    units: "Watts",
    kind: Kind::Stacked,
    priority: PRIORITY + 20,
    dims: &[
        Dim::milli("other_programs"),
        Dim::milli("idle"),
        Dim::milli("unattributed"),
    ],
    dynamic: None,
};
