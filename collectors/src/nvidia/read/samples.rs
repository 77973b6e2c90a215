//! The driver's own samples between two readings: `nvmlDeviceGetSamples`. Power is sampled about every
//! 20 ms, so its lowest and highest value within a second are known where the driver keeps them.

use nvml_wrapper::Device;
use nvml_wrapper::error::{NvmlError, nvml_sym, nvml_try};
use nvml_wrapper_sys::bindings::{nvmlSample_t, nvmlValue_t, nvmlValueType_t};

use super::calls::Calls;
use super::fields::Value;

/// More than drivers keep.
const ROOM: usize = 256;

/// Readings without a new sample after which the samples' clock is taken to have gone back.
const STARTS_OVER_AFTER: u32 = 10;

/// How far ahead of ours the clock of a sample may be.
const FUTURE_US: u64 = 60_000_000;

/// A kind of sample.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// `nvmlSamplingType_t`.
    number: u32,
    call: &'static str,
    /// Values above are nonsense.
    highest: f64,
}

/// Board power, mW; no board draws a megawatt.
pub const POWER: Kind = Kind {
    number: 0,
    call: "nvmlDeviceGetSamples(power)",
    highest: 1e9,
};

/// GPU utilisation, per cent.
pub const UTILIZATION: Kind = Kind {
    number: 1,
    call: "nvmlDeviceGetSamples(gpu)",
    highest: 100.0,
};

/// One GPU's samples of one kind.
#[derive(Debug, Default)]
pub struct Samples {
    last_seen_us: Option<u64>,
    /// Readings in a row without a new sample.
    without: u32,
}

/// A buffer that all GPUs share.
#[derive(Default)]
pub struct Buffer(Vec<nvmlSample_t>);

impl Samples {
    /// The lowest and the highest sample since the previous reading; `None` where there is none, and at the
    /// first reading, whose samples are older than it.
    pub fn range(
        &mut self,
        kind: Kind,
        device: &Device<'_>,
        uuid: &str,
        calls: &mut Calls,
        now_us: u64,
        buffer: &mut Buffer,
    ) -> Option<(f64, f64)> {
        // A clock set back would otherwise hide every sample until it has caught up.
        if self.last_seen_us > Some(now_us + FUTURE_US) {
            self.last_seen_us = None;
        }
        let since = self.last_seen_us.unwrap_or(0);
        let (kind_of_value, count) = calls.ask(uuid, kind.call, || {
            match fetch(kind.number, device, since, &mut buffer.0) {
                // The normal way to say that there is nothing newer.
                Err(NvmlError::NotFound) => Ok((0, 0)),
                other => other,
            }
        })?;
        self.take(kind, kind_of_value, &buffer.0[..count], now_us)
    }

    fn take(
        &mut self,
        kind: Kind,
        kind_of_value: nvmlValueType_t,
        samples: &[nvmlSample_t],
        now_us: u64,
    ) -> Option<(f64, f64)> {
        let first = self.last_seen_us.is_none();
        let since = self.last_seen_us.unwrap_or(0);
        let mut newest = since;
        let mut range: Option<(f64, f64)> = None;
        for sample in samples {
            let value = Value::decode(kind_of_value, sample.sampleValue).map(Value::number);
            let Some(value) = value.filter(|value| (0.0..=kind.highest).contains(value)) else {
                continue;
            };
            if sample.timeStamp <= since || sample.timeStamp > now_us + FUTURE_US {
                continue;
            }
            newest = newest.max(sample.timeStamp);
            let (low, high) = range.unwrap_or((value, value));
            range = Some((low.min(value), high.max(value)));
        }
        self.without = if range.is_some() { 0 } else { self.without + 1 };
        if self.without >= STARTS_OVER_AFTER {
            // What is asked for from the beginning of time is there, whatever the time.
            *self = Self::default();
        } else if newest > 0 {
            self.last_seen_us = Some(newest);
        }
        range.filter(|_| !first)
    }
}

/// The samples newer than `since`: the type of their values, and how many are in the buffer.
fn fetch(
    kind: u32,
    device: &Device<'_>,
    since: u64,
    buffer: &mut Vec<nvmlSample_t>,
) -> Result<(nvmlValueType_t, usize), NvmlError> {
    let call = nvml_sym(device.nvml().lib().nvmlDeviceGetSamples.as_ref())?;
    buffer.resize(
        ROOM,
        nvmlSample_t {
            timeStamp: 0,
            sampleValue: nvmlValue_t { ullVal: 0 },
        },
    );
    let (mut kind_of_value, mut count) = (0, ROOM as u32);
    // SAFETY: the handle comes from this library, still initialised; the buffer holds `count` samples.
    nvml_try(unsafe {
        call(
            device.handle(),
            kind,
            since,
            &mut kind_of_value,
            &mut count,
            buffer.as_mut_ptr(),
        )
    })?;
    Ok((kind_of_value, (count as usize).min(ROOM)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000_000;

    fn sample(at_us: u64, value: u32) -> nvmlSample_t {
        let mut bits = nvmlValue_t { ullVal: 0 };
        bits.uiVal = value;
        nvmlSample_t {
            timeStamp: at_us,
            sampleValue: bits,
        }
    }

    fn primed() -> Samples {
        let mut samples = Samples::default();
        assert_eq!(
            samples.take(UTILIZATION, 1, &[sample(NOW - 10, 90)], NOW),
            None
        );
        samples
    }

    #[test]
    fn the_range_is_of_what_is_new_and_possible() {
        let mut samples = primed();
        let rows = [
            sample(NOW - 10, 1),
            sample(NOW - 3, 40),
            sample(NOW - 2, 20),
            sample(NOW - 1, 4_000_000),
            sample(u64::MAX, 99),
        ];
        assert_eq!(samples.take(UTILIZATION, 1, &rows, NOW), Some((20.0, 40.0)));
        assert_eq!(samples.last_seen_us, Some(NOW - 2));
        assert_eq!(samples.take(UTILIZATION, 1, &rows, NOW), None);
    }

    #[test]
    fn a_clock_of_samples_that_goes_back_costs_ten_readings_and_no_value_of_before() {
        let mut samples = primed();
        let old = |n| sample(NOW - 3_600_000_000 + n, 30);
        for n in 0..u64::from(STARTS_OVER_AFTER) {
            assert_eq!(samples.take(UTILIZATION, 1, &[], NOW), None, "{n}");
        }
        assert_eq!(samples.take(UTILIZATION, 1, &[old(1)], NOW), None);
        assert_eq!(
            samples.take(UTILIZATION, 1, &[old(1), old(2)], NOW),
            Some((30.0, 30.0))
        );
    }

    #[test]
    fn values_of_an_unknown_type_are_unknown() {
        assert_eq!(primed().take(POWER, 99, &[sample(NOW - 1, 5)], NOW), None);
    }
}
