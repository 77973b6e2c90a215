//! An independent reading of a capture: a plain parser and plain arithmetic that share nothing with the
//! code under test.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

use crate::formula::{label_of, selects};

/// Seconds between the two captures under load, as the replayed server counts them.
const SECONDS_BETWEEN: f64 = 10.0;

/// Two pages of one server under load.
pub struct Capture {
    before: Page,
    after: Page,
    growth: f64,
}

/// `name{labels}` and value of every sample.
type Page = BTreeMap<String, f64>;

/// A series of the two pages.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// `name{labels}`.
    pub name: &'a str,
    /// Its value on the first page.
    pub held: Option<f64>,
    /// How much it grows in a second. One that the second page alone has is 0 before.
    pub grows: f64,
}

impl Capture {
    /// Reads `metrics_load_t0.txt` and `metrics_load_t10.txt` in `dir`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let page = |name: &str| -> anyhow::Result<Page> {
            let path = dir.join(name);
            let text = std::fs::read_to_string(&path);
            Ok(samples(&text.with_context(|| path.display().to_string())?))
        };
        Ok(Self {
            before: page("metrics_load_t0.txt")?,
            after: page("metrics_load_t10.txt")?,
            growth: 1.0,
        })
    }

    /// Of two pages' texts.
    #[must_use]
    pub fn of(before: &str, after: &str) -> Self {
        Self {
            before: samples(before),
            after: samples(after),
            growth: 1.0,
        }
    }

    /// The same with counters that grow so many times as fast.
    #[must_use]
    pub fn at_growth(self, growth: f64) -> Self {
        Self { growth, ..self }
    }

    /// Every metric's name without its prefix, of histograms with their endings.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let series = self.before.keys().chain(self.after.keys());
        let names = series.filter_map(|series| series.split('{').next());
        names.filter_map(|name| name.strip_prefix("sglang:"))
    }

    /// The series that a selector (`metric{label="value"}`) asks for.
    pub fn series_of<'a>(&'a self, selector: &str) -> impl Iterator<Item = Series<'a>> {
        let only_after = self.after.keys();
        let only_after = only_after.filter(|series| !self.before.contains_key(*series));
        let all = self.before.keys().chain(only_after);
        all.filter(|series| selects(selector, series)).map(|name| {
            let (held, later) = (self.before.get(name), self.after.get(name));
            let held = held.copied();
            let gain = later.map_or(0.0, |later| later - held.unwrap_or(0.0));
            Series {
                name,
                held: held.or(later.copied()).filter(|value| !value.is_nan()),
                grows: gain.max(0.0) * self.growth / SECONDS_BETWEEN,
            }
        })
    }

    /// How much the counters that a selector asks for grow in a second; `None` if there is none.
    #[must_use]
    pub fn gain(&self, selector: &str) -> Option<f64> {
        let all = self.series_of(selector).map(|series| series.grows);
        all.reduce(|sum, gain| sum + gain)
    }

    /// The cumulative buckets that a selector asks for, by their bounds, ascending: how much each grows in a second.
    #[must_use]
    pub fn buckets(&self, selector: &str) -> Vec<(f64, f64)> {
        let mut buckets: Vec<(f64, f64)> = vec![];
        for series in self.series_of(selector) {
            // "+Inf" is read as well.
            let bound = label_of(series.name, "le").and_then(|le| le.parse().ok());
            let Some(bound) = bound else { continue };
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, gain)) => *gain += series.grows,
                None => buckets.push((bound, series.grows)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// The `q` quantile of what the buckets that a selector asks for gain.
    #[must_use]
    pub fn quantile_of(&self, q: f64, selector: &str) -> Option<f64> {
        quantile(q, self.buckets(selector))
    }

    /// The share of that at or under the finite bound next to `threshold`, the lower one of two as near.
    #[must_use]
    pub fn share_within(&self, threshold: f64, selector: &str) -> Option<f64> {
        let buckets = self.buckets(selector);
        let distance = |bound: f64| (bound - threshold).abs();
        let nearest = buckets
            .iter()
            .min_by(|a, b| distance(a.0).total_cmp(&distance(b.0)));
        let all = buckets.last().filter(|(_, gain)| *gain > 0.0)?;
        Some(nearest?.1 / all.1)
    }

    /// How much all counters whose series contain every one of `parts` grow in a second at growth 1.
    #[must_use]
    pub fn rate(&self, parts: &[&str]) -> f64 {
        let wanted = |series: &&String| parts.iter().all(|part| series.contains(part));
        let sum = |page: &Page| -> f64 {
            self.after
                .keys()
                .filter(wanted)
                .filter_map(|series| page.get(series))
                .sum()
        };
        (sum(&self.after) - sum(&self.before)) / SECONDS_BETWEEN
    }

    /// The value of the first gauge whose series contains every one of `parts`.
    #[must_use]
    pub fn gauge(&self, parts: &[&str]) -> Option<f64> {
        let mut series = self.before.iter();
        series
            .find(|(series, _)| parts.iter().all(|part| series.contains(part)))
            .map(|(_, v)| *v)
    }

    /// The `q` quantile of what was observed between the two pages, in the histogram's unit: linear
    /// within the bucket, the last finite bound above it.
    #[must_use]
    pub fn quantile(&self, q: f64, histogram: &str, parts: &[&str]) -> Option<f64> {
        let name = histogram.strip_prefix("sglang:").unwrap_or(histogram);
        self.quantile_of(q, &format!("{name}_bucket{{{}}}", parts.join(",")))
    }
}

/// Of cumulative buckets, by their ascending bounds.
fn quantile(q: f64, buckets: Vec<(f64, f64)>) -> Option<f64> {
    let rank = q * buckets.last().filter(|(_, count)| *count > 0.0)?.1;
    let (mut lower_bound, mut lower_count) = (0.0, 0.0);
    for (bound, count) in buckets {
        if count >= rank {
            if bound.is_infinite() {
                return Some(lower_bound);
            }
            let share = (rank - lower_count) / (count - lower_count);
            return Some(lower_bound + (bound - lower_bound) * share);
        }
        (lower_bound, lower_count) = (bound, count);
    }
    None
}

fn samples(page: &str) -> Page {
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    samples
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
        .collect()
}

/// Whether `measured` is within `share` (0.01 for one per cent) of `expected`.
#[must_use]
pub fn agrees(measured: f64, expected: f64, share: f64) -> bool {
    (measured - expected).abs() <= expected.abs() * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_linear_within_its_bucket() {
        let after = "sglang:x_bucket{le=\"0.1\"} 50\nsglang:x_bucket{le=\"0.2\"} 100\n\
                     sglang:x_bucket{le=\"+Inf\"} 100\n";
        let capture = Capture::of("", after);
        assert_eq!(capture.quantile(0.75, "x", &[]), Some(0.15000000000000002));
    }

    #[test]
    fn an_error_of_five_per_cent_is_not_agreement() {
        assert!(agrees(100.9, 100.0, 0.01));
        assert!(!agrees(105.0, 100.0, 0.01));
        assert!(!agrees(95.0, 100.0, 0.01));
    }
}
