//! What holds the clocks down: the reasons at this moment, and from counters the share of time by cause.

use std::time::Instant;

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};

use super::calls::Calls;
use super::fields::{Batch, Field, Numbering, Value};
use crate::nvidia::snapshot::Throttled;
use crate::rate::Rate;

/// Counters of nanoseconds since the driver was loaded, `NVML_FI_DEV_CLOCKS_EVENT_REASON_*`.
pub const SW_POWER_CAP: Field = Field::new(74);
/// The same as a policy of older drivers, which covers every thermal cause.
pub const THERMAL: Field = Field::new(75);
pub const SYNC_BOOST: Field = Field::new(76);
pub const SW_THERMAL: Field = Field::new(269);
pub const HW_THERMAL: Field = Field::new(270);
pub const HW_POWER_BRAKE: Field = Field::new(271);

/// A counter moves in steps of the driver's own, so an interval may show more than its time; one that gained
/// more than this many times its interval does not count nanoseconds.
const NONSENSE: f64 = 3.0;

/// The counters' pasts.
#[derive(Debug, Default)]
pub struct Counters {
    sw_power_cap: Rate,
    sw_thermal: Rate,
    hw_thermal: Rate,
    hw_power_brake: Rate,
    sync_boost: Rate,
    thermal: Rate,
}

impl Counters {
    /// The shares of the time since the previous call.
    pub fn shares(&mut self, batch: &Batch, numbering: Numbering, now: Instant) -> Throttled {
        let share = |rate: &mut Rate, field| {
            let ns = batch.get(field, numbering).and_then(Value::count);
            percentage(rate.per_second(ns.map(|ns| ns as f64), now)?)
        };
        let sw_thermal = share(&mut self.sw_thermal, SW_THERMAL);
        let hw_thermal = share(&mut self.hw_thermal, HW_THERMAL);
        let told_apart = batch.get(SW_THERMAL, numbering).is_some()
            || batch.get(HW_THERMAL, numbering).is_some();
        let thermal = share(&mut self.thermal, THERMAL);
        Throttled {
            sw_power_cap: share(&mut self.sw_power_cap, SW_POWER_CAP),
            sw_thermal,
            hw_thermal,
            hw_power_brake: share(&mut self.hw_power_brake, HW_POWER_BRAKE),
            sync_boost: share(&mut self.sync_boost, SYNC_BOOST),
            thermal: thermal.filter(|_| !told_apart),
        }
    }

    /// Forgets the past: the next shares are gaps.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// From nanoseconds per second.
fn percentage(ns_per_second: f64) -> Option<f64> {
    let share = ns_per_second / 1e9;
    (share <= NONSENSE).then(|| (share * 100.0).min(100.0))
}

/// The reasons at this moment, `nvmlClocksEventReason*` bits. Drivers before 535 know them as throttle reasons.
pub fn reasons(device: &Device<'_>, uuid: &str, calls: &mut Calls) -> Option<u64> {
    let lib = device.nvml().lib();
    let newer = calls.ask(uuid, "nvmlDeviceGetCurrentClocksEventReasons", || {
        let call = nvml_sym(lib.nvmlDeviceGetCurrentClocksEventReasons.as_ref())?;
        mask(|mask| {
            // SAFETY: the handle comes from this library, still initialised; `mask` is a live u64.
            unsafe { call(device.handle(), mask) }
        })
    });
    if newer.is_some() {
        return newer;
    }
    calls.ask(uuid, "nvmlDeviceGetCurrentClocksThrottleReasons", || {
        let call = nvml_sym(lib.nvmlDeviceGetCurrentClocksThrottleReasons.as_ref())?;
        mask(|mask| {
            // SAFETY: as above.
            unsafe { call(device.handle(), mask) }
        })
    })
}

fn mask(call: impl FnOnce(*mut u64) -> u32) -> Result<u64, NvmlError> {
    let mut mask = 0;
    nvml_try(call(&mut mask))?;
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_runs_with_the_clock_is_all_of_the_time() {
        assert_eq!(percentage(0.0), Some(0.0));
        assert_eq!(percentage(0.25e9), Some(25.0));
        assert_eq!(percentage(1.7e9), Some(100.0));
    }

    #[test]
    fn a_counter_in_another_unit_is_unknown() {
        assert_eq!(percentage(1e12), None);
    }
}
