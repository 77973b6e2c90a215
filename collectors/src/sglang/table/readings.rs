//! A server's values of the table: of the newest page, and what counters gained since the one before.

use std::time::Instant;

use super::plan::{Choice, Line, PLAN, Place, Plan, Target};
use super::spec::Take;
use crate::histogram::Counter;
use crate::rate::Rate;
use crate::sglang::ranks::{Rank, Ranked};
use crate::sglang::snapshot::Snapshot;

/// Values of a label that become lines of a chart; further ones are left out.
const MAX_KEYS: usize = 32;
/// Longest such value: it becomes a dimension's name.
const MAX_KEY_BYTES: usize = 80;

/// The slots of one server.
#[derive(Clone, Debug)]
pub struct Readings {
    slots: Vec<Vec<Entry>>,
}

/// The samples of a slot that share the value of a label.
#[derive(Clone, Debug, Default)]
struct Entry {
    key: String,
    now: Ranked,
    past: Past,
    /// Gain and seconds since the page before.
    gain: Option<Gain>,
    ranks: Vec<RankPast>,
}

/// What a counter gained, and in how many seconds.
type Gain = (f64, f64);

/// The same of one dp rank.
#[derive(Clone, Copy, Debug)]
struct RankPast {
    rank: u32,
    past: Past,
    gain: Option<Gain>,
}

/// A counter's past. Its rate is unknown on the tick on which the series that it is the sum of change.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    rate: Rate,
    series: u64,
}

impl Past {
    fn gain(&mut self, counter: Option<Counter>, now: Instant) -> Option<Gain> {
        let series = counter.map_or(0, |counter| counter.series);
        if self.series != series {
            self.rate.reset();
            self.series = series;
        }
        self.rate.gain(counter.map(|counter| counter.total), now)
    }
}

/// For whom a value is taken.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// One dp rank, or all of them.
    pub rank: Option<u32>,
    /// Whether gauges other than 0 are to be believed.
    pub fresh: bool,
    /// The page: it tells of which version the server is, so that an absent counter may be 0.
    pub page: &'a Snapshot,
}

impl Default for Readings {
    fn default() -> Self {
        Self::of(&PLAN)
    }
}

impl Readings {
    /// For what `plan` asks for.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self {
            slots: vec![vec![]; plan.slots],
        }
    }

    /// Without any slot.
    #[must_use]
    pub fn empty() -> Self {
        Self { slots: vec![] }
    }

    /// Makes a slot more.
    pub fn grow(&mut self) -> usize {
        self.slots.push(vec![]);
        self.slots.len() - 1
    }

    /// Forgets the last page's samples.
    pub fn clear(&mut self) {
        let entries = self.slots.iter_mut().flatten();
        entries.for_each(|entry| entry.now.clear());
    }

    /// Adds a sample to a slot. `key` is the value of the label that tells the metric's samples apart.
    pub fn add(&mut self, target: Target, key: &str, sample: Counted) {
        let key = match target.choice {
            Choice::All => "",
            Choice::Is(value) if value == key => "",
            Choice::Is(_) => return,
            Choice::Each if key.len() > MAX_KEY_BYTES => return,
            Choice::Each => key,
        };
        let entries = &mut self.slots[target.slot];
        let at = match entries.iter().position(|entry| entry.key == key) {
            Some(at) => at,
            None if entries.len() >= MAX_KEYS => return,
            None => {
                entries.push(Entry {
                    key: key.to_owned(),
                    ..Entry::default()
                });
                entries.len() - 1
            }
        };
        let Counted {
            rank,
            one_priority,
            value,
            series,
        } = sample;
        entries[at].now.add(rank, one_priority, value, series);
    }

    /// All samples of a page that arrived at `now` are added: what have counters gained?
    pub fn close(&mut self, now: Instant) {
        for entry in self.slots.iter_mut().flatten() {
            entry.gain = entry.past.gain(entry.now.counter(), now);
            if entry.now.ranks().count() < 2 && entry.ranks.is_empty() {
                continue;
            }
            for (rank, _) in entry.now.ranks() {
                if !entry.ranks.iter().any(|known| known.rank == rank) {
                    entry.ranks.push(RankPast {
                        rank,
                        past: Past::default(),
                        gain: None,
                    });
                }
            }
            for known in &mut entry.ranks {
                let counter = entry.now.ranks().find(|(rank, _)| *rank == known.rank);
                known.gain = known.past.gain(counter.map(|(_, counter)| counter), now);
            }
        }
    }

    /// There was no page: the next one only starts anew.
    pub fn miss(&mut self) {
        for entry in self.slots.iter_mut().flatten() {
            entry.now.clear();
            (entry.past, entry.gain) = (Past::default(), None);
            entry.ranks.clear();
        }
    }

    /// The value of a line.
    #[must_use]
    pub fn value(&self, line: &Line, asked: &Asked<'_>) -> Option<f64> {
        let there = |place: &&Place| self.slots[place.slot].iter().any(|it| it.now.is_some());
        let is_counter = matches!(line.value.take, Take::Rate | Take::TypicalRate);
        let Some(place) = line.places.iter().find(there) else {
            // Once it was there, its absence is a gap.
            let seen = line.places.iter().any(|it| !self.slots[it.slot].is_empty());
            return (is_counter && !seen && asked.page.is_since(line.value.since)).then_some(0.0);
        };
        let entry = self.slots[place.slot].iter().find(|it| it.key.is_empty())?;
        let value = self.taken(entry, *place, line.value.take, asked)?;
        Some(value * line.value.times)
    }

    /// The values of a line that is made for each value of a label.
    pub fn values<'a>(
        &'a self,
        line: &'a Line,
        asked: &'a Asked<'a>,
    ) -> impl Iterator<Item = (&'a str, Option<f64>)> {
        let there = |place: &&Place| self.slots[place.slot].iter().any(|it| it.now.is_some());
        let place = line.places.iter().find(there).or(line.places.first());
        place.into_iter().flat_map(move |place| {
            self.slots[place.slot].iter().map(move |entry| {
                let value = self.taken(entry, *place, line.value.take, asked);
                (
                    entry.key.as_str(),
                    value.map(|value| value * line.value.times),
                )
            })
        })
    }

    fn taken(&self, entry: &Entry, place: Place, take: Take, asked: &Asked<'_>) -> Option<f64> {
        let rank = asked.rank;
        let ranks = if rank.is_none() {
            entry.now.ranks().count().max(1) as f64
        } else {
            1.0
        };
        let believed = |value: &f64| asked.fresh || *value == 0.0;
        match take {
            Take::Gauge => entry.now.of(rank).filter(believed),
            Take::Typical => entry.now.of(rank).filter(believed).map(|sum| sum / ranks),
            Take::Highest if rank.is_none() => entry.now.max().filter(believed),
            Take::Highest => entry.now.of(rank).filter(believed),
            Take::Fact => entry.now.of(rank),
            Take::Rate => per_second(entry.gain(rank)?),
            Take::TypicalRate => per_second(entry.gain(rank)?).map(|sum| sum / ranks),
            Take::MeanOrGauge if place.count.is_none() => {
                entry.now.of(rank).filter(believed).map(|sum| sum / ranks)
            }
            Take::Mean | Take::MeanOrGauge => {
                let mut counts = self.slots[place.count?].iter();
                let counts = counts.find(|it| it.key == entry.key)?;
                let ((sum, _), (count, _)) = (entry.gain(rank)?, counts.gain(rank)?);
                (count > 0.0).then(|| sum / count)
            }
        }
    }
}

fn per_second((gain, seconds): Gain) -> Option<f64> {
    (seconds > 0.0).then(|| gain / seconds)
}

impl Entry {
    fn gain(&self, rank: Option<u32>) -> Option<Gain> {
        match rank {
            None => self.gain,
            Some(rank) => self.ranks.iter().find(|it| it.rank == rank)?.gain,
        }
    }
}

/// A sample with where it comes from.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Its rank.
    pub rank: Rank,
    /// Whether it counts one of several priorities.
    pub one_priority: bool,
    /// What it says.
    pub value: f64,
    /// Which series it is.
    pub series: u64,
}
