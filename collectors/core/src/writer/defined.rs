//! What the agent knows of charts and their dimensions, and the values it is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::words::unique_id;
use super::{put, put_integer};
use crate::chart::{Algorithm, ChartRef, Dim, Instance};
use crate::frame::Recorded;

/// The charts of a job. A tick records mostly what the last one did, in the same order, so that nearly all are found by
/// their place in it, and not by their name.
#[derive(Default)]
pub(super) struct Charts {
    all: Vec<Defined>,
    by_id: HashMap<String, usize>,
    /// Where the chart is that was recorded at this place.
    by_place: Vec<usize>,
}

impl Charts {
    /// Whether what is recorded at `place` is what was there before: the same chart about the very same thing.
    pub(super) fn is_at(&self, place: usize, recorded: &Recorded<'_>) -> bool {
        let at = self.by_place.get(place).and_then(|at| self.all.get(*at));
        at.is_some_and(|defined| {
            Arc::ptr_eq(&defined.instance, recorded.instance())
                && defined.chart.is_same(recorded.chart_ref())
        })
    }

    /// Puts the chart of that id at `place`; says whether there is one.
    pub(super) fn put_at(&mut self, place: usize, id: &str) -> bool {
        let Some(at) = self.by_id.get(id) else {
            return false;
        };
        if self.by_place.len() <= place {
            self.by_place.resize(place + 1, usize::MAX);
        }
        self.by_place[place] = *at;
        true
    }

    /// The chart at `place`.
    pub(super) fn at(&mut self, place: usize) -> Option<&mut Defined> {
        self.all.get_mut(*self.by_place.get(place)?)
    }

    /// Takes a new one.
    pub(super) fn add(&mut self, defined: Defined) {
        self.by_id.insert(defined.id.clone(), self.all.len());
        self.all.push(defined);
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Defined> {
        self.all.iter()
    }

    /// Forgets those of which `keep` says false.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Defined) -> bool) {
        let before = self.all.len();
        self.all.retain_mut(keep);
        if self.all.len() < before {
            self.by_place.clear();
            let ids = self.all.iter().enumerate();
            self.by_id = ids.map(|(at, defined)| (defined.id.clone(), at)).collect();
        }
    }
}

/// A chart as the agent knows it.
pub(super) struct Defined {
    pub(super) id: String,
    pub(super) chart: ChartRef,
    pub(super) instance: Arc<Instance>,
    pub(super) update_every: u32,
    pub(super) dims: Vec<DefinedDim>,
    pub(super) last_begin: Option<Instant>,
    pub(super) last_seen: u64,
}

pub(super) struct DefinedDim {
    /// As the agent knows it: clean, and unique within the chart.
    id: String,
    /// As it is recorded, where that is something else.
    raw: Option<String>,
    dim: Dim,
    /// How each of its values begins: `SET 'id' = `.
    set: Box<[u8]>,
    pub(super) last_value: u64,
    sent: bool,
}

impl Defined {
    /// Adds the dimensions that this tick names for the first time.
    pub(super) fn learn_names(&mut self, recorded: &Recorded<'_>, tick: u64) {
        for (position, (name, value)) in recorded.values().enumerate() {
            if value.is_none() || self.place_of(name, position).is_some() {
                continue;
            }
            if let Some(dim) = recorded.chart().dim(name) {
                let new = DefinedDim::new(name, dim, tick, &self.dims);
                self.dims.push(new);
            }
        }
    }

    /// Where the dimension of that name is. Names mostly come in the order in which they were learnt.
    fn place_of(&self, name: &str, position: usize) -> Option<usize> {
        match self.dims.get(position) {
            Some(dim) if dim.name() == name => Some(position),
            _ => self.dims.iter().position(|dim| dim.name() == name),
        }
    }

    /// The values of this tick; false, and nothing, if one of them has a name that is not known yet.
    pub(super) fn values(
        &mut self,
        out: &mut Vec<u8>,
        recorded: &Recorded<'_>,
        tick: u64,
        now: Instant,
    ) -> bool {
        let start = out.len();
        out.extend_from_slice(b"BEGIN ");
        out.extend_from_slice(self.id.as_bytes());
        if let Some(last) = self.last_begin {
            let elapsed_us = now.saturating_duration_since(last).as_micros().max(1);
            out.push(b' ');
            put_integer(out, i64::try_from(elapsed_us).unwrap_or(i64::MAX));
        }
        out.push(b'\n');
        self.dims.iter_mut().for_each(|dim| dim.sent = false);
        for (position, (name, value)) in recorded.values().enumerate() {
            let Some(value) = value else { continue };
            let Some(at) = self.place_of(name, position) else {
                if recorded.chart().dim(name).is_some() {
                    out.truncate(start);
                    return false;
                }
                log::debug!("chart {} has no dimension {name}", recorded.chart().context);
                continue;
            };
            let dim = &mut self.dims[at];
            let steps = (value * f64::from(dim.dim.precision)).round();
            // Beyond this a double no longer holds every integer, and Netdata would store nonsense.
            if dim.sent || steps.abs() >= 9e18 {
                continue;
            }
            dim.sent = true;
            dim.last_value = tick;
            out.extend_from_slice(&dim.set);
            put_integer(out, steps as i64);
            out.push(b'\n');
        }
        out.extend_from_slice(b"END\n");
        self.last_begin = Some(now);
        true
    }
}

impl DefinedDim {
    pub(super) fn new(name: &str, dim: Dim, tick: u64, others: &[Self]) -> Self {
        let id = unique_id(name, |id| others.iter().any(|other| other.id == id));
        Self {
            raw: (id != name).then(|| name.to_owned()),
            set: format!("SET '{id}' = ").into_bytes().into(),
            id,
            dim,
            last_value: tick,
            sent: false,
        }
    }

    /// As it is recorded.
    pub(super) fn name(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.id)
    }

    pub(super) fn define(&self, out: &mut Vec<u8>, options: &str) {
        let algorithm = match self.dim.algorithm {
            Algorithm::Absolute => "absolute",
            Algorithm::Incremental => "incremental",
        };
        let (id, multiplier, divisor) = (&self.id, self.dim.multiplier, self.dim.precision);
        put(
            out,
            format_args!(
                "DIMENSION '{id}' '{id}' {algorithm} {multiplier} {divisor} '{options}'\n"
            ),
        );
    }
}
