//! What one tick of a job has to say: charts, and a value or a gap for each of their dimensions.
//! Buffers are kept between ticks, so recording allocates nothing once it has run for a while.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use crate::chart::{Chart, ChartRef, Instance};

/// Bytes of a dimension's name that are looked at: more than any agent keeps of it, so that long names stay
/// apart, and not what a hostile process may send.
pub const MAX_NAME_BYTES: usize = 1024;

/// One tick's values. Cleared and filled again on every tick.
#[derive(Debug, Default)]
pub struct Frame {
    entries: Vec<Entry>,
    values: Vec<Value>,
    names: Names,
    every: u32,
}

#[derive(Debug)]
struct Entry {
    chart: ChartRef,
    instance: Arc<Instance>,
    values: Range<u32>,
    every: u32,
}

/// Names of dimensions that no chart lists.
#[derive(Debug, Default)]
struct Names {
    text: String,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Names {
    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn push(&mut self, name: &str) -> u32 {
        self.text.push_str(name);
        self.ends.push(self.text.len());
        // A job's dimensions are far fewer.
        (self.ends.len() - 1) as u32
    }

    fn get(&self, place: u32) -> &str {
        let place = place as usize;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[place]]
    }
}

#[derive(Debug)]
struct Value {
    name: Kept,
    /// NaN is a gap.
    value: f64,
}

/// A dimension's name, as it is kept.
#[derive(Clone, Copy, Debug)]
enum Kept {
    /// The place among those that the chart lists.
    Listed(u16),
    /// The place among the names of this tick.
    Named(u32),
}

/// What a value was recorded under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// The dimension at this place of those that the chart lists.
    Listed(usize),
    /// One that it does not list.
    Named(&'a str),
}

impl Name<'_> {
    /// Whether `chart` may have it.
    #[must_use]
    pub fn is_of(&self, chart: &ChartRef) -> bool {
        match self {
            Self::Listed(place) => *place < chart.dims().len(),
            Self::Named(_) => chart.dynamic().is_some(),
        }
    }
}

impl Frame {
    /// Forgets everything recorded, keeps the memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.values.clear();
        self.names.clear();
        self.every = 0;
    }

    /// The charts begun from now on are recorded every `seconds` only, where that is longer than the job's
    /// interval; until [`Frame::clear`]. Those of every tick come first, so that each finds its place again.
    pub fn every(&mut self, seconds: u32) {
        self.every = seconds;
    }

    /// Begins `chart` for `instance`; set its values on what is returned. The same chart and instance
    /// may be begun once a tick. A chart of which every value is unknown is not sent.
    pub fn chart(&mut self, chart: impl Into<ChartRef>, instance: &Arc<Instance>) -> Recorder<'_> {
        let start = self.values.len() as u32;
        self.entries.push(Entry {
            chart: chart.into(),
            instance: Arc::clone(instance),
            values: start..start,
            every: self.every,
        });
        Recorder { frame: self }
    }

    /// What was recorded, in order.
    pub fn charts(&self) -> impl Iterator<Item = Recorded<'_>> {
        self.entries.iter().map(|entry| Recorded {
            frame: self,
            entry,
            chart: OnceCell::new(),
        })
    }

    /// The value of one dimension: `None` if it was not recorded or is unknown. For tests.
    #[must_use]
    pub fn value(&self, instance: &Instance, chart: &Chart<&str>, dim: &str) -> Option<f64> {
        self.charts()
            .filter(|c| c.chart() == chart && **c.instance() == *instance)
            .flat_map(|c| c.values().collect::<Vec<_>>())
            .find(|(name, _)| *name == dim)
            .and_then(|(_, value)| value)
    }
}

/// Takes the values of the chart just begun.
pub struct Recorder<'a> {
    frame: &'a mut Frame,
}

impl Recorder<'_> {
    /// Sets dimension `name`, in the chart's unit. `None`, NaN and infinities are a gap. A name that
    /// the chart neither lists nor allows as dynamic is refused by the writer.
    pub fn set(&mut self, name: &str, value: impl Into<Option<f64>>) -> &mut Self {
        let Frame {
            entries,
            values,
            names,
            ..
        } = &mut *self.frame;
        let Some(entry) = entries.last_mut() else {
            return self;
        };
        let value = value.into().filter(|value| value.is_finite());
        values.push(Value {
            name: Kept::new(name, entry, names),
            value: value.unwrap_or(f64::NAN),
        });
        entry.values.end = values.len() as u32;
        self
    }
}

impl Kept {
    fn new(name: &str, entry: &Entry, names: &mut Names) -> Self {
        let (listed, next) = (entry.chart.dims(), entry.values.len());
        // Mostly they come in the chart's order.
        let place = match listed.get(next) {
            Some(dim) if std::ptr::eq(dim.id, name) || dim.id == name => Some(next),
            _ => listed.iter().position(|dim| dim.id == name),
        };
        if let Some(place) = place {
            return Self::Listed(place as u16);
        }
        Self::Named(names.push(&name[..name.floor_char_boundary(MAX_NAME_BYTES)]))
    }
}

/// A chart of a frame, read back.
pub struct Recorded<'a> {
    frame: &'a Frame,
    entry: &'a Entry,
    chart: OnceCell<Chart<&'a str>>,
}

impl<'a> Recorded<'a> {
    /// Its definition.
    #[must_use]
    pub fn chart(&self) -> &Chart<&'a str> {
        self.chart.get_or_init(|| self.entry.chart.view())
    }

    /// The same, to be kept.
    #[must_use]
    pub fn chart_ref(&self) -> &'a ChartRef {
        &self.entry.chart
    }

    /// Its own interval in seconds, if that is longer than the job's.
    #[must_use]
    pub fn every(&self) -> u32 {
        self.entry.every
    }

    /// What it is about.
    #[must_use]
    pub fn instance(&self) -> &'a Arc<Instance> {
        &self.entry.instance
    }

    /// What values were recorded under, and the values.
    pub fn entries(&self) -> impl Iterator<Item = (Name<'a>, Option<f64>)> + use<'a> {
        let frame = self.frame;
        let Range { start, end } = self.entry.values;
        let values = frame.values[start as usize..end as usize].iter();
        values.map(|Value { name, value }| {
            let name = match name {
                Kept::Listed(place) => Name::Listed((*place).into()),
                Kept::Named(place) => Name::Named(frame.names.get(*place)),
            };
            (name, (!value.is_nan()).then_some(*value))
        })
    }

    /// Dimension names and values.
    pub fn values(&self) -> impl Iterator<Item = (&'a str, Option<f64>)> + use<'a> {
        let listed = self.entry.chart.dims();
        self.entries().map(|(name, value)| match name {
            Name::Listed(place) => (listed[place].id, value),
            Name::Named(name) => (name, value),
        })
    }
}

/// A frame as text, one dimension a line: for snapshot tests.
impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for chart in self.charts() {
            let (instance, chart_id) = (chart.instance(), chart.chart().id);
            let Instance { prefix, suffix, .. } = &**instance;
            writeln!(f, "{}.{prefix}{chart_id}{suffix}", instance.chart_type)?;
            for (name, value) in chart.values() {
                match value {
                    Some(value) => writeln!(f, "  {name} = {value}")?,
                    None => writeln!(f, "  {name} =")?,
                }
            }
        }
        Ok(())
    }
}
