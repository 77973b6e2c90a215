//! What a window's energy and GPU time cost, in the user's own currency, per million tokens generated.

use serde::{Deserialize, Deserializer, de};

use super::window::Gain;

const TOKENS: f64 = 1e6;
const J_PER_KWH: f64 = 3.6e6;

/// The user's prices; without one there is no such chart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prices {
    /// Of a kilowatt-hour.
    pub per_kwh: Option<f64>,
    /// Energy of the whole data centre over that of its machines.
    pub pue: Option<f64>,
    /// What the machine draws beside its GPUs, W; each GPU bears an equal part.
    pub host_watts: Option<f64>,
    /// Of an hour of one GPU, whether it works or not.
    pub gpu_hour: Option<f64>,
}

impl Prices {
    /// Electricity per million tokens; `gpus` is how many the machine has.
    #[must_use]
    pub fn electricity(&self, gain: &Gain, gpus: usize) -> Option<f64> {
        let (price, tokens) = (self.per_kwh?, gain.output?);
        // A few.
        #[allow(clippy::cast_precision_loss)]
        let host_j = self.host_watts.unwrap_or_default() * gain.gpu_seconds / gpus.max(1) as f64;
        let joules = (gain.all_j + host_j) * self.pue.unwrap_or(1.0);
        Some(joules / J_PER_KWH * price / tokens * TOKENS)
    }

    /// The GPUs' time per million tokens.
    #[must_use]
    pub fn gpu_time(&self, gain: &Gain) -> Option<f64> {
        let (price, tokens) = (self.gpu_hour?, gain.output?);
        Some(gain.gpu_seconds / 3600.0 * price / tokens * TOKENS)
    }
}

/// An option that is a price or a power.
///
/// # Errors
/// If it is negative, absurd or no number.
pub fn amount<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(from, 0.0, "must be a number from 0 to 1000000")
}

/// An option that is a factor of at least 1.
///
/// # Errors
/// As [`amount`].
pub fn factor<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    within(from, 1.0, "must be a number from 1 to 1000000")
}

fn within<'de, D: Deserializer<'de>>(
    from: D,
    least: f64,
    otherwise: &str,
) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(from)? {
        Some(number) if !(least..=1e6).contains(&number) => Err(de::Error::custom(otherwise)),
        number => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute of four GPUs at 600 W each, and 120,000 tokens.
    const GAIN: Gain = Gain {
        active_j: None,
        all_j: 144_000.0,
        gpu_seconds: 240.0,
        output: Some(120_000.0),
        computed: None,
        requests: None,
    };

    #[test]
    fn without_a_price_or_tokens_there_is_no_cost() {
        assert_eq!(Prices::default().electricity(&GAIN, 4), None);
        assert_eq!(Prices::default().gpu_time(&GAIN), None);
        let prices = Prices {
            per_kwh: Some(0.3),
            gpu_hour: Some(2.5),
            ..Prices::default()
        };
        let idle = Gain {
            output: None,
            ..GAIN
        };
        assert_eq!(
            (prices.electricity(&idle, 4), prices.gpu_time(&idle)),
            (None, None)
        );
    }

    #[test]
    fn electricity_is_that_of_gpus_and_their_part_of_the_host_and_the_building() {
        let mut prices = Prices {
            per_kwh: Some(0.30),
            ..Prices::default()
        };
        // 0.04 kWh for 0.12 million tokens.
        let cost = prices.electricity(&GAIN, 8).unwrap();
        assert!((cost - 0.1).abs() < 1e-12, "{cost}");
        // Half of the host's 1,200 W for a minute: 0.01 kWh more.
        prices.host_watts = Some(1200.0);
        prices.pue = Some(1.2);
        let cost = prices.electricity(&GAIN, 8).unwrap();
        assert!((cost - 0.05 * 1.2 * 0.30 / 0.12).abs() < 1e-12, "{cost}");
    }

    #[test]
    fn gpu_time_costs_whether_it_is_used_or_not() {
        let prices = Prices {
            gpu_hour: Some(3.0),
            ..Prices::default()
        };
        let cost = prices.gpu_time(&GAIN).unwrap();
        assert!((cost - 0.2 / 0.12).abs() < 1e-12, "{cost}");
    }
}
