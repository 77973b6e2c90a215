//! Frames to protocol text: definitions when something new appears, values on every tick, obsoletion when
//! something is gone. Owns all quoting, so nothing a process says about itself becomes a command.

mod defined;
mod definition;
mod dims;
mod words;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use crate::frame::{Frame, Recorded};
use crate::module::Settings;
use defined::{Charts, OBSOLETE_AFTER_TICKS};
use definition::Definition;
use words::MAX_ID_BYTES;

/// Turns the frames of one job into protocol text.
pub struct Writer {
    plugin: &'static str,
    module: String,
    job: String,
    heatmaps: bool,
    settings: Settings,
    host_told: bool,
    charts: Charts,
    tick: u64,
    /// The first tick at which something may be obsolete, for a job with that interval.
    look: (u64, u32),
    out: Vec<u8>,
    /// The longest text of late.
    longest: usize,
    id: String,
}

/// Ticks after which memory that none of them used is given back: definitions are many times as long as values.
const GIVE_BACK_AFTER_TICKS: u64 = 16;

impl Writer {
    /// For the job `job` of `module`. Without `heatmaps` (agents before 2.x) those are drawn stacked.
    #[must_use]
    pub fn new(plugin: &'static str, module: &str, job: &str, heatmaps: bool) -> Self {
        Self {
            plugin,
            module: module.to_owned(),
            job: job.to_owned(),
            heatmaps,
            settings: Settings::default(),
            host_told: false,
            charts: Charts::default(),
            tick: 0,
            look: (0, 0),
            out: Vec::new(),
            longest: 0,
            id: String::new(),
        }
    }

    /// The same, with what the operator wants of the job.
    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Charts and dimensions defined now.
    #[must_use]
    pub fn defined(&self) -> (usize, usize) {
        self.charts.count()
    }

    /// The text of one tick, taken at `now` by a job that ticks every `update_every` seconds.
    pub fn write(&mut self, frame: &Frame, update_every: u32, now: Instant) -> &[u8] {
        self.longest = self.longest.max(self.out.len());
        self.out.clear();
        self.tick += 1;
        if self.tick.is_multiple_of(GIVE_BACK_AFTER_TICKS) {
            self.out.shrink_to(self.longest);
            self.longest = 0;
        }
        for (place, recorded) in frame.charts().enumerate() {
            let every = recorded.every().max(update_every);
            self.write_chart(place, &recorded, every, now);
        }
        self.obsolete_vanished(update_every);
        self.charts.tidy();
        self.address();
        &self.out
    }

    /// Puts what was written under the job's virtual node, if it has one.
    fn address(&mut self) {
        let Some(host) = self.settings.host.as_ref().filter(|_| !self.out.is_empty()) else {
            return;
        };
        let mut head = Vec::new();
        if !std::mem::replace(&mut self.host_told, true) {
            definition::host(&mut head, host);
        }
        put(&mut head, format_args!("HOST {}\n", host.guid));
        self.out.splice(..0, head);
        // Other jobs write next.
        put(&mut self.out, format_args!("HOST ''\n"));
    }

    /// The text that obsoletes every chart: the job ends.
    pub fn obsolete_all(&mut self) -> &[u8] {
        self.out.clear();
        for (defined, store) in std::mem::take(&mut self.charts).iter() {
            let line = Definition {
                plugin: self.plugin,
                module: &self.module,
                heatmaps: self.heatmaps,
                settings: &self.settings,
            };
            line.chart(&mut self.out, store, defined, "obsolete");
        }
        self.address();
        &self.out
    }

    /// The same, or nothing if `keep`.
    pub(crate) fn obsolete_all_unless(&mut self, keep: bool) -> &[u8] {
        if keep { &[] } else { self.obsolete_all() }
    }

    /// The chart of the frame's `place`.
    fn write_chart(
        &mut self,
        place: usize,
        recorded: &Recorded<'_>,
        update_every: u32,
        now: Instant,
    ) {
        let known = recorded.values().any(|(_, value)| value.is_some());
        if !self.charts.is_at(place, recorded) && !self.find(place, recorded, known) {
            return;
        }
        let Some((defined, store)) = self.charts.at(place) else {
            return;
        };
        if std::mem::replace(&mut defined.last_seen, self.tick) == self.tick {
            // Of two things with one name, which differed in characters that an id cannot have.
            log::debug!("a second {} of one tick is not sent", defined.id(store));
            return;
        }
        if !known {
            return;
        }
        let instance = recorded.instance();
        let relabelled =
            !Arc::ptr_eq(&defined.instance, instance) && *defined.instance != **instance;
        if !Arc::ptr_eq(&defined.instance, instance) {
            // The same, but found faster the next time.
            defined.instance = Arc::clone(instance);
        }
        let redefine = defined.update_every != update_every || relabelled;
        defined.update_every = update_every;
        if !redefine && defined.values(store, &mut self.out, recorded, self.tick, now) {
            return;
        }
        defined.learn(store, recorded, self.tick);
        let definition = Definition {
            plugin: self.plugin,
            module: &self.module,
            heatmaps: self.heatmaps,
            settings: &self.settings,
        };
        definition.whole(&mut self.out, store, defined, &self.job);
        defined.values(store, &mut self.out, recorded, self.tick, now);
    }

    /// Finds the chart of the frame's `place` by its id, or begins it if something is `known` of it; says whether it is
    /// there.
    fn find(&mut self, place: usize, recorded: &Recorded<'_>, known: bool) -> bool {
        let (chart, instance) = (recorded.chart(), recorded.instance());
        self.id.clear();
        self.id.extend([
            instance.chart_type.as_str(),
            ".",
            &instance.prefix,
            chart.id,
            &instance.suffix,
        ]);
        if self.charts.put_at(place, &self.id) {
            if known {
                self.follow(place, recorded);
            }
            return true;
        }
        if !is_chart_id(&self.id) {
            log::debug!("a {} is not sent: Netdata takes no such id", chart.context);
            return false;
        }
        if !known {
            return false;
        }
        self.charts.add(&self.id, recorded, self.tick);
        self.charts.put_at(place, &self.id)
    }

    /// Has the chart at `place`, which was found by its id, be what is recorded now.
    fn follow(&mut self, place: usize, recorded: &Recorded<'_>) {
        let Some((defined, store)) = self.charts.at(place) else {
            return;
        };
        if defined.chart.is_same(recorded.chart_ref()) || defined.last_seen == self.tick {
            return;
        }
        let (before, chart) = (defined.chart.view(), recorded.chart());
        if (before.dims, before.dynamic) != (chart.dims, chart.dynamic) {
            let definition = Definition {
                plugin: self.plugin,
                module: &self.module,
                heatmaps: self.heatmaps,
                settings: &self.settings,
            };
            // Those that it still has are revived by the definition that follows.
            definition.chart(&mut self.out, store, defined, "");
            let (out, before) = (&mut self.out, &defined.chart);
            defined
                .dims
                .define(store, out, before, "obsolete", |_| true);
            defined.begin_anew(store, recorded, self.tick);
            return;
        }
        if before != *chart {
            // Defined anew, as it is now.
            defined.update_every = 0;
        }
        defined.chart = recorded.chart_ref().clone();
    }

    /// Obsoletes what has not been there for long. Looks only when something may be so: all that is charted lies in
    /// more memory than a processor keeps at hand.
    fn obsolete_vanished(&mut self, update_every: u32) {
        let (tick, out) = (self.tick, &mut self.out);
        if tick < self.look.0 && update_every == self.look.1 {
            return;
        }
        let definition = Definition {
            plugin: self.plugin,
            module: &self.module,
            heatmaps: self.heatmaps,
            settings: &self.settings,
        };
        // What is begun from now on has at least as long.
        let mut next = u64::MAX;
        self.charts.retain(|defined, store| {
            let obsolete_at = defined.obsolete_at(update_every);
            if tick >= obsolete_at {
                definition.chart(out, store, defined, "obsolete");
                return false;
            }
            if let Some(gone) = defined.gone(store, update_every, tick) {
                definition.chart(out, store, defined, "");
                let is_gone = |place: usize| gone.get(place) == Some(&true);
                let chart = &defined.chart;
                defined.dims.define(store, out, chart, "obsolete", is_gone);
                defined.dims.forget(store, &gone);
            }
            next = next
                .min(obsolete_at)
                .min(defined.dim_obsolete_at(store, update_every));
            true
        });
        self.look = (next.min(tick + OBSOLETE_AFTER_TICKS), update_every);
    }
}

/// Whether the agent takes `id` as it is: written without quotes, and no longer than it keeps.
fn is_chart_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let whole = !id.starts_with('.') && !id.ends_with('.');
    whole && id.len() <= MAX_ID_BYTES && id.bytes().all(plain)
}

/// Appends a number. A tick writes thousands, for which formatted text takes several times as long.
fn put_integer(out: &mut Vec<u8>, number: i64) {
    /// Digits of the longest number.
    const LONGEST: usize = 19;
    let (mut digits, mut at) = ([0; LONGEST], LONGEST);
    let mut left = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends formatted text; writing to a vector cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;
