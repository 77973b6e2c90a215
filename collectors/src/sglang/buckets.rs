//! One histogram of a page over its ranks and ways to answer. Its priorities are parts of the whole, the empty one too:
//! requests without one.

use super::marks::Marks;
use super::ranks::Rank;
use super::snapshot::Histogram;
use crate::histogram::{Buckets, Counter};

/// Series of one histogram: far more than any server has, and few enough to look through.
const MAX_SERIES: usize = 256;

/// Which part of a histogram a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `_bucket`.
    Bucket,
    /// `_sum`.
    Sum,
    /// `_count`.
    Count,
}

/// The series of one histogram on one page.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    parts: Vec<Series>,
    used: usize,
    last: usize,
}

#[derive(Clone, Debug, Default)]
struct Series {
    rank: Rank,
    streaming: Option<bool>,
    buckets: Buckets,
}

impl Gathered {
    /// Forgets the last page, keeps the memory.
    pub fn clear(&mut self) {
        (self.used, self.last) = (0, 0);
    }

    /// Adds a sample of the series `identity`. Of a dp rank's pipeline stages and tensor ranks the first one counts.
    pub fn add(&mut self, part: Part, value: f64, identity: u64, marks: &Marks<'_>) {
        let Some(series) = self.series(marks) else {
            return;
        };
        if marks.rank > series.rank {
            return;
        }
        if marks.rank < series.rank {
            series.rank = marks.rank;
            series.buckets.clear();
        }
        let buckets = &mut series.buckets;
        match (part, marks.bound) {
            (Part::Bucket, Some(bound)) => buckets.add(bound, value),
            (Part::Bucket, None) => {}
            (Part::Sum, _) => buckets.sum = Some(buckets.sum.unwrap_or(0.0) + value),
            (Part::Count, _) => {
                let count = buckets.count.get_or_insert_default();
                count.total += value;
                count.series = count.series.wrapping_add(identity);
            }
        }
    }

    fn series(&mut self, marks: &Marks<'_>) -> Option<&mut Series> {
        let is = |it: &Series| (it.rank.dp, it.streaming) == (marks.rank.dp, marks.streaming);
        let used = &self.parts[..self.used];
        // The samples of a series stand together.
        let known = match used.get(self.last) {
            Some(last) if is(last) => Some(self.last),
            _ => used.iter().position(is),
        };
        self.last = match known {
            Some(at) => at,
            None if self.used >= MAX_SERIES => return None,
            None => {
                if self.used == self.parts.len() {
                    self.parts.push(Series::default());
                }
                let new = &mut self.parts[self.used];
                new.buckets.clear();
                (new.rank, new.streaming) = (marks.rank, marks.streaming);
                self.used += 1;
                self.used - 1
            }
        };
        self.parts.get_mut(self.last)
    }

    /// Sums the series up.
    pub fn finish(&self, histogram: &mut Histogram) {
        for series in &self.parts[..self.used] {
            histogram.split |= series.streaming.is_some();
            merge(&series.buckets, &mut histogram.all);
            if series.streaming == Some(true) {
                merge(&series.buckets, &mut histogram.streaming);
            }
        }
        close(&mut histogram.all);
        close(&mut histogram.streaming);
    }
}

fn merge(from: &Buckets, into: &mut Buckets) {
    for (bound, cumulative) in from.bounds.iter().zip(&from.cumulative) {
        into.add(*bound, *cumulative);
    }
    if let Some(sum) = from.sum {
        into.sum = Some(into.sum.unwrap_or(0.0) + sum);
    }
    if let Some(Counter { total, series }) = from.count {
        let count = into.count.get_or_insert_default();
        count.total += total;
        count.series = count.series.wrapping_add(series);
    }
}

/// Gives buckets without their infinite one the count in its place.
fn close(buckets: &mut Buckets) {
    if let (Some(last), Some(count)) = (buckets.bounds.last(), buckets.count)
        && last.is_finite()
    {
        buckets.add(f64::INFINITY, count.total);
    }
}
