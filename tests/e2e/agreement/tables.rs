//! What each reader and we both tell: which chart holds it, under which name it is read, and in which step.

/// One value that is compared.
pub struct Compared {
    /// The chart's id, with `{}` for the GPU.
    pub chart: &'static str,
    /// Its dimension, or those whose sum it is.
    pub dims: &'static [&'static str],
    /// The reading's name.
    pub key: &'static str,
    /// The reader's rounding.
    pub step: f64,
}

const MIB: f64 = 1_048_576.0;
const UTILIZATION: &str = "nvidia_smi.gpu_{}_gpu_utilization";
const MEMORY_BUS: &str = "nvidia_smi.gpu_{}_memory_utilization";
const ENCODER: &str = "nvidia_smi.gpu_{}_encoder_utilization";
const DECODER: &str = "nvidia_smi.gpu_{}_decoder_utilization";
const MEMORY: &str = "nvidia_smi.gpu_{}_frame_buffer_memory_usage";
const BAR1: &str = "nvidia_smi.gpu_{}_bar1_memory_usage";
const TEMPERATURE: &str = "nvidia_smi.gpu_{}_temperature";
const POWER_DRAW: &str = "nvidia_smi.gpu_{}_power_draw";
const POWER: &str = "nvidia.gpu_{}_power";
const CLOCKS: &str = "nvidia_smi.gpu_{}_clock_freq";
const P_STATE: &str = "nvidia_smi.gpu_{}_performance_state";
const PCIE: &str = "nvidia_smi.gpu_{}_pcie_bandwidth_usage";
const LINK: &str = "nvidia.gpu_{}_pcie_link";
const NVLINK: &str = "nvidia.gpu_{}_nvlink_throughput";
const ALL_MEMORY: &[&str] = &["free", "used", "reserved"];

const fn row(
    chart: &'static str,
    dims: &'static [&'static str],
    key: &'static str,
    step: f64,
) -> Compared {
    Compared {
        chart,
        dims,
        key,
        step,
    }
}

/// nvidia-ml-py, NVIDIA's own binding: numbers as the library gives them.
pub const NVML: &[Compared] = &[
    row(UTILIZATION, &["gpu"], "gpu", 1.0),
    row(MEMORY_BUS, &["memory"], "memory_bus", 1.0),
    row(ENCODER, &["encoder"], "encoder", 1.0),
    row(DECODER, &["decoder"], "decoder", 1.0),
    row(MEMORY, &["used"], "used", 1.0),
    row(MEMORY, &["free"], "free", 1.0),
    row(MEMORY, &["reserved"], "reserved", 1.0),
    row(MEMORY, ALL_MEMORY, "total", 1.0),
    row(BAR1, &["used"], "bar1_used", 1.0),
    row(BAR1, &["free"], "bar1_free", 1.0),
    row(TEMPERATURE, &["temperature"], "temperature", 1.0),
    row(POWER_DRAW, &["power_draw"], "power", 0.01),
    row(POWER, &["limit"], "limit", 0.01),
    row(CLOCKS, &["graphics"], "graphics", 1.0),
    row(CLOCKS, &["sm"], "sm", 1.0),
    row(CLOCKS, &["mem"], "mem", 1.0),
    row(CLOCKS, &["video"], "video", 1.0),
    row(P_STATE, &["P0"], "p0", 0.0),
    row(LINK, &["generation"], "generation", 0.0),
    row(LINK, &["generation_max"], "generation_max", 0.0),
    row(LINK, &["width"], "width", 0.0),
    row(LINK, &["width_max"], "width_max", 0.0),
    row("nvidia.gpu_{}_pcie_replays", &["replays"], "replays", 0.0),
    row(
        "nvidia.gpu_{}_ecc_errors",
        &["volatile_corrected"],
        "corrected",
        0.0,
    ),
    row(
        "nvidia.gpu_{}_ecc_errors",
        &["volatile_uncorrected"],
        "uncorrected",
        0.0,
    ),
];

/// nvitop's classes.
pub const NVITOP: &[Compared] = &[
    row(UTILIZATION, &["gpu"], "gpu", 1.0),
    row(MEMORY_BUS, &["memory"], "memory_bus", 1.0),
    row(ENCODER, &["encoder"], "encoder", 1.0),
    row(DECODER, &["decoder"], "decoder", 1.0),
    row(MEMORY, &["used"], "used", 1.0),
    row(MEMORY, &["free"], "free", 1.0),
    row(MEMORY, ALL_MEMORY, "total", 1.0),
    row(BAR1, &["used"], "bar1_used", 1.0),
    row(BAR1, &["free"], "bar1_free", 1.0),
    row(TEMPERATURE, &["temperature"], "temperature", 1.0),
    row(POWER_DRAW, &["power_draw"], "power", 0.01),
    row(POWER, &["limit"], "limit", 0.01),
    row(CLOCKS, &["graphics"], "graphics", 1.0),
    row(CLOCKS, &["sm"], "sm", 1.0),
    row(CLOCKS, &["mem"], "mem", 1.0),
    row(CLOCKS, &["video"], "video", 1.0),
    row(P_STATE, &["P0"], "p0", 0.0),
    row(PCIE, &["tx"], "pcie_tx", 1000.0),
    row(PCIE, &["rx"], "pcie_rx", 1000.0),
    row(
        "nvidia.gpu_{}_ecc_errors",
        &["volatile_uncorrected"],
        "uncorrected",
        0.0,
    ),
    row(
        "nvidia_smi.gpu_{}_mig_mode_current_status",
        &["enabled"],
        "mig",
        0.0,
    ),
    row("nvidia.gpu_{}_compute_mode", &["default"], "shared", 0.0),
];

/// The page of nvitop-exporter.
pub const EXPORTER: &[Compared] = &[
    row(UTILIZATION, &["gpu"], "gpu", 1.0),
    row(MEMORY_BUS, &["memory"], "memory_bus", 1.0),
    row(ENCODER, &["encoder"], "encoder", 1.0),
    row(DECODER, &["decoder"], "decoder", 1.0),
    row(MEMORY, &["used"], "used", 1.0),
    row(MEMORY, &["free"], "free", 1.0),
    row(MEMORY, ALL_MEMORY, "total", 1.0),
    row(TEMPERATURE, &["temperature"], "temperature", 1.0),
    row(POWER_DRAW, &["power_draw"], "power", 0.01),
    row(POWER, &["limit"], "limit", 0.01),
    row(CLOCKS, &["graphics"], "graphics", 1.0),
    row(CLOCKS, &["sm"], "sm", 1.0),
    row(CLOCKS, &["mem"], "mem", 1.0),
    row(CLOCKS, &["video"], "video", 1.0),
    row(PCIE, &["tx"], "pcie_tx", 1000.0),
    row(PCIE, &["rx"], "pcie_rx", 1000.0),
    // NVML counts KiB a link; eighteen links are read one after the other.
    row(NVLINK, &["tx"], "nvlink_tx", 20.0 * MIB),
    row(NVLINK, &["rx"], "nvlink_rx", 20.0 * MIB),
];

/// nvtop's screen: whole watts, three decimals of a GiB.
pub const NVTOP: &[Compared] = &[
    row(UTILIZATION, &["gpu"], "gpu", 1.0),
    row(MEMORY, &["used", "reserved"], "used_and_reserved", MIB),
    row(MEMORY, ALL_MEMORY, "total", MIB),
    row(TEMPERATURE, &["temperature"], "temperature", 1.0),
    row(POWER_DRAW, &["power_draw"], "power", 1.0),
    row(POWER, &["limit"], "limit", 1.0),
    row(CLOCKS, &["graphics"], "graphics", 1.0),
    row(CLOCKS, &["mem"], "mem", 1.0),
    row(PCIE, &["tx"], "pcie_tx", MIB),
    row(PCIE, &["rx"], "pcie_rx", MIB),
    row(LINK, &["generation"], "generation", 0.0),
    row(LINK, &["width"], "width", 0.0),
];

/// What gpustat prints, once.
pub const GPUSTAT: &[Compared] = &[
    row(UTILIZATION, &["gpu"], "utilization.gpu", 1.0),
    row(TEMPERATURE, &["temperature"], "temperature.gpu", 1.0),
    // It rounds to whole watts.
    row(POWER, &["limit"], "enforced.power.limit", 1.0),
];
