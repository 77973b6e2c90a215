//! A histogram's last minute: what each scrape added to the buckets, kept for as long as the
//! window is, and the percentiles of it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{Buckets, Counter};

/// A sliding window over one histogram.
#[derive(Clone, Debug)]
pub struct Window {
    length: Duration,
    /// Upper bounds of the buckets, and their names.
    bounds: Vec<f64>,
    names: Vec<String>,
    /// The newest scrape, unless it failed.
    last: Option<Last>,
    cumulative: Vec<f64>,
    steps: VecDeque<Step>,
    /// What the steps added, one step after another: most buckets get nothing from a scrape.
    added: VecDeque<Added>,
    /// Observations in the window, by bucket, not cumulative.
    totals: Vec<f64>,
    /// Seconds that the newest step took, if the newest scrape made one.
    newest: Option<f64>,
    /// What it added to each bucket.
    newest_added: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    sum: Option<f64>,
    count: Option<Counter>,
}

/// One scrape.
#[derive(Clone, Debug)]
struct Step {
    at: Instant,
    /// Buckets that it added to.
    buckets: usize,
    sum: Option<f64>,
}

/// What one scrape added to one bucket.
#[derive(Clone, Copy, Debug)]
struct Added {
    bucket: usize,
    observations: f64,
}

impl Window {
    /// An empty window of `length`.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        Self {
            length,
            bounds: vec![],
            names: vec![],
            last: None,
            cumulative: vec![],
            steps: VecDeque::new(),
            added: VecDeque::new(),
            totals: vec![],
            newest: None,
            newest_added: vec![],
        }
    }

    /// Takes a scrape's buckets. The first after a start, a gap, a reset or a change of buckets is only
    /// what the next is compared with; a reset and a change of buckets also empty the window.
    pub fn push(&mut self, buckets: &Buckets, now: Instant) {
        if buckets.is_empty() {
            self.miss(now);
            return;
        }
        self.expire(now);
        self.newest = None;
        if self.bounds != buckets.bounds {
            self.clear();
            self.bounds.clone_from(&buckets.bounds);
            self.names = buckets.bounds.iter().map(|bound| name(*bound)).collect();
            self.totals = vec![0.0; buckets.bounds.len()];
        } else if let Some(last) = self.last {
            if self.continues(last, buckets) {
                self.step(last, buckets, now);
            } else {
                self.clear();
            }
        }
        self.cumulative.clone_from(&buckets.cumulative);
        self.last = Some(Last {
            at: now,
            sum: buckets.sum,
            count: buckets.count,
        });
    }

    /// A scrape failed: the next one only starts anew; what is in the window stays until it is old.
    pub fn miss(&mut self, now: Instant) {
        self.expire(now);
        self.newest = None;
        self.last = None;
    }

    /// Observations in the window; `None` if no two scrapes of it can be compared.
    #[must_use]
    pub fn observations(&self) -> Option<f64> {
        (!self.steps.is_empty()).then(|| self.totals.iter().sum())
    }

    /// Mean of the observations in the window, in the histogram's unit.
    #[must_use]
    pub fn average(&self) -> Option<f64> {
        let count = self.observations().filter(|count| *count > 0.0)?;
        let sums = self.steps.iter().map(|step| step.sum);
        Some(sums.sum::<Option<f64>>()? / count)
    }

    /// Quantile `q`, interpolated within its bucket as PromQL's `histogram_quantile` does; beyond the
    /// last finite bound it is that bound. `None` with fewer than `1 / (1 - q)` observations.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let count = self.observations()?;
        // The margin is for 1 / (1 - q), which is not exactly 10 or 100.
        if count + 1e-6 < 1.0 / (1.0 - q) {
            return None;
        }
        let rank = q * count;
        let mut below = 0.0;
        let at = self.totals.iter().position(|inside| {
            let reached = below + inside >= rank;
            if !reached {
                below += inside;
            }
            reached
        })?;
        let lower = if at == 0 { 0.0 } else { self.bounds[at - 1] };
        let upper = self.bounds[at];
        if upper.is_infinite() {
            return (at > 0).then_some(lower);
        }
        if at == 0 && upper <= 0.0 {
            return Some(upper);
        }
        Some(lower + (upper - lower) * (rank - below) / self.totals[at])
    }

    /// The finite bucket bound nearest to `threshold`, the lower one of two as near: the only thresholds at
    /// which a histogram can be asked.
    #[must_use]
    pub fn edge(&self, threshold: f64) -> Option<f64> {
        let finite = self.bounds.iter().copied().filter(|it| it.is_finite());
        finite.min_by(|a, b| (a - threshold).abs().total_cmp(&(b - threshold).abs()))
    }

    /// Share, 0 to 1, of the window's observations at or under `edge`, one of its bounds.
    #[must_use]
    pub fn share(&self, edge: f64) -> Option<f64> {
        let count = self.observations().filter(|count| *count > 0.0)?;
        let inside = self.bounds.iter().zip(&self.totals);
        let under = inside.filter(|(bound, _)| **bound <= edge);
        Some(under.map(|(_, inside)| inside).sum::<f64>() / count)
    }

    /// What the newest scrape added: observations, and those of them at or under `edge`, one of its bounds.
    /// `None` if it added none that could be dated.
    #[must_use]
    pub fn added(&self, edge: f64) -> Option<(f64, f64)> {
        self.newest?;
        let inside = self.bounds.iter().zip(&self.newest_added);
        let under = inside.filter(|(bound, _)| **bound <= edge);
        let all = self.newest_added.iter().sum();
        Some((all, under.map(|(_, added)| added).sum()))
    }

    /// Each bucket's name and the observations per second that the newest scrape added to it; `None`
    /// if it added none that could be dated.
    pub fn distribution(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        self.names.iter().enumerate().map(|(i, name)| {
            let rate = self.newest.map(|seconds| self.newest_added[i] / seconds);
            (name.as_str(), rate)
        })
    }

    /// Whether the counters of `buckets` can be those of the last scrape, further on.
    fn continues(&self, last: Last, buckets: &Buckets) -> bool {
        let same_series =
            last.count.map(|count| count.series) == buckets.count.map(|count| count.series);
        let mut pairs = self.cumulative.iter().zip(&buckets.cumulative);
        same_series && pairs.all(|(before, after)| after >= before)
    }

    fn step(&mut self, last: Last, buckets: &Buckets, now: Instant) {
        let seconds = now.saturating_duration_since(last.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        self.newest_added.clear();
        let (mut below, mut buckets_added) = (0.0, 0);
        let pairs = self.cumulative.iter().zip(&buckets.cumulative);
        for (bucket, (before, after)) in pairs.enumerate() {
            let up_to_here = after - before;
            // Buckets of several processes are not read at one moment.
            let observations = (up_to_here - below).max(0.0);
            below = up_to_here.max(below);
            self.newest_added.push(observations);
            if observations > 0.0 {
                self.totals[bucket] += observations;
                self.added.push_back(Added {
                    bucket,
                    observations,
                });
                buckets_added += 1;
            }
        }
        self.steps.push_back(Step {
            at: now,
            buckets: buckets_added,
            sum: last
                .sum
                .zip(buckets.sum)
                .map(|(before, after)| after - before),
        });
        self.newest = Some(seconds);
    }

    fn expire(&mut self, now: Instant) {
        while let Some(step) = self
            .steps
            .pop_front_if(|step| now.saturating_duration_since(step.at) >= self.length)
        {
            for Added {
                bucket,
                observations,
            } in self.added.drain(..step.buckets)
            {
                self.totals[bucket] -= observations;
            }
        }
        if self.steps.is_empty() {
            // Sums of fractions may leave a trace.
            self.totals.fill(0.0);
        }
    }

    fn clear(&mut self) {
        self.steps.clear();
        self.added.clear();
        self.totals.fill(0.0);
        self.last = None;
    }
}

/// A bound as `le` has it, without a trailing `.0`.
fn name(bound: f64) -> String {
    if bound == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        bound.to_string()
    }
}

#[cfg(test)]
mod tests;
