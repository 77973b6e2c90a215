//! Frames to protocol text: definitions when something new appears, values on every tick, obsoletion when
//! something is gone. Owns all quoting, so nothing a process says about itself becomes a command.

mod definition;
mod words;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Instant;

use crate::chart::{Algorithm, ChartRef, Dim, Instance};
use crate::frame::{Frame, Recorded};
use crate::module::Settings;
use definition::Definition;
use words::{MAX_ID_BYTES, unique_id};

/// Ticks without being begun after which a chart is obsoleted.
const OBSOLETE_AFTER_TICKS: u64 = 10;
/// Ticks without a value after which a dimension named while running is obsoleted. Longer than a
/// chart's: processes come and go, and each return costs a definition.
const OBSOLETE_DIM_AFTER_TICKS: u64 = 300;

/// Turns the frames of one job into protocol text.
pub struct Writer {
    plugin: &'static str,
    module: String,
    job: String,
    heatmaps: bool,
    settings: Settings,
    host_told: bool,
    charts: HashMap<String, Defined>,
    tick: u64,
    out: Vec<u8>,
    id: String,
}

/// A chart as the agent knows it.
struct Defined {
    chart: ChartRef,
    instance: Arc<Instance>,
    update_every: u32,
    dims: Vec<DefinedDim>,
    last_begin: Option<Instant>,
    last_seen: u64,
}

struct DefinedDim {
    /// As the agent knows it: clean, and unique within the chart.
    id: String,
    /// As it is recorded, where that is something else.
    raw: Option<String>,
    dim: Dim,
    last_value: u64,
    sent: bool,
}

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
            charts: HashMap::new(),
            tick: 0,
            out: Vec::new(),
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
        (
            self.charts.len(),
            self.charts.values().map(|chart| chart.dims.len()).sum(),
        )
    }

    /// The text of one tick, taken at `now` by a job that ticks every `update_every` seconds.
    pub fn write(&mut self, frame: &Frame, update_every: u32, now: Instant) -> &[u8] {
        self.out.clear();
        self.tick += 1;
        for recorded in frame.charts() {
            self.write_chart(&recorded, update_every, now);
        }
        self.obsolete_vanished();
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
        for (id, defined) in self.charts.drain() {
            let line = Definition {
                plugin: self.plugin,
                module: &self.module,
                heatmaps: self.heatmaps,
                settings: &self.settings,
            };
            line.chart(&mut self.out, &id, &defined, "obsolete");
        }
        self.address();
        &self.out
    }

    /// The same, or nothing if `keep`.
    pub(crate) fn obsolete_all_unless(&mut self, keep: bool) -> &[u8] {
        if keep { &[] } else { self.obsolete_all() }
    }

    fn write_chart(&mut self, recorded: &Recorded<'_>, update_every: u32, now: Instant) {
        let (chart, instance) = (recorded.chart(), recorded.instance());
        self.id.clear();
        self.id.extend([
            instance.chart_type.as_str(),
            ".",
            &instance.prefix,
            chart.id,
            &instance.suffix,
        ]);
        let known = recorded.values().any(|(_, value)| value.is_some());
        if !self.charts.contains_key(&self.id) {
            if !is_chart_id(&self.id) {
                log::debug!("a {} is not sent: Netdata takes no such id", chart.context);
                return;
            }
            if !known {
                return;
            }
            let dims = chart.dims.iter().filter(|dim| !dim.optional);
            let defined = Defined {
                chart: recorded.chart_ref().clone(),
                instance: Arc::clone(instance),
                update_every: 0,
                dims: dims
                    .map(|dim| DefinedDim::new(dim.id, *dim, self.tick, &[]))
                    .collect(),
                last_begin: None,
                last_seen: 0,
            };
            self.charts.insert(self.id.clone(), defined);
        }
        let Some(defined) = self.charts.get_mut(&self.id) else {
            return;
        };
        if std::mem::replace(&mut defined.last_seen, self.tick) == self.tick {
            // Of two things with one name, which differed in characters that an id cannot have.
            log::debug!("a second {} of one tick is not sent", self.id);
            return;
        }
        if !known {
            return;
        }
        let relabelled =
            !Arc::ptr_eq(&defined.instance, instance) && *defined.instance != **instance;
        let redefine = defined.update_every != update_every || relabelled;
        if redefine {
            defined.instance = Arc::clone(instance);
            defined.update_every = update_every;
        }
        let named_anew = defined.learn_names(recorded, self.tick);
        if redefine || named_anew {
            let definition = Definition {
                plugin: self.plugin,
                module: &self.module,
                heatmaps: self.heatmaps,
                settings: &self.settings,
            };
            definition.whole(&mut self.out, &self.id, defined, &self.job);
        }
        defined.values(&mut self.out, &self.id, recorded, self.tick, now);
    }

    fn obsolete_vanished(&mut self) {
        let (tick, out) = (self.tick, &mut self.out);
        let definition = Definition {
            plugin: self.plugin,
            module: &self.module,
            heatmaps: self.heatmaps,
            settings: &self.settings,
        };
        self.charts.retain(|id, defined| {
            if tick - defined.last_seen >= OBSOLETE_AFTER_TICKS {
                definition.chart(out, id, defined, "obsolete");
                return false;
            }
            let known = defined.chart.view().dims;
            let gone = |dim: &DefinedDim| {
                tick - dim.last_value >= OBSOLETE_DIM_AFTER_TICKS
                    && !known.iter().any(|known| known.id == dim.name())
            };
            if defined.dims.iter().any(gone) {
                definition.chart(out, id, defined, "");
                defined
                    .dims
                    .iter()
                    .filter(|dim| gone(dim))
                    .for_each(|dim| dim.define(out, "obsolete"));
                defined.dims.retain(|dim| !gone(dim));
            }
            true
        });
    }
}

impl Defined {
    /// Adds the dimensions that this tick names for the first time; says whether there were any.
    fn learn_names(&mut self, recorded: &Recorded<'_>, tick: u64) -> bool {
        let before = self.dims.len();
        for (position, (name, value)) in recorded.values().enumerate() {
            if value.is_none() || self.place_of(name, position).is_some() {
                continue;
            }
            match recorded.chart().dim(name) {
                Some(dim) => {
                    let new = DefinedDim::new(name, dim, tick, &self.dims);
                    self.dims.push(new);
                }
                None => log::debug!("chart {} has no dimension {name}", recorded.chart().context),
            }
        }
        self.dims.len() > before
    }

    /// Where the dimension of that name is. Names mostly come in the order in which they were learnt.
    fn place_of(&self, name: &str, position: usize) -> Option<usize> {
        match self.dims.get(position) {
            Some(dim) if dim.name() == name => Some(position),
            _ => self.dims.iter().position(|dim| dim.name() == name),
        }
    }

    fn values(
        &mut self,
        out: &mut Vec<u8>,
        id: &str,
        recorded: &Recorded<'_>,
        tick: u64,
        now: Instant,
    ) {
        out.extend_from_slice(b"BEGIN ");
        out.extend_from_slice(id.as_bytes());
        if let Some(last) = self.last_begin.replace(now) {
            let elapsed_us = now.saturating_duration_since(last).as_micros().max(1);
            out.push(b' ');
            put_integer(out, i64::try_from(elapsed_us).unwrap_or(i64::MAX));
        }
        out.push(b'\n');
        self.dims.iter_mut().for_each(|dim| dim.sent = false);
        for (position, (name, value)) in recorded.values().enumerate() {
            let Some(value) = value else { continue };
            let Some(at) = self.place_of(name, position) else {
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
            out.extend_from_slice(b"SET '");
            out.extend_from_slice(dim.id.as_bytes());
            out.extend_from_slice(b"' = ");
            put_integer(out, steps as i64);
            out.push(b'\n');
        }
        out.extend_from_slice(b"END\n");
    }
}

impl DefinedDim {
    fn new(name: &str, dim: Dim, tick: u64, others: &[Self]) -> Self {
        let id = unique_id(name, |id| others.iter().any(|other| other.id == id));
        Self {
            raw: (id != name).then(|| name.to_owned()),
            id,
            dim,
            last_value: tick,
            sent: false,
        }
    }

    /// As it is recorded.
    fn name(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.id)
    }

    fn define(&self, out: &mut Vec<u8>, options: &str) {
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
mod tests;
