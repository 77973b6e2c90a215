//! Percentiles of captured pages, compared with those of single observations.

use std::time::{Duration, Instant};

use super::measure::Measure;
use super::scrape::Reader;
use super::snapshot::Snapshot;
use super::table::readings::Readings;
use super::unlisted::Unlisted;
use crate::fixtures;
use crate::histogram::Buckets;
use crate::histogram::window::Window;

/// The quantile of sorted single observations laid out evenly in their buckets: shares nothing with the
/// code under test but the definition.
fn by_observations(q: f64, before: &Buckets, after: &Buckets) -> Option<f64> {
    const PARTS: f64 = 1000.0;
    let (mut values, mut lower, mut below) = (vec![], 0.0, 0.0);
    for (i, bound) in after.bounds.iter().enumerate() {
        let grown = after.cumulative[i] - before.cumulative[i];
        let inside = grown - below;
        let upper = if bound.is_finite() { *bound } else { lower };
        let parts = (inside * PARTS).round() as usize;
        for part in 0..parts {
            let share = (part as f64 + 0.5) / parts as f64;
            values.push(lower + (upper - lower) * share);
        }
        (lower, below) = (upper, grown);
    }
    let at = (q * values.len() as f64) as usize;
    values.get(at).copied()
}

#[test]
fn percentiles_of_every_capture_are_those_of_its_observations() {
    let mut compared = 0;
    for version in fixtures::VERSIONS {
        let (mut reader, mut pages) = (Reader::default(), vec![]);
        for moment in ["load_t0", "load_t10"] {
            let mut page = Snapshot::default();
            let (mut readings, mut unlisted) = (Readings::default(), Unlisted::default());
            let text = fixtures::page(version, moment);
            reader.read(&text, &mut page, &mut readings, &mut unlisted);
            pages.push(page);
        }
        let of: [fn(&Snapshot) -> &Buckets; 3] = [
            |page| page.buckets(Measure::TimeToFirstToken),
            |page| page.buckets(Measure::InterTokenLatency),
            |page| page.buckets(Measure::E2eLatency),
        ];
        for of in of {
            let (first, second) = (of(&pages[0]), of(&pages[1]));
            let (start, mut window) = (Instant::now(), Window::new(Duration::from_secs(60)));
            window.push(first, start);
            window.push(second, start + Duration::from_secs(10));
            for q in [0.5, 0.9, 0.99] {
                let Some(value) = window.quantile(q) else {
                    continue;
                };
                let expected = by_observations(q, first, second).unwrap();
                assert!(
                    (value - expected).abs() <= 0.01 * expected,
                    "{version}: {value} instead of {expected}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared >= 20, "only {compared} percentiles to compare");
}
