//! A summary: its quantiles as the endpoint computed them, the rate and the average of what it observed.

use std::sync::Arc;
use std::time::Instant;

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::{Line, MadeChart, Member, Slot, of, put, update_lines};
use crate::prometheus_job::profiles::Take;
use crate::rate::Rate;

/// The charts of a summary.
#[derive(Clone, Debug)]
pub struct SummaryCharts {
    /// Quantiles and average.
    pub quantiles: MadeChart,
    /// Observations per second.
    pub observations: MadeChart,
}

/// A summary's past.
#[derive(Debug)]
pub(super) struct Summary {
    charts: SummaryCharts,
    scale: f64,
    lines: Vec<Line>,
    sum: Rate,
    count: Rate,
    average: Option<f64>,
    observations: Option<f64>,
}

impl Summary {
    pub(super) fn new(charts: SummaryCharts, scale: f64) -> Self {
        Self {
            charts,
            scale,
            lines: vec![],
            sum: Rate::default(),
            count: Rate::default(),
            average: None,
            observations: None,
        }
    }

    /// Adds the line of quantile `q`; returns its place.
    pub(super) fn add(&mut self, q: f64, free: Option<Slot>) -> usize {
        let line = Line::new(&quantile(q), Take::Value, self.scale);
        put(&mut self.lines, free, line)
    }

    pub(super) fn miss(&mut self) {
        self.lines.iter_mut().for_each(Line::miss);
        self.sum.reset();
        self.count.reset();
        (self.average, self.observations) = (None, None);
    }

    pub(super) fn update(&mut self, members: &[Member], scrape: u32, now: Instant) {
        update_lines(&mut self.lines, members, scrape, now);
        let sum = self.sum.gain(of(members, Slot::Sum, scrape), now);
        let count = self.count.gain(of(members, Slot::Count, scrape), now);
        self.observations = count.map(|(count, seconds)| count / seconds);
        self.average = sum
            .zip(count)
            .filter(|(_, (count, _))| *count > 0.0)
            .map(|((sum, _), (count, _))| sum / count * self.scale);
    }

    pub(super) fn record(&self, instance: &Arc<Instance>, frame: &mut Frame) {
        let mut quantiles = frame.chart(&self.charts.quantiles, instance);
        for line in &self.lines {
            quantiles.set(&line.name, line.value);
        }
        quantiles.set("average", self.average);
        frame
            .chart(&self.charts.observations, instance)
            .set("observations", self.observations);
    }
}

/// A quantile's line: `p50`, `p99.9`, `min`, `max`.
fn quantile(q: f64) -> String {
    match q {
        0.0 => "min".to_owned(),
        1.0 => "max".to_owned(),
        // Without the noise of binary fractions: 0.999 is p99.9.
        q => format!("p{}", (q * 1e8).round() / 1e6),
    }
}
