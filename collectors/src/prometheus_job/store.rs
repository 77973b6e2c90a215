//! What is known of a page's series: a place for each one that is charted, and nothing more than a number for
//! the others. In steady state a sample costs one look-up: no name is resolved, no selector asked, nothing
//! allocated. Everything is bounded, whatever a page holds.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::time::{Duration, Instant};

use netdata_plugin::frame::Frame;

use super::families::{Families, Part};
use super::group::Group;
use super::naming;
use super::place::{Catalogue, Place, Style};
use crate::prometheus::{Line, Sample};

/// Series remembered, charted or not. Beyond, new ones are only counted.
const MAX_REMEMBERED: usize = 114_688;
/// Lines of one chart; further ones go into another beside it.
const MAX_LINES: usize = 64;
/// Scrapes without a series after which it is gone.
const GONE_AFTER: u16 = 10;
/// Scrapes between two passes over what may be forgotten.
const TIDY_EVERY: u32 = 10;
/// A sample that says it is older than this is stale: Prometheus looks back as far.
const STALE_AFTER_MS: i64 = 5 * 60 * 1000;

/// Says whether a series is wanted at all.
pub type Wanted = Box<dyn Fn(&Sample<'_>) -> bool + Send>;

/// The series of one endpoint.
pub struct Store {
    style: Style,
    wanted: Wanted,
    max_series: usize,
    window: Duration,
    random: RandomState,
    scrape: u32,
    series: HashMap<u64, Seen, BuildHasherDefault<Identity>>,
    groups: Vec<Option<Group>>,
    by_key: HashMap<u64, u32>,
    ids: HashSet<u64>,
    charted: usize,
    dropped: usize,
    families: Families,
    catalogue: Catalogue,
    told_dropped: bool,
    /// Groups that did not fit.
    refused: HashSet<u64>,
    /// Whether room was made since the last page, so that what did not fit may now.
    room: bool,
}

/// What is remembered of a series.
#[derive(Clone, Copy, Debug)]
struct Seen {
    group: u32,
    member: u16,
    /// The scrape that had it last, its lower half.
    scrape: u16,
}

/// Not wanted, or nothing that is charted.
const IGNORED: u32 = u32::MAX;
/// Wanted, but above the cap.
const DROPPED: u32 = u32::MAX - 1;

impl Store {
    /// Nothing is known yet. At most `max_series` are charted; histograms are looked at over `window`.
    #[must_use]
    pub fn new(style: Style, wanted: Wanted, max_series: usize, window: Duration) -> Self {
        Self {
            style,
            wanted,
            max_series: max_series.min(usize::from(u16::MAX) - MAX_LINES),
            window,
            random: RandomState::new(),
            scrape: 0,
            series: HashMap::default(),
            groups: vec![],
            by_key: HashMap::new(),
            ids: HashSet::new(),
            charted: 0,
            dropped: 0,
            families: Families::default(),
            catalogue: Catalogue::default(),
            told_dropped: false,
            refused: HashSet::new(),
            room: false,
        }
    }

    /// A page begins.
    pub fn begin(&mut self) {
        self.scrape = self.scrape.wrapping_add(1);
        self.dropped = 0;
    }

    /// Takes a line of the page. `now_ms` is the time since 1970.
    pub fn take(&mut self, line: Line<'_>, now_ms: i64) {
        match line {
            Line::Sample(sample) => {
                let stale = |taken: i64| now_ms.saturating_sub(taken) > STALE_AFTER_MS;
                if !sample.timestamp_ms.is_some_and(stale) {
                    self.take_sample(&sample);
                }
            }
            Line::Type { name, kind } => self.families.take_type(name, kind, self.scrape),
            Line::Help { name, text } => self.families.take_help(name, text, self.scrape),
        }
    }

    /// The page is complete, at `now`.
    pub fn finish(&mut self, now: Instant) {
        let scrape = self.scrape;
        for group in self.groups.iter_mut().flatten() {
            group.update(scrape, now);
        }
        self.room = scrape.is_multiple_of(TIDY_EVERY) && self.tidy();
        self.tell_dropped();
    }

    /// There was no page, or only a part of one.
    pub fn miss(&mut self, now: Instant) {
        for group in self.groups.iter_mut().flatten() {
            group.miss(now);
        }
    }

    /// Records what the last page had.
    pub fn record(&self, frame: &mut Frame) {
        let groups = self.groups.iter().flatten();
        groups
            .filter(|group| group.seen == self.scrape)
            .for_each(|group| group.record(frame));
    }

    /// Series that are charted.
    #[must_use]
    pub fn charted(&self) -> usize {
        self.charted
    }

    /// Series of the last page that are wanted and not charted, because there are too many.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    fn take_sample(&mut self, sample: &Sample<'_>) {
        let key = self.key(sample);
        let scrape = self.scrape;
        if let Some(seen) = self.series.get_mut(&key) {
            seen.scrape = scrape as u16;
            match seen.group {
                IGNORED => return,
                DROPPED if !self.room => {
                    self.dropped += 1;
                    return;
                }
                DROPPED => {}
                group => {
                    let group = self.groups.get_mut(group as usize).and_then(Option::as_mut);
                    if let Some(group) = group
                        && let Some(member) = group.members.get_mut(usize::from(seen.member))
                        && member.key == key
                    {
                        (member.value, member.seen, group.seen) = (sample.value, scrape, scrape);
                        return;
                    }
                }
            }
        } else if self.series.len() >= MAX_REMEMBERED {
            self.dropped += 1;
            return;
        }
        let seen = self.admit(key, sample);
        self.dropped += usize::from(seen.group == DROPPED);
        self.series.insert(key, seen);
    }

    /// Decides on a series that is new.
    fn admit(&mut self, key: u64, sample: &Sample<'_>) -> Seen {
        let scrape = self.scrape;
        let not = |group| Seen {
            group,
            member: 0,
            scrape: scrape as u16,
        };
        if sample.name.len() > naming::MAX_NAME || !(self.wanted)(sample) {
            return not(IGNORED);
        }
        let place = self
            .catalogue
            .place(sample, &mut self.families, &self.style, scrape);
        let Some(place) = place else {
            return not(IGNORED);
        };
        let group_key = self.group_key(&place);
        let at = self.group(group_key);
        if self.charted >= self.max_series || self.refused.contains(&group_key) {
            if place.part != Part::Value {
                self.refuse(group_key, at);
            }
            return not(DROPPED);
        }
        let at = at.unwrap_or_else(|| self.open(group_key, &place));
        let Some(group) = &mut self.groups[at as usize] else {
            return not(IGNORED);
        };
        let member = group.add(key, place.part, place.new_line(), scrape);
        group.members[member].value = sample.value;
        group.seen = scrape;
        self.charted += 1;
        Seen {
            group: at,
            // The cap is below 2^16.
            member: member as u16,
            scrape: scrape as u16,
        }
    }

    /// Half a histogram would show wrong percentiles: a new one that does not fit goes whole.
    fn refuse(&mut self, key: u64, at: Option<u32>) {
        let born = at.and_then(|at| Some(self.groups[at as usize].as_ref()?.born));
        if born.is_some_and(|born| born != self.scrape) {
            return;
        }
        self.refused.insert(key);
        if let Some(at) = at {
            // Counted as charted so far; their next look-up finds the group gone.
            self.dropped += self.remove(at);
        }
    }

    /// The group with `key`, if there is one with room.
    fn group(&self, key: u64) -> Option<u32> {
        let at = *self.by_key.get(&key)?;
        let group = self.groups.get(at as usize)?.as_ref()?;
        (group.lines() < MAX_LINES).then_some(at)
    }

    fn group_key(&self, place: &Place) -> u64 {
        self.random.hash_one((&place.chart, &place.labels))
    }

    /// Makes a group for `place`, under ids that no other has.
    fn open(&mut self, key: u64, place: &Place) -> u32 {
        let mut suffix = naming::suffix(&place.labels, place.id_len(&self.style));
        let mut ids = self.ids(place, &suffix);
        if ids.iter().any(|id| self.ids.contains(id)) {
            // Names or labels that differ only in what ids cannot hold, or a chart that is full.
            let mut labels = place.labels.clone();
            labels.push((place.chart.clone(), place.line.clone()));
            suffix = naming::numbered(&labels);
            ids = self.ids(place, &suffix);
        }
        self.ids.extend(&ids);
        let instance = place.instance(&self.style, &suffix);
        let group = Group::new(
            (key, ids),
            place.charts.clone(),
            instance,
            (place.scale, self.window),
            self.scrape,
        );
        let free = self.groups.iter().position(Option::is_none);
        let at = free.unwrap_or(self.groups.len());
        if at < self.groups.len() {
            self.groups[at] = Some(group);
        } else {
            self.groups.push(Some(group));
        }
        // Never more than there are series.
        let at = at as u32;
        self.by_key.insert(key, at);
        at
    }

    /// The ids of the charts of `place`, as hashes.
    fn ids(&self, place: &Place, suffix: &str) -> Vec<u64> {
        let charts = place.charts.each();
        charts
            .map(|chart| self.random.hash_one((&chart.id, suffix)))
            .collect()
    }

    /// Removes a group; returns how many series it had.
    fn remove(&mut self, at: u32) -> usize {
        let Some(group) = self.groups[at as usize].take() else {
            return 0;
        };
        let series = group.series();
        self.charted -= series;
        for id in &group.ids {
            self.ids.remove(id);
        }
        if self.by_key.get(&group.key) == Some(&at) {
            self.by_key.remove(&group.key);
        }
        series
    }

    /// Forgets what pages no longer have; says whether there is room now that there was not.
    fn tidy(&mut self) -> bool {
        let before = self.charted;
        let scrape = self.scrape;
        let gone = |seen: u32| scrape.wrapping_sub(seen) >= u32::from(GONE_AFTER);
        for at in 0..self.groups.len() {
            let Some(group) = &mut self.groups[at] else {
                continue;
            };
            if gone(group.seen) {
                self.remove(at as u32);
            } else {
                self.charted -= group.expire(gone);
            }
        }
        let now = scrape as u16;
        self.series
            .retain(|_, seen| now.wrapping_sub(seen.scrape) < GONE_AFTER);
        self.families.forget(scrape);
        self.catalogue.forget();
        let room = self.charted < before;
        if room {
            self.refused.clear();
        }
        room
    }

    fn tell_dropped(&mut self) {
        let dropped = self.dropped;
        if dropped > 0 && !self.told_dropped {
            log::warn!(
                "{dropped} series are not charted: the page has more than the {} that \
                 max_time_series allows; raise it, or leave series out with exclude",
                self.max_series
            );
        }
        self.told_dropped = dropped > 0;
    }

    fn key(&self, sample: &Sample<'_>) -> u64 {
        // 0 is the key of a series that is gone.
        self.random
            .hash_one((sample.name, sample.raw_labels()))
            .max(1)
    }
}

/// Takes a key that is a hash already.
#[derive(Clone, Copy, Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests;
