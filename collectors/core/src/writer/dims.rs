//! The dimensions of a chart as the agent knows them. A tick looks at every one, so they lie close together.

use std::ops::Range;

use super::put;
use super::words::unique_id;
use crate::chart::{Algorithm, Dim};

/// What stands before an identifier where its value is set, and after.
const SET: (&str, &str) = ("SET '", "' = ");

/// Dimensions, in the order in which they were learnt.
#[derive(Default)]
pub(super) struct Dims {
    all: Vec<DefinedDim>,
    /// How the values of each begin, one after another.
    sets: String,
}

/// One of them.
pub(super) struct DefinedDim {
    /// Its place in `sets`.
    set: Range<usize>,
    /// As it is recorded, where that is something else than its identifier.
    raw: Option<Box<str>>,
    dim: Dim,
    /// The tick that had a value last.
    pub(super) last_value: u64,
}

impl Dims {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Takes a new one, which has had no value yet at `tick`. Its identifier is clean, and unique within the chart.
    pub(super) fn learn(&mut self, name: &str, dim: Dim, tick: u64) {
        let id = unique_id(name, |id| self.all.iter().any(|dim| self.id(dim) == id));
        let start = self.sets.len();
        self.sets.extend([SET.0, &id, SET.1]);
        self.all.push(DefinedDim {
            set: start..self.sets.len(),
            raw: (id != name).then(|| name.into()),
            dim,
            last_value: tick.saturating_sub(1),
        });
    }

    /// Where the dimension of that name is. Names mostly come in the order in which they were learnt.
    pub(super) fn place_of(&self, name: &str, position: usize) -> Option<usize> {
        match self.all.get(position) {
            Some(dim) if self.name(dim) == name => Some(position),
            _ => self.all.iter().position(|dim| self.name(dim) == name),
        }
    }

    /// How the value of the one at `place` begins and how many steps make one of its unit, unless it has had its
    /// value of this tick.
    pub(super) fn begin(&mut self, place: usize, tick: u64) -> Option<(&str, u32)> {
        let dim = &mut self.all[place];
        if dim.last_value == tick {
            return None;
        }
        dim.last_value = tick;
        Some((&self.sets[dim.set.clone()], dim.dim.precision))
    }

    /// Forgets that any had its value of this tick.
    pub(super) fn begin_again(&mut self, tick: u64) {
        for dim in &mut self.all {
            dim.last_value = dim.last_value.min(tick.saturating_sub(1));
        }
    }

    /// Appends the definitions of those of which `which` is true.
    pub(super) fn define(
        &self,
        out: &mut Vec<u8>,
        options: &str,
        which: impl Fn(&str, &DefinedDim) -> bool,
    ) {
        for dim in self.all.iter().filter(|dim| which(self.name(dim), dim)) {
            let algorithm = match dim.dim.algorithm {
                Algorithm::Absolute => "absolute",
                Algorithm::Incremental => "incremental",
            };
            let id = self.id(dim);
            let (multiplier, divisor) = (dim.dim.multiplier, dim.dim.precision);
            put(
                out,
                format_args!(
                    "DIMENSION '{id}' '{id}' {algorithm} {multiplier} {divisor} '{options}'\n"
                ),
            );
        }
    }

    /// Whether `which` is true of one.
    pub(super) fn any(&self, which: impl Fn(&str, &DefinedDim) -> bool) -> bool {
        self.all.iter().any(|dim| which(self.name(dim), dim))
    }

    /// The tick at which the one whose last value is the oldest had it, of those of which `which` is true.
    pub(super) fn oldest(&self, which: impl Fn(&str) -> bool) -> Option<u64> {
        let all = self.all.iter().filter(|dim| which(self.name(dim)));
        all.map(|dim| dim.last_value).min()
    }

    /// Forgets those of which `which` is true.
    pub(super) fn forget(&mut self, which: impl Fn(&str, &DefinedDim) -> bool) {
        let old = std::mem::take(self);
        for dim in &old.all {
            if !which(old.name(dim), dim) {
                let start = self.sets.len();
                self.sets.push_str(&old.sets[dim.set.clone()]);
                self.all.push(DefinedDim {
                    set: start..self.sets.len(),
                    raw: dim.raw.clone(),
                    ..*dim
                });
            }
        }
    }

    fn id(&self, dim: &DefinedDim) -> &str {
        &self.sets[dim.set.start + SET.0.len()..dim.set.end - SET.1.len()]
    }

    /// As it is recorded.
    fn name<'a>(&'a self, dim: &'a DefinedDim) -> &'a str {
        dim.raw.as_deref().unwrap_or_else(|| self.id(dim))
    }
}
