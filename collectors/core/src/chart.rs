//! What a chart is: constant data, or made once from what an endpoint says of its metrics. An [`Instance`]
//! says which thing (a GPU, a server) it is about.

use std::borrow::Cow;
use std::sync::Arc;

/// How Netdata draws a chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Independent lines.
    Line,
    /// Filled areas, for values with a direction (received above, sent below zero).
    Area,
    /// Parts of one whole.
    Stacked,
    /// Buckets over time; agents before 2.x draw it stacked.
    Heatmap,
}

/// How Netdata turns a collected number into a stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Stored as it is.
    Absolute,
    /// A counter, stored as its rate per second. Only for a source that never misses a tick and
    /// never restarts: everything else becomes a rate before it is recorded.
    Incremental,
}

/// One line of a chart. `id` is also the name shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dim {
    /// Identifier and name.
    pub id: &'static str,
    /// Rate or value.
    pub algorithm: Algorithm,
    /// Applied by Netdata when it shows the value: -1 draws below zero.
    pub multiplier: i32,
    /// Steps in one unit: the value is sent as an integer number of `1 / precision`.
    pub precision: u32,
    /// Defined only once it had a value, so that a device without it shows no empty line.
    pub optional: bool,
}

impl Dim {
    /// A value in whole units.
    #[must_use]
    pub const fn new(id: &'static str) -> Self {
        Self {
            id,
            algorithm: Algorithm::Absolute,
            multiplier: 1,
            precision: 1,
            optional: false,
        }
    }

    /// A value with three decimals.
    #[must_use]
    pub const fn milli(id: &'static str) -> Self {
        Self {
            precision: 1000,
            ..Self::new(id)
        }
    }

    /// A value with six decimals, for what is far below 1.
    #[must_use]
    pub const fn micro(id: &'static str) -> Self {
        Self {
            precision: 1_000_000,
            ..Self::new(id)
        }
    }

    /// The same, drawn below zero.
    #[must_use]
    pub const fn below_zero(self) -> Self {
        Self {
            multiplier: -1,
            ..self
        }
    }

    /// The same, shown only once it had a value.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    /// The same, as a counter that Netdata turns into a rate.
    #[must_use]
    pub const fn incremental(self) -> Self {
        Self {
            algorithm: Algorithm::Incremental,
            ..self
        }
    }
}

/// A kind of chart. The doc comment of each constant cites the source of its numbers and their unit.
/// `Text` is owned by charts that are made while running, and borrowed in a view of either.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart<Text = &'static str> {
    /// Last part of the chart's id, after the instance's type and prefix.
    pub id: Text,
    /// Groups the same chart over all instances: `nvidia_smi.gpu_utilization`.
    pub context: Text,
    /// Section of the dashboard's menu.
    pub family: Text,
    /// Shown above the chart.
    pub title: Text,
    /// Unit of every value recorded: `MHz`, `percentage`, `B`.
    pub units: Text,
    /// How it is drawn.
    pub kind: Kind,
    /// Position on the dashboard, lower first.
    pub priority: u32,
    /// Lines known beforehand, in order.
    pub dims: &'static [Dim],
    /// Template of lines that are named while running (a process, a bucket); its `id` is unused.
    pub dynamic: Option<Dim>,
}

impl<Text: AsRef<str>> Chart<Text> {
    /// The same, its texts borrowed.
    #[must_use]
    pub fn view(&self) -> Chart<&str> {
        Chart {
            id: self.id.as_ref(),
            context: self.context.as_ref(),
            family: self.family.as_ref(),
            title: self.title.as_ref(),
            units: self.units.as_ref(),
            kind: self.kind,
            priority: self.priority,
            dims: self.dims,
            dynamic: self.dynamic,
        }
    }
}

/// A chart that is known beforehand, or one that was made while running.
#[derive(Clone, Debug)]
pub enum ChartRef {
    /// Constant data.
    Known(&'static Chart),
    /// Made once, kept for as long as its values come.
    Made(Arc<Chart<String>>),
}

impl ChartRef {
    /// Its definition.
    #[must_use]
    pub fn view(&self) -> Chart<&str> {
        match self {
            Self::Known(chart) => chart.view(),
            Self::Made(chart) => chart.view(),
        }
    }

    /// Lines known beforehand.
    #[must_use]
    pub fn dims(&self) -> &'static [Dim] {
        match self {
            Self::Known(chart) => chart.dims,
            Self::Made(chart) => chart.dims,
        }
    }

    /// Template of lines that are named while running.
    #[must_use]
    pub fn dynamic(&self) -> Option<Dim> {
        match self {
            Self::Known(chart) => chart.dynamic,
            Self::Made(chart) => chart.dynamic,
        }
    }

    /// Whether both are the very same, not only equal.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) => std::ptr::eq(*one, *other),
            (Self::Made(one), Self::Made(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl From<&'static Chart> for ChartRef {
    fn from(chart: &'static Chart) -> Self {
        Self::Known(chart)
    }
}

impl From<&Arc<Chart<String>>> for ChartRef {
    fn from(chart: &Arc<Chart<String>>) -> Self {
        Self::Made(Arc::clone(chart))
    }
}

/// Where a label's value comes from, in Netdata's numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// Detected.
    Auto = 1,
    /// Written by the user into the configuration.
    Config = 2,
}

/// A name and a value attached to a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Name, in lower case.
    pub key: Cow<'static, str>,
    /// Value, unquoted: the writer makes it safe.
    pub value: String,
    /// Detected or configured.
    pub source: LabelSource,
}

/// The thing that a chart is about: it gives the chart its id and its labels. Build it once, keep it
/// in an `Arc`, and build another when a label changes: the writer sends the labels again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Instance {
    /// Part of the chart's id before the dot: `nvidia_smi`, `sglang_30000`. Dots and the like become
    /// underscores, because Netdata cuts the type at the first dot.
    pub chart_type: String,
    /// Put before the chart's own id: `gpu_<uuid>_`, or nothing.
    pub prefix: String,
    /// Put after the chart's own id, or nothing: sorts the instances of one chart together.
    pub suffix: String,
    /// Labels, in order.
    pub labels: Vec<Label>,
    /// Numbers that alerts on these charts may name (`$ttft_ms`): what the user wrote into the
    /// configuration, so that an alert compares with that and not with a number of its own.
    pub variables: Vec<(&'static str, f64)>,
}

impl Instance {
    /// An instance without labels. `chart_type` and `prefix` may hold anything: every character other
    /// than ASCII letters, digits, `_` and (in the prefix) `-` becomes an underscore.
    #[must_use]
    pub fn new(chart_type: &str, prefix: &str) -> Self {
        Self {
            chart_type: clean(chart_type, false),
            prefix: clean(prefix, true),
            suffix: String::new(),
            labels: vec![],
            variables: vec![],
        }
    }

    /// Puts `suffix` after the chart's own id, cleaned as the prefix is.
    #[must_use]
    pub fn suffix(mut self, suffix: &str) -> Self {
        self.suffix = clean(suffix, true);
        self
    }

    /// Adds a detected label.
    #[must_use]
    pub fn label(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.labels.push(Label {
            key: Cow::Borrowed(key),
            value: value.into(),
            source: LabelSource::Auto,
        });
        self
    }

    /// Adds a number that alerts may name; `name` is lower case letters, digits and underscores.
    #[must_use]
    pub fn variable(mut self, name: &'static str, value: f64) -> Self {
        self.variables.push((name, value));
        self
    }
}

fn clean(text: &str, dash: bool) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_' || (dash && c == '-');
    text.chars()
        .map(|c| if kept(c) { c } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_never_holds_a_dot_or_a_blank() {
        let instance = Instance::new("sglang_127.0.0.1 30000", "gpu_GPU-1.2'_");
        assert_eq!(instance.chart_type, "sglang_127_0_0_1_30000");
        assert_eq!(instance.prefix, "gpu_GPU-1_2__");
    }
}
