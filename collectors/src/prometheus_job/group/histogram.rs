//! A histogram: percentiles and average of a sliding window, and its distribution.

use std::sync::Arc;
use std::time::{Duration, Instant};

use netdata_plugin::chart::Instance;
use netdata_plugin::frame::Frame;

use super::{MadeChart, Member, Slot, of};
use crate::histogram::window::Window;
use crate::histogram::{Buckets, Counter};
use crate::rate::Rate;

/// Lines of a distribution: neighbouring buckets are shown as one beyond.
const MAX_LINES: usize = 40;

/// The charts of a histogram.
#[derive(Clone, Debug)]
pub struct HistogramCharts {
    /// Percentiles and average.
    pub percentiles: MadeChart,
    /// Observations per second by bucket.
    pub distribution: MadeChart,
    /// Observations in the window.
    pub observations: MadeChart,
    /// Rate of the sum, where a sum of what is observed means something.
    pub volume: Option<MadeChart>,
}

/// A histogram's past.
#[derive(Debug)]
pub(super) struct Histogram {
    charts: HistogramCharts,
    scale: f64,
    /// The members that are buckets, by bound; rebuilt when there is another member.
    order: Vec<usize>,
    members: usize,
    buckets: Buckets,
    window: Window,
    sum: Rate,
    volume: Option<f64>,
}

impl Histogram {
    pub(super) fn new(charts: HistogramCharts, scale: f64, window: Duration) -> Self {
        Self {
            charts,
            scale,
            order: vec![],
            members: 0,
            buckets: Buckets::default(),
            window: Window::new(window),
            sum: Rate::default(),
            volume: None,
        }
    }

    /// Its members are others now.
    pub(super) fn rearrange(&mut self) {
        self.members = 0;
    }

    pub(super) fn miss(&mut self, now: Instant) {
        self.window.miss(now);
        self.sum.reset();
        self.volume = None;
    }

    pub(super) fn update(&mut self, members: &[Member], scrape: u32, now: Instant) {
        if self.members != members.len() {
            self.arrange(members);
        }
        let count = of(members, Slot::Count, scrape);
        self.buckets.sum = of(members, Slot::Sum, scrape);
        self.buckets.count = count.map(|total| Counter { total, series: 1 });
        self.volume = self.sum.per_second(self.buckets.sum, now);
        self.buckets.cumulative.clear();
        for &at in &self.order {
            match members[at].read(scrape) {
                Some(value) => self.buckets.cumulative.push(value),
                None => return self.window.miss(now),
            }
        }
        if self.buckets.cumulative.len() < self.buckets.bounds.len() {
            // The bucket of all that is missing is the count.
            match count {
                Some(count) => self.buckets.cumulative.push(count),
                None => return self.window.miss(now),
            }
        }
        self.window.push(&self.buckets, now);
    }

    /// Sorts the buckets by bound. An infinite one that is missing is added: the count stands for it.
    fn arrange(&mut self, members: &[Member]) {
        let bound = |at: usize| match members[at].part {
            Slot::Bucket(bound) => bound,
            _ => f64::NAN,
        };
        self.members = members.len();
        self.order.clear();
        let buckets = (0..members.len()).filter(|&at| members[at].key != 0 && !bound(at).is_nan());
        self.order.extend(buckets);
        self.order
            .sort_unstable_by(|a, b| bound(*a).total_cmp(&bound(*b)));
        self.order.dedup_by(|a, b| bound(*a) == bound(*b));
        self.buckets.bounds.clear();
        self.buckets
            .bounds
            .extend(self.order.iter().map(|at| bound(*at)));
        if self.buckets.bounds.last().is_some_and(|it| it.is_finite()) {
            self.buckets.bounds.push(f64::INFINITY);
        }
    }

    pub(super) fn record(&self, instance: &Arc<Instance>, frame: &mut Frame) {
        let scaled = |value: Option<f64>| value.map(|value| value * self.scale);
        let window = &self.window;
        frame
            .chart(&self.charts.percentiles, instance)
            .set("p50", scaled(window.quantile(0.5)))
            .set("p90", scaled(window.quantile(0.9)))
            .set("p99", scaled(window.quantile(0.99)))
            .set("average", scaled(window.average()));
        let mut distribution = frame.chart(&self.charts.distribution, instance);
        let buckets = self.buckets.bounds.len();
        let (stride, mut sum) = (buckets.div_ceil(MAX_LINES).max(1), Some(0.0));
        for (at, (le, rate)) in window.distribution().enumerate() {
            sum = sum.zip(rate).map(|(sum, rate)| sum + rate);
            if (at + 1) % stride == 0 || at + 1 == buckets {
                distribution.set(le, sum);
                sum = Some(0.0);
            }
        }
        frame
            .chart(&self.charts.observations, instance)
            .set("in_window", window.observations());
        if let Some(volume) = &self.charts.volume {
            frame.chart(volume, instance).set("volume", self.volume);
        }
    }
}
