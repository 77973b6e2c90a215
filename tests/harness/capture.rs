//! An independent reading of a capture: a plain parser and plain arithmetic that share nothing with the
//! code under test.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;

/// Seconds between the two captures under load, as the replayed server counts them.
const SECONDS_BETWEEN: f64 = 10.0;

/// Two pages of one server under load.
pub struct Capture {
    before: Page,
    after: Page,
}

/// `name{labels}` and value of every sample.
type Page = BTreeMap<String, f64>;

impl Capture {
    /// Reads `metrics_load_t0.txt` and `metrics_load_t10.txt` in `dir`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn read(dir: &Path) -> anyhow::Result<Self> {
        let page = |name: &str| -> anyhow::Result<Page> {
            let path = dir.join(name);
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            Ok(samples
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?)))
                .collect())
        };
        Ok(Self {
            before: page("metrics_load_t0.txt")?,
            after: page("metrics_load_t10.txt")?,
        })
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
        let mut buckets: Vec<(f64, f64)> = vec![];
        for (series, after) in &self.after {
            let is_bucket = series.starts_with(&format!("{histogram}_bucket{{"));
            if !is_bucket || !parts.iter().all(|part| series.contains(part)) {
                continue;
            }
            let bound = series.split("le=\"").nth(1)?.split('"').next()?;
            let bound = if bound == "+Inf" {
                f64::INFINITY
            } else {
                bound.parse().ok()?
            };
            let grown = after - self.before.get(series).copied().unwrap_or(0.0);
            match buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += grown,
                None => buckets.push((bound, grown)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rank = q * buckets.last()?.1;
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
}

/// Whether `measured` is within `share` (0.01 for one per cent) of `expected`.
#[must_use]
pub fn agrees(measured: f64, expected: f64, share: f64) -> bool {
    (measured - expected).abs() <= expected.abs() * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[(&str, f64)]) -> Page {
        rows.iter()
            .map(|(series, value)| ((*series).to_owned(), *value))
            .collect()
    }

    #[test]
    fn a_quantile_is_linear_within_its_bucket() {
        let before = page(&[]);
        let after = page(&[
            ("x_bucket{le=\"0.1\"}", 50.0),
            ("x_bucket{le=\"0.2\"}", 100.0),
            ("x_bucket{le=\"+Inf\"}", 100.0),
        ]);
        let capture = Capture { before, after };
        assert_eq!(capture.quantile(0.75, "x", &[]), Some(0.15000000000000002));
    }

    #[test]
    fn an_error_of_five_per_cent_is_not_agreement() {
        assert!(agrees(100.9, 100.0, 0.01));
        assert!(!agrees(105.0, 100.0, 0.01));
        assert!(!agrees(95.0, 100.0, 0.01));
    }
}
