//! What a line of a chart is made of, as constant data.

use netdata_plugin::chart::Chart;

/// Samples of a page: every one of a metric, or those that have a label of a certain value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The metric without its prefix; a histogram without `_sum`.
    pub name: &'static str,
    /// A label and its value.
    pub label: Option<(&'static str, &'static str)>,
}

/// How samples become a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// A gauge, summed over dp ranks; stale when the engine has not moved for a while.
    Gauge,
    /// The same, averaged over dp ranks: a ratio or a length.
    Typical,
    /// The highest of all dp ranks.
    Highest,
    /// A gauge that is set once: never stale.
    Fact,
    /// The gain of a counter per second, summed over dp ranks.
    Rate,
    /// The same, averaged over dp ranks: a share of time.
    TypicalRate,
    /// The average of what a histogram observed between two pages.
    Mean,
    /// The same, or the gauge of that name that older versions have in its place, averaged over dp ranks.
    MeanOrGauge,
}

/// From which version on a counter is there, although it shows only with its first event. Known by what
/// every page of that version has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The oldest version whose counters are known.
    Ever,
    /// 0.4.9: the scheduler's samples carry ranks.
    Ranks,
    /// 0.5.6: the capacity of the KV cache is told.
    Capacity,
    /// 0.5.7: HTTP requests are counted, our own among them.
    Http,
    /// Not known: until it shows, it is unknown.
    Unknown,
}

/// One line of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// The first of these that a page has: versions rename metrics.
    pub sources: &'static [Source],
    /// How it is taken.
    pub take: Take,
    /// From the metric's unit to the chart's.
    pub times: f64,
    /// When it is 0 although it is absent.
    pub since: Since,
}

/// The lines of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lines {
    /// One for each of the chart's dimensions, in that order.
    Fixed(&'static [Value]),
    /// One for each value of a label.
    ByLabel(&'static str, Value),
}

/// For which instances a chart is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The server.
    Server,
    /// The server, and each dp rank if there are several.
    Both,
    /// Each dp rank if there are several: the server's own is made elsewhere.
    Ranks,
}

/// A chart with what it is made of.
#[derive(Debug, PartialEq)]
pub struct Spec {
    /// Its definition.
    pub chart: &'static Chart,
    /// Its lines.
    pub lines: Lines,
    /// Its instances.
    pub scope: Scope,
}

/// Every sample of `name`.
pub const fn of(name: &'static str) -> Source {
    Source { name, label: None }
}

/// Those samples of `name` whose `label` is `value`.
pub const fn with(name: &'static str, label: &'static str, value: &'static str) -> Source {
    Source {
        name,
        label: Some((label, value)),
    }
}

/// The first of `sources` that is there, taken so.
pub const fn take(take: Take, sources: &'static [Source]) -> Value {
    Value {
        sources,
        take,
        times: 1.0,
        since: Since::Unknown,
    }
}

/// A gauge.
pub const fn gauge(sources: &'static [Source]) -> Value {
    take(Take::Gauge, sources)
}

/// A counter's rate.
pub const fn rate(sources: &'static [Source]) -> Value {
    take(Take::Rate, sources)
}

impl Value {
    /// The same in another unit.
    pub const fn times(self, times: f64) -> Self {
        Self { times, ..self }
    }

    /// The same, 0 where a server of that version does not show it.
    pub const fn since(self, since: Since) -> Self {
        Self { since, ..self }
    }
}

impl Spec {
    /// A chart of the server with a line for each dimension.
    pub const fn new(chart: &'static Chart, values: &'static [Value]) -> Self {
        Self {
            chart,
            lines: Lines::Fixed(values),
            scope: Scope::Server,
        }
    }

    /// A chart of the server with a line for each value of `label`.
    pub const fn by(label: &'static str, chart: &'static Chart, value: Value) -> Self {
        Self {
            chart,
            lines: Lines::ByLabel(label, value),
            scope: Scope::Server,
        }
    }

    /// The same for other instances.
    pub const fn scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }
}
