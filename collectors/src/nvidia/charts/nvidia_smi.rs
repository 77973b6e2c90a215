//! Charts that Netdata's own GPU collector has too: the same contexts, units, families, dimensions and
//! labels, so that dashboards and alerts made for those stay valid.

use netdata_plugin::chart::{Chart, Dim, Kind};

use super::BASE;

/// Part of the charts' ids before the dot.
pub const NVIDIA_SMI: &str = "nvidia_smi";

/// `nvmlDeviceGetFanSpeed_v2` of the first fan, per cent of its maximum.
pub const FAN_SPEED: Chart = Chart {
    id: "fan_speed_perc",
    context: "nvidia_smi.gpu_fan_speed_perc",
    family: "fan speed",
    title: "Fan speed",
    units: "%",
    priority: 70_002,
    dims: &[Dim::new("fan_speed")],
    ..BASE
};

/// `nvmlDeviceGetUtilizationRates.gpu`, per cent of the last sampling period (1/6 s to 1 s) in which at
/// least one kernel ran.
pub const GPU_UTILIZATION: Chart = Chart {
    id: "gpu_utilization",
    context: "nvidia_smi.gpu_utilization",
    family: "gpu utilization",
    title: "GPU utilization",
    units: "%",
    priority: 70_003,
    dims: &[Dim::new("gpu")],
    ..BASE
};

/// `nvmlDeviceGetUtilizationRates.memory`, per cent of the same period in which memory was accessed.
pub const MEMORY_UTILIZATION: Chart = Chart {
    id: "memory_utilization",
    context: "nvidia_smi.gpu_memory_utilization",
    family: "mem utilization",
    title: "Memory utilization",
    units: "%",
    priority: 70_004,
    dims: &[Dim::new("memory")],
    ..BASE
};

/// `nvmlDeviceGetDecoderUtilization`, per cent.
pub const DECODER_UTILIZATION: Chart = Chart {
    id: "decoder_utilization",
    context: "nvidia_smi.gpu_decoder_utilization",
    family: "dec utilization",
    title: "Decoder utilization",
    units: "%",
    priority: 70_005,
    dims: &[Dim::new("decoder")],
    ..BASE
};

/// `nvmlDeviceGetEncoderUtilization`, per cent.
pub const ENCODER_UTILIZATION: Chart = Chart {
    id: "encoder_utilization",
    context: "nvidia_smi.gpu_encoder_utilization",
    family: "enc utilization",
    title: "Encoder utilization",
    units: "%",
    priority: 70_006,
    dims: &[Dim::new("encoder")],
    ..BASE
};

/// `nvmlDeviceGetMemoryInfo_v2`, bytes; `nvmlDeviceGetMemoryInfo` without `reserved` on older drivers.
pub const FRAME_BUFFER_MEMORY: Chart = Chart {
    id: "frame_buffer_memory_usage",
    context: "nvidia_smi.gpu_frame_buffer_memory_usage",
    family: "fb mem usage",
    title: "Frame buffer memory usage",
    units: "B",
    kind: Kind::Stacked,
    priority: 70_009,
    dims: &[
        Dim::new("free"),
        Dim::new("used"),
        Dim::new("reserved").optional(),
    ],
    ..BASE
};

/// `nvmlDeviceGetBAR1MemoryInfo`, bytes.
pub const BAR1_MEMORY: Chart = Chart {
    id: "bar1_memory_usage",
    context: "nvidia_smi.gpu_bar1_memory_usage",
    family: "bar1 mem usage",
    title: "BAR1 memory usage",
    units: "B",
    kind: Kind::Stacked,
    priority: 70_011,
    dims: &[Dim::new("free"), Dim::new("used")],
    ..BASE
};

/// `nvmlDeviceGetTemperatureV`, else `nvmlDeviceGetTemperature`, of the GPU, degrees Celsius.
pub const TEMPERATURE: Chart = Chart {
    id: "temperature",
    context: "nvidia_smi.gpu_temperature",
    family: "temperature",
    title: "Temperature",
    units: "Celsius",
    priority: 70_013,
    dims: &[Dim::new("temperature")],
    ..BASE
};

/// `nvmlDeviceGetClockInfo` of the four domains, MHz.
pub const CLOCK_FREQ: Chart = Chart {
    id: "clock_freq",
    context: "nvidia_smi.gpu_clock_freq",
    family: "clocks",
    title: "Clock current frequency",
    units: "MHz",
    priority: 70_015,
    dims: &[
        Dim::new("graphics"),
        Dim::new("video"),
        Dim::new("sm"),
        Dim::new("mem"),
    ],
    ..BASE
};

/// `nvmlDeviceGetPowerUsage`, mW, shown as Watts.
pub const POWER_DRAW: Chart = Chart {
    id: "power_draw",
    context: "nvidia_smi.gpu_power_draw",
    family: "power draw",
    title: "Power draw",
    units: "Watts",
    priority: 70_016,
    dims: &[Dim::milli("power_draw")],
    ..BASE
};

/// `nvmlDeviceGetPerformanceState`: 1 for the state it is in, 0 for the others.
pub const PERFORMANCE_STATE: Chart = Chart {
    id: "performance_state",
    context: "nvidia_smi.gpu_performance_state",
    family: "performance state",
    title: "Performance state",
    units: "state",
    priority: 70_017,
    dims: &[
        Dim::new("P0"),
        Dim::new("P1"),
        Dim::new("P2"),
        Dim::new("P3"),
        Dim::new("P4"),
        Dim::new("P5"),
        Dim::new("P6"),
        Dim::new("P7"),
        Dim::new("P8"),
        Dim::new("P9"),
        Dim::new("P10"),
        Dim::new("P11"),
        Dim::new("P12"),
        Dim::new("P13"),
        Dim::new("P14"),
        Dim::new("P15"),
    ],
    ..BASE
};
