//! Charts of power, heat and clocks against their limits, which Netdata does not have.

use netdata_plugin::chart::{Chart, Dim};

use super::BASE;

/// `nvmlDeviceGetTotalEnergyConsumption`, mJ, as the rate between two readings; the lowest and highest of
/// `nvmlDeviceGetSamples` of power, mW, since the previous reading; and `nvmlDeviceGetEnforcedPowerLimit`,
/// mW. Watts.
pub const POWER: Chart = Chart {
    id: "power",
    context: "nvidia.power",
    family: "power",
    title: "Power by the energy counter, its range, and its limit",
    units: "Watts",
    priority: 70_110,
    dims: &[
        Dim::milli("average"),
        Dim::milli("min").optional(),
        Dim::milli("max").optional(),
        Dim::milli("limit"),
    ],
    ..BASE
};

/// What is left of the limit above, per cent of it.
pub const POWER_HEADROOM: Chart = Chart {
    id: "power_headroom",
    context: "nvidia.power_headroom",
    family: "power",
    title: "Power left under the limit",
    units: "percentage",
    priority: 70_111,
    dims: &[Dim::milli("headroom")],
    ..BASE
};

/// Field 82 (`NVML_FI_DEV_MEMORY_TEMP`), degrees Celsius.
pub const MEMORY_TEMPERATURE: Chart = Chart {
    id: "memory_temperature",
    context: "nvidia.memory_temperature",
    family: "temperature",
    title: "Memory temperature",
    units: "Celsius",
    priority: 70_112,
    dims: &[Dim::new("memory")],
    ..BASE
};

/// `nvmlDeviceGetMarginTemperature`, else the slowdown threshold less the temperature; and the memory's
/// threshold less its temperature. Degrees Celsius, below zero when slowed down.
pub const TEMPERATURE_MARGIN: Chart = Chart {
    id: "temperature_margin",
    context: "nvidia.temperature_margin",
    family: "temperature",
    title: "Degrees left until heat slows the GPU down",
    units: "Celsius",
    priority: 70_113,
    dims: &[Dim::new("gpu").optional(), Dim::new("memory").optional()],
    ..BASE
};

/// `nvmlDeviceGetTemperatureThreshold`, degrees Celsius.
pub const TEMPERATURE_LIMITS: Chart = Chart {
    id: "temperature_limits",
    context: "nvidia.temperature_limits",
    title: "Temperatures at which heat is acted upon",
    priority: 70_118,
    ..HEAT_LIMITS
};

/// Fields 193 to 196 (`NVML_FI_DEV_TEMPERATURE_*_TLIMIT`), degrees Celsius of the margin that the driver tells.
pub const TEMPERATURE_MARGIN_LIMITS: Chart = Chart {
    id: "temperature_margin_limits",
    context: "nvidia.temperature_margin_limits",
    title: "Margins at which heat is acted upon",
    priority: 70_119,
    ..HEAT_LIMITS
};

/// What both share.
const HEAT_LIMITS: Chart = Chart {
    family: "temperature",
    units: "Celsius",
    dims: &[
        Dim::new("slowdown").optional(),
        Dim::new("shutdown").optional(),
        Dim::new("gpu_max").optional(),
        Dim::new("memory_max").optional(),
    ],
    ..BASE
};

/// Fields 74, 76 and 269 to 271 (`NVML_FI_DEV_CLOCKS_EVENT_REASON_*`), nanoseconds, as a share of the time
/// between two readings; field 75 (`NVML_FI_DEV_PERF_POLICY_THERMAL`) where the thermal causes are not told apart.
pub const THROTTLE: Chart = Chart {
    id: "throttle",
    context: "nvidia.throttle",
    family: "throttling",
    title: "Time in which the clocks were held down, by cause",
    units: "percentage",
    priority: 70_114,
    dims: &[
        Dim::milli("sw_power_cap").optional(),
        Dim::milli("sw_thermal").optional(),
        Dim::milli("hw_thermal").optional(),
        Dim::milli("hw_power_brake").optional(),
        Dim::milli("sync_boost").optional(),
        Dim::milli("thermal").optional(),
    ],
    ..BASE
};

/// What the GPU's SM clock, throttled time and PCI Express lanes are short of the median of those that compute in
/// step with it.
pub const BEHIND_PEERS: Chart = Chart {
    id: "behind_peers",
    context: "nvidia.behind_peers",
    family: "peers",
    title: "How far behind its tensor-parallel peers",
    units: "percentage",
    priority: 70_116,
    dims: &[
        Dim::milli("clock"),
        Dim::milli("throttled").optional(),
        Dim::milli("lanes").optional(),
    ],
    ..BASE
};

/// The temperature less the median of the same.
pub const WARMER_THAN_PEERS: Chart = Chart {
    id: "warmer_than_peers",
    context: "nvidia.warmer_than_peers",
    family: "peers",
    title: "How much warmer than its tensor-parallel peers",
    units: "Celsius",
    priority: 70_117,
    dims: &[Dim::milli("gpu")],
    ..BASE
};

/// `nvmlDeviceGetCurrentClocksEventReasons`, else `…ThrottleReasons`: 1 for each bit that is set.
pub const CLOCK_EVENT_REASONS: Chart = Chart {
    id: "clock_event_reasons",
    context: "nvidia.clock_event_reasons",
    family: "throttling",
    title: "What holds the clocks down now",
    units: "state",
    priority: 70_115,
    dims: &[
        Dim::new("gpu_idle"),
        Dim::new("application_clocks"),
        Dim::new("sw_power_cap"),
        Dim::new("hw_slowdown"),
        Dim::new("sync_boost"),
        Dim::new("sw_thermal"),
        Dim::new("hw_thermal"),
        Dim::new("hw_power_brake"),
        Dim::new("display_clocks"),
        Dim::new("board_limit"),
        Dim::new("reliability"),
    ],
    ..BASE
};
