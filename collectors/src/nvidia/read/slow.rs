//! The readings of every ten seconds: what hardly moves, and the fan, which takes 137 µs a call.

use nvml_wrapper::Device;

use super::calls::Calls;
use crate::nvidia::snapshot::{PcieLink, Slow};

/// Reads all of it.
pub fn read(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Slow {
    let bar1 = calls.ask(uuid, "nvmlDeviceGetBAR1MemoryInfo", || {
        device.bar1_memory_info()
    });
    let known = |bytes: u64| (bytes != u64::MAX).then_some(bytes);
    Slow {
        power_limit_mw: calls.ask(uuid, "nvmlDeviceGetEnforcedPowerLimit", || {
            device.enforced_power_limit()
        }),
        fan_pct: calls.ask(uuid, "nvmlDeviceGetFanSpeed_v2", || device.fan_speed(0)),
        bar1_free_bytes: bar1.as_ref().and_then(|bar1| known(bar1.free)),
        bar1_used_bytes: bar1.as_ref().and_then(|bar1| known(bar1.used)),
        pcie: PcieLink {
            generation: calls.ask(uuid, "nvmlDeviceGetCurrPcieLinkGeneration", || {
                device.current_pcie_link_gen()
            }),
            max_generation: calls.ask(uuid, "nvmlDeviceGetMaxPcieLinkGeneration", || {
                device.max_pcie_link_gen()
            }),
            width: calls.ask(uuid, "nvmlDeviceGetCurrPcieLinkWidth", || {
                device.current_pcie_link_width()
            }),
            max_width: calls.ask(uuid, "nvmlDeviceGetMaxPcieLinkWidth", || {
                device.max_pcie_link_width()
            }),
        },
    }
}
