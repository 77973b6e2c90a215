//! What a tick has to know of every chart and dimension to send a value. A job's charts are many and a tick comes once
//! a second, when nothing of them is left in the processor's caches: all of it lies in two pieces of memory, one
//! chart after another, in the order in which they are written.

use std::collections::BTreeMap;
use std::ops::Range;

use super::put;
use super::words::unique_id;
use crate::chart::{Algorithm, ChartRef, Dim};
use crate::frame::Name;

/// What stands before a chart's identifier where its values begin.
const BEGIN: &str = "BEGIN ";
/// What stands before an identifier where its value is set, and after.
const SET: (&str, &str) = ("SET '", "' = ");
/// Slots that nobody uses any more from which on the memory is put in order, where they are the greater part.
const MANY_UNUSED: usize = 256;

/// The text before the values of all charts of a job, and where each ends.
#[derive(Default)]
pub(super) struct Store {
    text: String,
    slots: Vec<Slot>,
    /// Slots left behind by charts that have moved.
    unused: usize,
}

/// A dimension, as a tick sees it.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// The tick that had a value last.
    last_value: u64,
    /// Where its text ends, from the start of its chart's.
    end: u32,
    /// Steps in one unit; 0 while the agent does not know the dimension.
    precision: u32,
}

impl Store {
    /// Charts' dimensions and what they left behind.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it is worth to be put in order.
    pub(super) fn is_untidy(&self) -> bool {
        self.unused > MANY_UNUSED && self.unused > self.slots.len() / 2
    }
}

/// The dimensions of a chart: first those that it lists, in that order, known to the agent or not; then those that were
/// named while running.
pub(super) struct Dims {
    text: Part,
    slots: Part,
    /// Length of the chart's own text.
    begin: u32,
    /// How many the chart lists.
    listed: u32,
    raw: Option<Box<RawNames>>,
}

/// Names of dimensions that are recorded under another than their identifier, by place.
#[derive(Default)]
struct RawNames(BTreeMap<usize, Box<str>>);

/// A range, in half the memory: no job has as much text.
#[derive(Clone, Copy)]
struct Part {
    start: u32,
    end: u32,
}

impl Part {
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn len(self) -> usize {
        self.range().len()
    }
}

/// The same with their place in memory, for one tick.
pub(super) struct Line<'a> {
    text: &'a [u8],
    slots: &'a mut [Slot],
    begin: usize,
    next: usize,
    dims: &'a Dims,
}

impl Dims {
    /// Of a new chart with this identifier. The agent gets to know those that are not optional.
    pub(super) fn new(store: &mut Store, id: &str, listed: &[Dim], tick: u64) -> Self {
        let (text, slots) = (store.text.len(), store.slots.len());
        store.text.extend([BEGIN, id]);
        let begin = store.text.len() - text;
        for dim in listed {
            store.text.extend([SET.0, dim.id, SET.1]);
            store.slots.push(Slot {
                last_value: tick.saturating_sub(1),
                end: (store.text.len() - text) as u32,
                precision: if dim.optional { 0 } else { dim.precision },
            });
        }
        Self {
            text: Part::new(text, store.text.len()),
            slots: Part::new(slots, store.slots.len()),
            begin: begin as u32,
            listed: listed.len() as u32,
            raw: None,
        }
    }

    /// The chart's identifier.
    pub(super) fn chart_id<'a>(&self, store: &'a Store) -> &'a str {
        &store.text[self.text.range()][BEGIN.len()..self.begin as usize]
    }

    /// How many the agent knows.
    pub(super) fn len(&self, store: &Store) -> usize {
        let slots = store.slots[self.slots.range()].iter();
        slots.filter(|slot| slot.precision > 0).count()
    }

    /// Takes one that has a value for the first time, and had none at `tick`. Its identifier is clean, and unique within
    /// the chart.
    pub(super) fn learn(&mut self, store: &mut Store, name: Name<'_>, dim: Dim, tick: u64) {
        let last_value = tick.saturating_sub(1);
        let name = match name {
            Name::Listed(place) => {
                let slot = &mut store.slots[self.slots.range()][place];
                if slot.precision == 0 {
                    (slot.precision, slot.last_value) = (dim.precision, last_value);
                }
                return;
            }
            Name::Named(name) if self.place_of(store, name).is_none() => name,
            Name::Named(_) => return,
        };
        let id = unique_id(name, |id| {
            (0..self.slots.len()).any(|place| self.id(store, place) == id)
        });
        if id != name {
            let raw = self.raw.get_or_insert_default();
            raw.0.insert(self.slots.len(), name.into());
        }
        self.move_to_the_end(store);
        store.text.extend([SET.0, &id, SET.1]);
        self.text.end = store.text.len() as u32;
        store.slots.push(Slot {
            last_value,
            end: self.text.len() as u32,
            precision: dim.precision,
        });
        self.slots.end = store.slots.len() as u32;
    }

    /// Makes room for more behind what it has.
    fn move_to_the_end(&mut self, store: &mut Store) {
        let ends = (self.text.end as usize, self.slots.end as usize);
        if ends == (store.text.len(), store.slots.len()) {
            return;
        }
        let (text, slots) = (store.text.len(), store.slots.len());
        store.text.extend_from_within(self.text.range());
        store.slots.extend_from_within(self.slots.range());
        self.leave(store);
        self.text = Part::new(text, store.text.len());
        self.slots = Part::new(slots, store.slots.len());
    }

    /// Leaves what it has of the store to nobody.
    pub(super) fn leave(&self, store: &mut Store) {
        store.unused += self.slots.len().max(1);
    }

    /// Moves to another store.
    pub(super) fn move_to(&mut self, from: &Store, to: &mut Store) {
        let (text, slots) = (to.text.len(), to.slots.len());
        to.text.push_str(&from.text[self.text.range()]);
        to.slots.extend_from_slice(&from.slots[self.slots.range()]);
        self.text = Part::new(text, to.text.len());
        self.slots = Part::new(slots, to.slots.len());
    }

    /// What a tick writes of them.
    pub(super) fn line<'a>(&'a self, store: &'a mut Store) -> Line<'a> {
        Line {
            text: &store.text.as_bytes()[self.text.range()],
            slots: &mut store.slots[self.slots.range()],
            begin: self.begin as usize,
            next: self.listed as usize,
            dims: self,
        }
    }

    /// Appends the definitions of those of which `which` is true.
    pub(super) fn define(
        &self,
        store: &Store,
        out: &mut Vec<u8>,
        chart: &ChartRef,
        options: &str,
        which: impl Fn(usize) -> bool,
    ) {
        let (dims, dynamic) = (chart.dims(), chart.dynamic());
        for (place, slot) in store.slots[self.slots.range()].iter().enumerate() {
            let Some(dim) = dims.get(place).copied().or(dynamic) else {
                continue;
            };
            if slot.precision == 0 || !which(place) {
                continue;
            }
            let algorithm = match dim.algorithm {
                Algorithm::Absolute => "absolute",
                Algorithm::Incremental => "incremental",
            };
            let id = self.id(store, place);
            let (multiplier, divisor) = (dim.multiplier, slot.precision);
            put(
                out,
                format_args!(
                    "DIMENSION '{id}' '{id}' {algorithm} {multiplier} {divisor} '{options}'\n"
                ),
            );
        }
    }

    /// Whether the one at each place was named while running and had its last value `after` ticks before `tick`.
    pub(super) fn gone<'a>(
        &self,
        store: &'a Store,
        tick: u64,
        after: u64,
    ) -> impl Fn(usize) -> bool + use<'a> {
        let (listed, slots) = (self.listed as usize, &store.slots[self.slots.range()]);
        move |place| {
            let gone = |slot: &Slot| tick - slot.last_value >= after;
            place >= listed && slots.get(place).is_some_and(gone)
        }
    }

    /// Places of those that were named while running.
    pub(super) fn named(&self) -> Range<usize> {
        self.listed as usize..self.slots.len()
    }

    /// The tick at which the one of them whose last value is the oldest had it.
    pub(super) fn oldest(&self, store: &Store) -> Option<u64> {
        let named = &store.slots[self.slots.range()][self.listed as usize..];
        named.iter().map(|slot| slot.last_value).min()
    }

    /// Forgets those of them of which `which` is true.
    pub(super) fn forget(&mut self, store: &mut Store, which: &[bool]) {
        let kept: Vec<(String, Option<Box<str>>, Slot)> = self
            .named()
            .filter(|place| which.get(*place) != Some(&true))
            .map(|place| {
                let raw = self.raw_name(place).map(Box::from);
                let slot = store.slots[self.slots.range()][place];
                (self.id(store, place).to_owned(), raw, slot)
            })
            .collect();
        store.unused += self.named().len();
        self.raw = None;
        self.text.end = self.text.start + self.end_of(store, self.listed as usize) as u32;
        self.slots.end = self.slots.start + self.listed;
        self.move_to_the_end(store);
        for (id, raw, slot) in kept {
            if let Some(raw) = raw {
                let names = self.raw.get_or_insert_default();
                names.0.insert(self.slots.len(), raw);
            }
            store.text.extend([SET.0, &id, SET.1]);
            self.text.end = store.text.len() as u32;
            let end = self.text.len() as u32;
            store.slots.push(Slot { end, ..slot });
            self.slots.end = store.slots.len() as u32;
        }
    }

    /// Where the text of the first `count` ends.
    fn end_of(&self, store: &Store, count: usize) -> usize {
        match count.checked_sub(1) {
            Some(last) => store.slots[self.slots.range()][last].end as usize,
            None => self.begin as usize,
        }
    }

    fn id<'a>(&self, store: &'a Store, place: usize) -> &'a str {
        let (start, end) = (self.end_of(store, place), self.end_of(store, place + 1));
        &store.text[self.text.range()][start + SET.0.len()..end - SET.1.len()]
    }

    fn place_of(&self, store: &Store, name: &str) -> Option<usize> {
        self.named().find(|place| match self.raw_name(*place) {
            Some(raw) => raw == name,
            None => self.id(store, *place) == name,
        })
    }

    fn raw_name(&self, place: usize) -> Option<&str> {
        let raw = self.raw.as_ref()?;
        raw.0.get(&place).map(|name| &**name)
    }
}

impl Line<'_> {
    /// What the values begin with.
    pub(super) fn begin(&self) -> &[u8] {
        &self.text[..self.begin]
    }

    /// Where the dimension of that name is. Those named while running mostly come in the order in which they were learnt.
    pub(super) fn place_of(&mut self, name: Name<'_>) -> Option<usize> {
        let place = match name {
            Name::Listed(place) => place,
            Name::Named(name) => {
                let found = match self.next < self.slots.len() && self.is(self.next, name) {
                    true => Some(self.next),
                    false => (self.dims.named()).find(|place| self.is(*place, name)),
                };
                self.next = found? + 1;
                found?
            }
        };
        (self.slots.get(place)?.precision > 0).then_some(place)
    }

    /// How the value of the one at `place` begins and how many steps make one of its unit, unless it has had its
    /// value of this tick.
    pub(super) fn set(&mut self, place: usize, tick: u64) -> Option<(&[u8], u32)> {
        let start = self.start_of(place);
        let slot = &mut self.slots[place];
        if slot.last_value == tick {
            return None;
        }
        slot.last_value = tick;
        Some((&self.text[start..slot.end as usize], slot.precision))
    }

    /// Forgets that any had its value of this tick.
    pub(super) fn begin_again(&mut self, tick: u64) {
        for slot in &mut *self.slots {
            slot.last_value = slot.last_value.min(tick.saturating_sub(1));
        }
    }

    fn start_of(&self, place: usize) -> usize {
        let before = place.checked_sub(1);
        before.map_or(self.begin, |before| self.slots[before].end as usize)
    }

    fn is(&self, place: usize, name: &str) -> bool {
        let (start, end) = (self.start_of(place), self.slots[place].end as usize);
        match self.dims.raw_name(place) {
            Some(raw) => raw == name,
            None => &self.text[start + SET.0.len()..end - SET.1.len()] == name.as_bytes(),
        }
    }
}
