//! What the agent knows of charts and their dimensions, and the values it is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::dims::Dims;
use super::put_integer;
use crate::chart::{ChartRef, Instance};
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
    pub(super) dims: Dims,
    pub(super) last_begin: Option<Instant>,
    pub(super) last_seen: u64,
}

/// Ticks without being begun, those at which it could be, after which a chart is obsoleted.
pub(super) const OBSOLETE_AFTER_TICKS: u64 = 10;
/// Ticks without a value after which a dimension named while running is obsoleted. Longer than a
/// chart's: processes come and go, and each return costs a definition.
pub(super) const OBSOLETE_DIM_AFTER_TICKS: u64 = 300;

impl Defined {
    /// Adds the dimensions that this tick names for the first time.
    pub(super) fn learn_names(&mut self, recorded: &Recorded<'_>, tick: u64) {
        for (position, (name, value)) in recorded.values().enumerate() {
            if value.is_none() || self.dims.place_of(name, position).is_some() {
                continue;
            }
            if let Some(dim) = recorded.chart().dim(name) {
                self.dims.learn(name, dim, tick);
            }
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
        for (position, (name, value)) in recorded.values().enumerate() {
            let Some(value) = value else { continue };
            let Some(at) = self.dims.place_of(name, position) else {
                if recorded.chart().dim(name).is_some() {
                    self.dims.begin_again(tick);
                    out.truncate(start);
                    return false;
                }
                log::debug!("chart {} has no dimension {name}", recorded.chart().context);
                continue;
            };
            let Some((begin, precision)) = self.dims.begin(at, tick) else {
                continue;
            };
            let steps = (value * f64::from(precision)).round();
            // Beyond this a double no longer holds every integer, and Netdata would store nonsense.
            if steps.abs() < 9e18 {
                out.extend_from_slice(begin.as_bytes());
                put_integer(out, steps as i64);
                out.push(b'\n');
            }
        }
        out.extend_from_slice(b"END\n");
        self.last_begin = Some(now);
        true
    }

    /// The first tick at which it is obsolete if it is not begun again, for a job that ticks every `update_every`
    /// seconds.
    pub(super) fn obsolete_at(&self, update_every: u32) -> u64 {
        let ticks = OBSOLETE_AFTER_TICKS.saturating_mul(self.ticks(update_every));
        self.last_seen.saturating_add(ticks)
    }

    /// The first tick at which one of its dimensions is obsolete if it has no value until then.
    pub(super) fn dim_obsolete_at(&self, update_every: u32) -> u64 {
        let oldest = self.dims.oldest(|name| !self.is_known(name));
        let after = self.dim_obsolete_after(update_every);
        oldest.map_or(u64::MAX, |oldest| oldest.saturating_add(after))
    }

    /// Whether each of its dimensions is obsolete at `tick`.
    pub(super) fn is_dim_gone(
        &self,
        update_every: u32,
        tick: u64,
    ) -> impl Fn(&str, u64) -> bool + use<> {
        let (after, known) = (
            self.dim_obsolete_after(update_every),
            self.chart.view().dims,
        );
        move |name, last_value| {
            tick - last_value >= after && !known.iter().any(|known| known.id == name)
        }
    }

    fn is_known(&self, name: &str) -> bool {
        self.chart.view().dims.iter().any(|known| known.id == name)
    }

    fn dim_obsolete_after(&self, update_every: u32) -> u64 {
        OBSOLETE_DIM_AFTER_TICKS.max(2 * self.ticks(update_every))
    }

    /// Ticks of the job in its own interval.
    fn ticks(&self, update_every: u32) -> u64 {
        u64::from((self.update_every / update_every.max(1)).max(1))
    }
}
