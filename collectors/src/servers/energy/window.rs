//! Energy over work: what a server used and what it did meanwhile, over the same minute or more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::split::Part;
use crate::histogram::Counter;
use crate::inference_status::Done;

/// Shorter, and single requests and the sensor's gaps would show.
const AT_LEAST: Duration = Duration::from_secs(60);
/// Steps of the energy counter that a ratio rests on.
const MIN_MOVES: u64 = 10;
/// Longer ago says nothing about now, however slow the counter is.
const AT_MOST: Duration = Duration::from_secs(600);
/// Pages that are remembered; at one a second more than [`AT_MOST`].
const MAX_SAMPLES: usize = 700;
/// How far back the energy at the moment of a page is looked up.
const POINTS: usize = 64;

/// What a server has used in all since it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// Energy.
    pub part: Part,
    /// GPUs held, times seconds; of a shared one the share of the memory.
    pub gpu_seconds: f64,
    /// Steps of the counters.
    pub moves: u64,
}

/// The same at one moment, and in numbers that lie between two readings.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    at: Instant,
    active_j: f64,
    undivided_j: f64,
    all_j: f64,
    gpu_seconds: f64,
    moves: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    point: Point,
    done: Done,
}

/// What a window gained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    /// Joules above idle power; `None` where they could not be told from idle ones.
    pub active_j: Option<f64>,
    /// All joules.
    pub all_j: f64,
    /// GPUs times seconds.
    pub gpu_seconds: f64,
    /// Tokens generated; each of these is `None` if unknown or 0.
    pub output: Option<f64>,
    /// Tokens that the model was run for.
    pub computed: Option<f64>,
    /// Requests that ended.
    pub requests: Option<f64>,
}

/// The last minutes of one server.
#[derive(Clone, Debug, Default)]
pub struct Window {
    points: VecDeque<Point>,
    samples: VecDeque<Sample>,
    /// A page that came after the newest reading of the GPUs.
    pending: Option<Done>,
}

impl Window {
    /// Takes what had been used at `at`.
    pub fn used(&mut self, total: &Total, at: Instant) {
        if self.points.back().is_some_and(|last| at <= last.at) {
            return;
        }
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        // Exact up to 9 TJ.
        #[allow(clippy::cast_precision_loss)]
        let joules = |mj: u64| mj as f64 / 1e3;
        self.points.push_back(Point {
            at,
            active_j: joules(total.part.active_mj),
            undivided_j: joules(total.part.undivided_mj),
            all_j: joules(total.part.total_mj()),
            gpu_seconds: total.gpu_seconds,
            moves: total.moves,
        });
        if let Some(done) = self.pending.take() {
            self.did(done);
        }
    }

    /// Takes what had been done by the time of a page. The same page may be given again.
    pub fn did(&mut self, done: Done) {
        if self
            .samples
            .back()
            .is_some_and(|last| done.at <= last.done.at)
        {
            return;
        }
        match self.at(done.at) {
            At::Known(point) => self.sample(Sample { point, done }),
            At::Later => self.pending = Some(done),
            At::Forgotten => {}
        }
    }

    /// What was used or done is not known for a while: what comes next cannot be compared with what was.
    pub fn interrupt(&mut self) {
        self.points.clear();
        self.samples.clear();
        self.pending = None;
    }

    /// The gain of the newest window, if its end is not older than `fresh` at `now`.
    #[must_use]
    pub fn gain(&self, now: Instant, fresh: Duration) -> Option<Gain> {
        let end = self.samples.back()?;
        if now.saturating_duration_since(end.done.at) > fresh {
            return None;
        }
        let begin = self
            .samples
            .iter()
            .rev()
            .find(|begin| suffices(begin, end))?;
        let (from, to) = (&begin.point, &end.point);
        let undivided = to.undivided_j > from.undivided_j;
        Some(Gain {
            active_j: (!undivided).then_some(to.active_j - from.active_j),
            all_j: to.all_j - from.all_j,
            gpu_seconds: to.gpu_seconds - from.gpu_seconds,
            output: gained(begin.done.output, end.done.output),
            computed: gained(begin.done.computed, end.done.computed),
            requests: gained(begin.done.requests, end.done.requests),
        })
    }

    fn sample(&mut self, sample: Sample) {
        if let Some(last) = self.samples.back()
            && went_back(&last.done, &sample.done)
        {
            self.samples.clear();
        }
        // The first is needed only while the second does not suffice.
        let spare = |samples: &VecDeque<Sample>| {
            let second = samples.get(1);
            second.is_some_and(|it| suffices(it, &sample) || samples.len() >= MAX_SAMPLES)
        };
        while spare(&self.samples) {
            self.samples.pop_front();
        }
        let old =
            |first: &Sample| sample.done.at.saturating_duration_since(first.done.at) > AT_MOST;
        while self.samples.front().is_some_and(old) {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// What had been used at `at`, between two readings in proportion to the time.
    fn at(&self, at: Instant) -> At {
        let next = self.points.partition_point(|point| point.at < at);
        let Some(after) = self.points.get(next) else {
            return At::Later;
        };
        if after.at == at {
            return At::Known(*after);
        }
        let Some(before) = next.checked_sub(1).map(|before| &self.points[before]) else {
            return At::Forgotten;
        };
        let part = (at - before.at).as_secs_f64() / (after.at - before.at).as_secs_f64();
        let between = |from: f64, to: f64| from + (to - from) * part;
        At::Known(Point {
            at,
            active_j: between(before.active_j, after.active_j),
            undivided_j: between(before.undivided_j, after.undivided_j),
            all_j: between(before.all_j, after.all_j),
            gpu_seconds: between(before.gpu_seconds, after.gpu_seconds),
            moves: before.moves,
        })
    }
}

enum At {
    Known(Point),
    Later,
    Forgotten,
}

/// Whether a window between both is long enough to mean something.
fn suffices(begin: &Sample, end: &Sample) -> bool {
    end.done.at.saturating_duration_since(begin.done.at) >= AT_LEAST
        && end.point.moves >= begin.point.moves + MIN_MOVES
}

/// Whether a counter was set back, or others are counted by.
fn went_back(before: &Done, after: &Done) -> bool {
    let back = |before: Option<Counter>, after: Option<Counter>| {
        let both = before.zip(after);
        both.is_some_and(|(before, after)| {
            before.series == after.series && after.total < before.total
        })
    };
    before.counters != after.counters
        || back(before.output, after.output)
        || back(before.computed, after.computed)
        || back(before.requests, after.requests)
}

/// The gain of one counter over the same series; nothing is no divisor.
fn gained(before: Option<Counter>, after: Option<Counter>) -> Option<f64> {
    let (before, after) = before.zip(after)?;
    let gain = after.total - before.total;
    (before.series == after.series && gain > 0.0).then_some(gain)
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
