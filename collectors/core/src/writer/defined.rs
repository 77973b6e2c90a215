//! What the agent knows of charts and their dimensions, and the values it is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::dims::{Dims, Store};
use super::put_integer;
use crate::chart::{ChartRef, Instance};
use crate::frame::{Name, Recorded};

/// The charts of a job. A tick records mostly what the last one did, in the same order, so that nearly all are found by
/// their place in it, and not by their name.
#[derive(Default)]
pub(super) struct Charts {
    all: Vec<Defined>,
    store: Store,
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

    /// The chart at `place`, and what is kept of all of them.
    pub(super) fn at(&mut self, place: usize) -> Option<(&mut Defined, &mut Store)> {
        let defined = self.all.get_mut(*self.by_place.get(place)?)?;
        Some((defined, &mut self.store))
    }

    /// Takes a new one, which the agent does not know yet.
    pub(super) fn add(&mut self, id: &str, recorded: &Recorded<'_>, tick: u64) {
        self.by_id.insert(id.to_owned(), self.all.len());
        let new = Defined::new(&mut self.store, id, recorded, tick);
        self.all.push(new);
    }

    /// How many there are, and how many dimensions they have.
    pub(super) fn count(&self) -> (usize, usize) {
        let dims = self.all.iter().map(|chart| chart.dims.len(&self.store));
        (self.all.len(), dims.sum())
    }

    /// All of them, and what is kept of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Defined, &Store)> {
        self.all.iter().map(|defined| (defined, &self.store))
    }

    /// Slots in the store.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.store.len()
    }

    /// Forgets those of which `keep` says false.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut Defined, &mut Store) -> bool) {
        let before = self.all.len();
        let store = &mut self.store;
        self.all.retain_mut(|defined| keep(defined, store));
        if self.all.len() < before {
            self.by_place.clear();
            let (all, by_id) = (&self.all, &mut self.by_id);
            by_id.clear();
            let ids = all.iter().map(|it| it.id(&self.store).to_owned());
            by_id.extend(ids.enumerate().map(|(at, id)| (id, at)));
        }
        if self.all.len() < before {
            self.put_in_order();
        }
    }

    /// Gives back what charts left behind, where that is much.
    pub(super) fn tidy(&mut self) {
        if self.store.is_untidy() {
            self.put_in_order();
        }
    }

    fn put_in_order(&mut self) {
        let old = std::mem::take(&mut self.store);
        for defined in &mut self.all {
            defined.dims.move_to(&old, &mut self.store);
        }
    }
}

/// A chart as the agent knows it.
pub(super) struct Defined {
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
    /// A chart that the agent does not know yet.
    fn new(store: &mut Store, id: &str, recorded: &Recorded<'_>, tick: u64) -> Self {
        let chart = recorded.chart_ref().clone();
        Self {
            dims: Dims::new(store, id, chart.dims(), tick),
            chart,
            instance: Arc::clone(recorded.instance()),
            update_every: 0,
            last_begin: None,
            last_seen: 0,
        }
    }

    /// The same anew, of what is recorded.
    pub(super) fn begin_anew(&mut self, store: &mut Store, recorded: &Recorded<'_>, tick: u64) {
        let id = self.id(store).to_owned();
        self.dims.leave(store);
        *self = Self::new(store, &id, recorded, tick);
    }

    /// Its identifier.
    pub(super) fn id<'a>(&self, store: &'a Store) -> &'a str {
        self.dims.chart_id(store)
    }

    /// Adds the dimensions that have a value for the first time this tick.
    pub(super) fn learn(&mut self, store: &mut Store, recorded: &Recorded<'_>, tick: u64) {
        for (name, value) in recorded.entries() {
            let dim = match name {
                Name::Listed(place) => self.chart.dims().get(place).copied(),
                Name::Named(_) => self.chart.dynamic(),
            };
            if let (Some(_), Some(dim)) = (value, dim) {
                self.dims.learn(store, name, dim, tick);
            }
        }
    }

    /// The values of this tick; false, and nothing, if one of them has a name that is not known yet.
    pub(super) fn values(
        &mut self,
        store: &mut Store,
        out: &mut Vec<u8>,
        recorded: &Recorded<'_>,
        tick: u64,
        now: Instant,
    ) -> bool {
        let start = out.len();
        let mut line = self.dims.line(store);
        out.extend_from_slice(line.begin());
        if let Some(last) = self.last_begin {
            let elapsed_us = now.saturating_duration_since(last).as_micros().max(1);
            out.push(b' ');
            put_integer(out, i64::try_from(elapsed_us).unwrap_or(i64::MAX));
        }
        out.push(b'\n');
        for (name, value) in recorded.entries() {
            let Some(value) = value else { continue };
            let Some(at) = line.place_of(name) else {
                if name.is_of(&self.chart) {
                    line.begin_again(tick);
                    out.truncate(start);
                    return false;
                }
                let context = recorded.chart().context;
                log::debug!("chart {context} has no dimension {name:?}");
                continue;
            };
            let Some((begin, precision)) = line.set(at, tick) else {
                continue;
            };
            if let Some(steps) = steps(value * f64::from(precision)) {
                out.extend_from_slice(begin);
                put_integer(out, steps);
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
    pub(super) fn dim_obsolete_at(&self, store: &Store, update_every: u32) -> u64 {
        let after = self.dim_obsolete_after(update_every);
        let oldest = self.dims.oldest(store);
        oldest.map_or(u64::MAX, |oldest| oldest.saturating_add(after))
    }

    /// Places of its dimensions that are obsolete at `tick`, as a flag for each; `None` if there are none.
    pub(super) fn gone(&self, store: &Store, update_every: u32, tick: u64) -> Option<Vec<bool>> {
        let after = self.dim_obsolete_after(update_every);
        let gone = self.dims.gone(store, tick, after);
        let named = self.dims.named();
        named
            .clone()
            .any(&gone)
            .then(|| (0..named.end).map(gone).collect())
    }

    fn dim_obsolete_after(&self, update_every: u32) -> u64 {
        OBSOLETE_DIM_AFTER_TICKS.max(2 * self.ticks(update_every))
    }

    /// Ticks of the job in its own interval.
    fn ticks(&self, update_every: u32) -> u64 {
        u64::from((self.update_every / update_every.max(1)).max(1))
    }
}

/// `value` as a whole number, halves away from zero. `None` beyond what a double tells apart: Netdata would store
/// nonsense.
fn steps(value: f64) -> Option<i64> {
    /// To it and back, nothing is lost.
    const EXACT: f64 = 9e15;
    let whole = value as i64;
    // Most values are whole, and rounding is a call into the C library.
    if value.abs() < EXACT && whole as f64 == value {
        return Some(whole);
    }
    let rounded = value.round();
    (rounded.abs() < 9e18).then_some(rounded as i64)
}
