//! One instance of a chart: the series behind it, what they are worth now, and how it is recorded.

mod histogram;
mod summary;

use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::chart::{Chart, Instance};
use netdata_plugin::frame::Frame;

use super::families::Part;
use super::profiles::Take;
use crate::rate::Rate;
use histogram::Histogram;
use summary::Summary;

pub use histogram::HistogramCharts;
pub use summary::SummaryCharts;

/// A chart made from what a page says.
pub type MadeChart = Arc<Chart<String>>;

/// A series of a group.
#[derive(Debug)]
pub struct Member {
    /// The hash of its name and labels; 0 once it is gone, and its place may be taken.
    pub key: u64,
    /// The scrape that had it last.
    pub seen: u32,
    /// Its value then.
    pub value: f64,
    /// What it is here. Of lines: a quantile holds no number but the place of the line.
    pub part: Slot,
}

/// A member's place in its group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Slot {
    /// The line at this place.
    Line(usize),
    /// The bucket with this upper bound.
    Bucket(f64),
    /// Sum of what was observed.
    Sum,
    /// Number of observations.
    Count,
}

/// An instance of a chart.
#[derive(Debug)]
pub struct Group {
    /// Which chart, and which instance of it.
    pub key: u64,
    /// Hashes of its charts' ids.
    pub ids: Vec<u64>,
    /// The scrape in which it was made.
    pub born: u32,
    /// The scrape that had any of it last.
    pub seen: u32,
    /// Its series, gone ones included.
    pub members: Vec<Member>,
    instance: Arc<Instance>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Lines { chart: MadeChart, lines: Vec<Line> },
    Histogram(Box<Histogram>),
    Summary(Box<Summary>),
}

/// A line of a chart.
#[derive(Debug)]
struct Line {
    name: String,
    take: Take,
    scale: f64,
    rate: Rate,
    value: Option<f64>,
}

/// The charts of a new group.
#[derive(Clone, Debug)]
pub enum Charts {
    /// Lines side by side.
    Lines(MadeChart),
    /// A histogram's.
    Histogram(HistogramCharts),
    /// A summary's.
    Summary(SummaryCharts),
}

impl Charts {
    /// Each of them.
    pub fn each(&self) -> impl Iterator<Item = &MadeChart> {
        let charts = match self {
            Self::Lines(chart) => [Some(chart), None, None, None],
            Self::Histogram(charts) => [
                Some(&charts.percentiles),
                Some(&charts.distribution),
                Some(&charts.observations),
                charts.volume.as_ref(),
            ],
            Self::Summary(charts) => [
                Some(&charts.quantiles),
                Some(&charts.observations),
                None,
                None,
            ],
        };
        charts.into_iter().flatten()
    }
}

impl Group {
    /// A group without series. Histograms are kept for `window`.
    #[must_use]
    pub fn new(
        (key, ids): (u64, Vec<u64>),
        charts: Charts,
        instance: Instance,
        (scale, window): (f64, Duration),
        scrape: u32,
    ) -> Self {
        let body = match charts {
            Charts::Lines(chart) => Body::Lines {
                chart,
                lines: vec![],
            },
            Charts::Histogram(charts) => {
                Body::Histogram(Box::new(Histogram::new(charts, scale, window)))
            }
            Charts::Summary(charts) => Body::Summary(Box::new(Summary::new(charts, scale))),
        };
        Self {
            key,
            ids,
            born: scrape,
            seen: scrape,
            members: vec![],
            instance: Arc::new(instance),
            body,
        }
    }

    /// Series that are not gone.
    #[must_use]
    pub fn series(&self) -> usize {
        self.members.iter().filter(|member| member.key != 0).count()
    }

    /// Lines that are in use; of charts of lines only.
    #[must_use]
    pub fn lines(&self) -> usize {
        match &self.body {
            Body::Lines { .. } => self.series(),
            _ => 0,
        }
    }

    /// Adds a series and returns its place.
    pub fn add(&mut self, key: u64, part: Part, line: NewLine<'_>, scrape: u32) -> usize {
        let free = self.members.iter().position(|member| member.key == 0);
        let at = free.unwrap_or(self.members.len());
        let slot = match (&mut self.body, part) {
            (Body::Histogram(_), Part::Bucket(bound)) => Slot::Bucket(bound),
            (Body::Histogram(_) | Body::Summary(_), Part::Sum) => Slot::Sum,
            (Body::Histogram(_) | Body::Summary(_), Part::Count) => Slot::Count,
            (Body::Summary(summary), Part::Quantile(q)) => {
                Slot::Line(summary.add(q, free.map(|at| self.members[at].part)))
            }
            (Body::Lines { lines, .. }, _) => Slot::Line(put(
                lines,
                free.map(|at| self.members[at].part),
                Line::new(line.name, line.take, line.scale),
            )),
            // Nothing else reaches a histogram or a summary; it would count for nothing.
            (_, _) => Slot::Bucket(f64::NAN),
        };
        let member = Member {
            key,
            seen: scrape,
            value: f64::NAN,
            part: slot,
        };
        if at < self.members.len() {
            self.members[at] = member;
        } else {
            // Most groups have one series, and there may be thousands of groups.
            self.members
                .reserve_exact(usize::from(self.members.is_empty()));
            self.members.push(member);
        }
        if let Body::Histogram(histogram) = &mut self.body {
            histogram.rearrange();
        }
        at
    }

    /// Works out what the scrape that ended at `now` says.
    pub fn update(&mut self, scrape: u32, now: Instant) {
        let members = &self.members;
        match &mut self.body {
            Body::Lines { lines, .. } => update_lines(lines, members, scrape, now),
            Body::Histogram(histogram) => histogram.update(members, scrape, now),
            Body::Summary(summary) => summary.update(members, scrape, now),
        }
    }

    /// There was no page at `now`: the next one only starts anew.
    pub fn miss(&mut self, now: Instant) {
        match &mut self.body {
            Body::Lines { lines, .. } => lines.iter_mut().for_each(Line::miss),
            Body::Histogram(histogram) => histogram.miss(now),
            Body::Summary(summary) => summary.miss(),
        }
    }

    /// Records its charts. What is unknown is a gap.
    pub fn record(&self, frame: &mut Frame) {
        match &self.body {
            Body::Lines { chart, lines } => record_lines(chart, &self.instance, lines, frame),
            Body::Histogram(histogram) => histogram.record(&self.instance, frame),
            Body::Summary(summary) => summary.record(&self.instance, frame),
        }
    }

    /// Forgets the series that were not on the page since `before`; says how many.
    pub fn expire(&mut self, gone: impl Fn(u32) -> bool) -> usize {
        let mut expired = 0;
        for member in &mut self.members {
            if member.key != 0 && gone(member.seen) {
                member.key = 0;
                expired += 1;
            }
        }
        if expired > 0
            && let Body::Histogram(histogram) = &mut self.body
        {
            histogram.rearrange();
        }
        expired
    }
}

/// How a line is to be called and read.
#[derive(Clone, Copy, Debug)]
pub struct NewLine<'a> {
    /// Its name.
    pub name: &'a str,
    /// As it is, or as a rate.
    pub take: Take,
    /// What it is multiplied by.
    pub scale: f64,
}

impl Line {
    fn new(name: &str, take: Take, scale: f64) -> Self {
        Self {
            name: name.to_owned(),
            take,
            scale,
            rate: Rate::default(),
            value: None,
        }
    }

    fn miss(&mut self) {
        self.rate.reset();
        self.value = None;
    }
}

/// Puts `line` where a line that is gone was, else at the end; returns its place.
fn put(lines: &mut Vec<Line>, free: Option<Slot>, line: Line) -> usize {
    match free {
        Some(Slot::Line(at)) if at < lines.len() => {
            lines[at] = line;
            at
        }
        _ => {
            lines.reserve_exact(usize::from(lines.is_empty()));
            lines.push(line);
            lines.len() - 1
        }
    }
}

fn update_lines(lines: &mut [Line], members: &[Member], scrape: u32, now: Instant) {
    for member in members {
        let Slot::Line(at) = member.part else {
            continue;
        };
        let line = &mut lines[at];
        let value = member.read(scrape);
        let value = match line.take {
            Take::Value => value,
            Take::Rate => line.rate.per_second(value, now),
        };
        line.value = value.map(|value| value * line.scale);
    }
}

fn record_lines(chart: &MadeChart, instance: &Arc<Instance>, lines: &[Line], frame: &mut Frame) {
    let mut recorder = frame.chart(chart, instance);
    for line in lines {
        recorder.set(&line.name, line.value);
    }
}

impl Member {
    /// Its value, if the scrape had it and it is a number.
    fn read(&self, scrape: u32) -> Option<f64> {
        (self.key != 0 && self.seen == scrape && self.value.is_finite()).then_some(self.value)
    }
}

/// The value of the member at `slot`.
fn of(members: &[Member], slot: Slot, scrape: u32) -> Option<f64> {
    members
        .iter()
        .find(|member| member.part == slot && member.key != 0)?
        .read(scrape)
}
