//! A reading as a function of time, with its exact integral.
//!
//! The integral is what keeps the energy counter consistent with the power: both come from the
//! same closed form, so no drift accumulates and no state is kept.

use std::f64::consts::TAU;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

/// A number, or one of the functions of time. Times are seconds; the clock is Unix time.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// Never changes.
    Constant(f64),
    /// Swings between `min` and `max`, at its middle and rising when `t + phase_s` is 0.
    Sine(Sine),
    /// Holds each value for `every_s`, then starts over.
    Steps(Steps),
    /// Rises (or falls) from `from` to `to` in `period_s`, then jumps back.
    Ramp(Ramp),
    /// Follows the GPU's load: `idle` at 0 %, `full` at 100 %, `lag_s` behind it.
    Load(Load),
    /// The sum of its parts.
    Sum(Vec<Signal>),
    /// `offset + factor * of(t - lag_s)`: what [`Signal::Load`] becomes once the load is known.
    Scaled {
        of: Box<Signal>,
        offset: f64,
        factor: f64,
        lag_s: f64,
    },
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sine {
    pub min: f64,
    pub max: f64,
    pub period_s: f64,
    #[serde(default)]
    pub phase_s: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Steps {
    pub values: Vec<f64>,
    pub every_s: f64,
    #[serde(default)]
    pub phase_s: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ramp {
    pub from: f64,
    pub to: f64,
    pub period_s: f64,
    #[serde(default)]
    pub phase_s: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    pub idle: f64,
    pub full: f64,
    #[serde(default)]
    pub lag_s: f64,
}

/// The functions as a scenario writes them, `sine: {min: …}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Function {
    Sine(Sine),
    Steps(Steps),
    Ramp(Ramp),
    Load(Load),
    Sum(Vec<Signal>),
}

impl Signal {
    /// The value at `t`, Unix seconds.
    pub fn at(&self, t: f64) -> f64 {
        match self {
            Self::Constant(value) => *value,
            Self::Sine(s) => {
                // Within one period: the sine of a large number takes several times as long.
                let turn = ((t + s.phase_s) / s.period_s).rem_euclid(1.0);
                (s.min + s.max) / 2.0 + (s.max - s.min) / 2.0 * (TAU * turn).sin()
            }
            Self::Steps(s) => {
                let step = ((t + s.phase_s) / s.every_s).floor();
                s.values[step.rem_euclid(s.values.len() as f64) as usize]
            }
            Self::Ramp(r) => {
                r.from + (r.to - r.from) * ((t + r.phase_s) / r.period_s).rem_euclid(1.0)
            }
            // No machine holds one: see `follows_load`.
            Self::Load(_) => 0.0,
            Self::Sum(parts) => parts.iter().map(|part| part.at(t)).sum(),
            Self::Scaled {
                of,
                offset,
                factor,
                lag_s,
            } => offset + factor * of.at(t - lag_s),
        }
    }

    /// The integral from `from` to `to`, both Unix seconds: unit × seconds.
    pub fn integral(&self, from: f64, to: f64) -> f64 {
        match self {
            Self::Constant(value) => value * (to - from),
            Self::Sine(s) => {
                // The antiderivative is -cos; whole periods cancel, so large times stay exact.
                let angle = |t: f64| TAU * ((t + s.phase_s) / s.period_s).rem_euclid(1.0);
                (s.min + s.max) / 2.0 * (to - from)
                    + (s.max - s.min) / 2.0 * s.period_s / TAU
                        * (angle(from).cos() - angle(to).cos())
            }
            Self::Steps(s) => s.since_origin(to) - s.since_origin(from),
            Self::Ramp(r) => r.since_origin(to) - r.since_origin(from),
            Self::Load(_) => 0.0,
            Self::Sum(parts) => parts.iter().map(|part| part.integral(from, to)).sum(),
            Self::Scaled {
                of,
                offset,
                factor,
                lag_s,
            } => offset * (to - from) + factor * of.integral(from - lag_s, to - lag_s),
        }
    }

    /// This signal with every `load:` replaced by a function of `load`, a percentage.
    pub fn with_load(&self, load: &Signal) -> Signal {
        match self {
            Self::Load(l) => Self::Scaled {
                of: Box::new(load.clone()),
                offset: l.idle,
                factor: (l.full - l.idle) / 100.0,
                lag_s: l.lag_s,
            },
            Self::Sum(parts) => Self::Sum(parts.iter().map(|part| part.with_load(load)).collect()),
            other => other.clone(),
        }
    }

    /// Whether a `load:` is left in it, which only [`Signal::with_load`] gives a value.
    pub fn follows_load(&self) -> bool {
        match self {
            Self::Load(_) => true,
            Self::Sum(parts) => parts.iter().any(Self::follows_load),
            _ => false,
        }
    }

    /// For a signal of bit masks: 1 while any bit of `mask` is set, else 0. Only constants and
    /// steps are masks.
    pub fn any_bit(&self, mask: u64) -> Option<Signal> {
        let bit = |value: f64| if value as u64 & mask == 0 { 0.0 } else { 1.0 };
        match self {
            Self::Constant(value) => Some(Self::Constant(bit(*value))),
            Self::Steps(steps) => {
                let values = steps.values.iter().map(|value| bit(*value)).collect();
                Some(Self::Steps(Steps {
                    values,
                    ..steps.clone()
                }))
            }
            _ => None,
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let positive = |seconds: f64| seconds.is_finite() && seconds > 0.0;
        match self {
            Self::Sine(s) if !positive(s.period_s) => Err("period_s must be above 0"),
            Self::Ramp(r) if !positive(r.period_s) => Err("period_s must be above 0"),
            Self::Steps(s) if !positive(s.every_s) => Err("every_s must be above 0"),
            Self::Steps(s) if s.values.is_empty() => Err("values must hold at least one number"),
            _ => Ok(()),
        }
    }
}

impl Steps {
    /// The integral since the start of the first step.
    fn since_origin(&self, t: f64) -> f64 {
        let position = (t + self.phase_s) / self.every_s;
        let cycle_length = self.values.len() as f64;
        let cycle = (position / cycle_length).floor();
        let within = position - cycle * cycle_length;
        let per_cycle: f64 = self.values.iter().sum();
        let part: f64 = self
            .values
            .iter()
            .enumerate()
            .map(|(i, value)| value * (within - i as f64).clamp(0.0, 1.0))
            .sum();
        (cycle * per_cycle + part) * self.every_s
    }
}

impl Ramp {
    /// The integral since the start of the first rise.
    fn since_origin(&self, t: f64) -> f64 {
        let position = (t + self.phase_s) / self.period_s;
        let cycle = position.floor();
        let within = position - cycle;
        let rise = self.to - self.from;
        let per_cycle = self.from + rise / 2.0;
        (cycle * per_cycle + self.from * within + rise * within * within / 2.0) * self.period_s
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SignalVisitor)
    }
}

struct SignalVisitor;

impl<'de> Visitor<'de> for SignalVisitor {
    type Value = Signal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or one of sine, steps, ramp, load, sum")
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Signal, E> {
        if value.is_finite() {
            Ok(Signal::Constant(value))
        } else {
            Err(E::custom("not finite"))
        }
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Signal, E> {
        Ok(Signal::Constant(value as f64))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Signal, E> {
        Ok(Signal::Constant(value as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Signal, A::Error> {
        let signal = match Function::deserialize(MapAccessDeserializer::new(map))? {
            Function::Sine(sine) => Signal::Sine(sine),
            Function::Steps(steps) => Signal::Steps(steps),
            Function::Ramp(ramp) => Signal::Ramp(ramp),
            Function::Load(load) => Signal::Load(load),
            Function::Sum(parts) => Signal::Sum(parts),
        };
        signal.check().map_err(de::Error::custom)?;
        Ok(signal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Signal {
        serde_saphyr::from_str(text).unwrap()
    }

    /// The integral by the midpoint rule, which shares nothing with the closed forms.
    fn by_midpoints(signal: &Signal, from: f64, to: f64) -> f64 {
        let n = 200_000;
        let dt = (to - from) / f64::from(n);
        (0..n)
            .map(|i| signal.at(from + (f64::from(i) + 0.5) * dt))
            .sum::<f64>()
            * dt
    }

    #[test]
    fn every_integral_equals_the_area_under_the_values() {
        let load = parse("sine: {min: 10, max: 90, period_s: 7, phase_s: 1}");
        for text in [
            "300",
            "sine: {min: 100, max: 500, period_s: 13.7, phase_s: 2}",
            "steps: {values: [100, 450, 50], every_s: 3.1}",
            "ramp: {from: 80, to: 600, period_s: 11}",
            "load: {idle: 75, full: 580, lag_s: 2}",
            "sum: [50, {sine: {min: 0, max: 9, period_s: 3}}, {load: {idle: 0, full: 5}}]",
        ] {
            let signal = parse(text).with_load(&load);
            let from = 1_790_000_000.25;
            let expected = by_midpoints(&signal, from, from + 29.3);
            let got = signal.integral(from, from + 29.3);
            assert!(
                (got / expected - 1.0).abs() < 1e-4,
                "{text}: {got} is not {expected}"
            );
        }
    }

    #[test]
    fn a_function_stays_within_its_bounds_and_repeats() {
        let sine = parse("sine: {min: 5, max: 25, period_s: 10}");
        let values: Vec<f64> = (0..100).map(|i| sine.at(f64::from(i) * 0.1)).collect();
        assert!(values.iter().all(|v| (5.0..=25.0).contains(v)));
        assert!((sine.at(3.0) - sine.at(13.0)).abs() < 1e-9);
        let steps = parse("steps: {values: [1, 2, 3], every_s: 5}");
        assert_eq!(
            [0.0, 4.9, 5.0, 14.0, 15.0].map(|t| steps.at(t)),
            [1.0, 1.0, 2.0, 3.0, 1.0]
        );
    }

    #[test]
    fn a_function_that_cannot_be_evaluated_is_refused() {
        for text in [
            "sine: {min: 0, max: 1, period_s: 0}",
            "steps: {values: [], every_s: 1}",
            "steps: {values: [1], every_s: -1}",
            "saw: {min: 0}",
            "sine: {min: 0, max: 1, period: 3}",
            ".inf",
        ] {
            assert!(serde_saphyr::from_str::<Signal>(text).is_err(), "{text}");
        }
    }
}
