//! Keeps replayed histograms possible: a bucket never counts more than the next, nor the last more
//! than `_count`. Captures are read while a server counts, so nothing guarantees it for any growth.

use std::collections::BTreeMap;

use super::series::{self, Kind, Series};

/// Settles the buckets of one histogram family, and says how they grow when requests are slower.
pub fn settle(family: &mut [Series]) {
    let mut groups: BTreeMap<String, Vec<(f64, usize)>> = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (index, series) in family.iter().enumerate() {
        if series.kind == Kind::Bucket {
            if let Some((rest, le)) = split_le(&series.head) {
                groups.entry(rest).or_default().push((le, index));
            }
        } else if series::name(&series.head).ends_with("_count") {
            counts.insert(labels(&series.head), index);
        }
    }
    for (group, mut buckets) in groups {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (mut first, mut delta, mut faster) = (0.0_f64, 0.0_f64, 0.0);
        let count = counts.get(&group).map(|&index| (f64::INFINITY, index));
        for (le, index) in buckets.into_iter().chain(count) {
            let series = &mut family[index];
            (first, delta) = (first.max(series.first), delta.max(series.delta()));
            (series.first, series.last) = (first, first + delta);
            let shifts = series::in_seconds(&series.head) && le.is_finite();
            series.slow_delta = if shifts { faster } else { delta };
            faster = delta;
        }
    }
}

/// The labels of a bucket without `le`, and the bound that `le` gives.
fn split_le(head: &str) -> Option<(String, f64)> {
    let labels = labels(head);
    let start = match labels.find(",le=\"") {
        Some(comma) => comma + 1,
        None if labels.starts_with("le=\"") => 0,
        None => return None,
    };
    let (bound, rest) = labels[start + 4..].split_once('"')?;
    let bound = match bound {
        "+Inf" => f64::INFINITY,
        number => number.parse().ok()?,
    };
    let before = labels[..start].trim_end_matches(',');
    let after = rest.trim_start_matches(',');
    let comma = if before.is_empty() || after.is_empty() {
        ""
    } else {
        ","
    };
    Some((format!("{before}{comma}{after}"), bound))
}

fn labels(head: &str) -> String {
    let inside = head.split_once('{').map_or("", |(_, rest)| rest);
    inside.strip_suffix('}').unwrap_or(inside).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::load::Progress;
    use super::super::series::Moment;
    use super::*;

    fn bucket(le: &str, t0: &str, t10: &str) -> Series {
        let head = format!("ttft_seconds_bucket{{a=\"x\",le=\"{le}\",m=\"y\"}}");
        Series::new(head, Kind::Bucket, Some(t0), Some(t10))
    }

    fn count(t0: &str, t10: &str) -> Series {
        let head = "ttft_seconds_count{a=\"x\",m=\"y\"}".to_owned();
        Series::new(head, Kind::Counter, Some(t0), Some(t10))
    }

    fn values(family: &[Series], fast: f64, slow: f64) -> Vec<f64> {
        let moment = Moment {
            progress: Progress {
                fast,
                slow,
                late: 0.0,
            },
            prefill_since: None,
            swing: None,
            from_zero: false,
            unrounded: false,
        };
        family
            .iter()
            .map(|series| series.text(&moment).parse().unwrap())
            .collect()
    }

    #[test]
    fn the_bound_is_found_wherever_it_stands_among_the_labels() {
        let split = |head| split_le(head).unwrap();
        assert_eq!(split("x_bucket{le=\"0.1\"}"), (String::new(), 0.1));
        assert_eq!(
            split("x_bucket{a=\"b\",le=\"+Inf\"}"),
            ("a=\"b\"".into(), f64::INFINITY)
        );
        assert_eq!(split("x_bucket{le=\"2\",z=\"1\"}"), ("z=\"1\"".into(), 2.0));
        assert_eq!(
            split("x{a=\"1\",le=\"2\",z=\"1\"}"),
            ("a=\"1\",z=\"1\"".into(), 2.0)
        );
        assert_eq!(split_le("x{scale=\"1\"}"), None);
    }

    #[test]
    fn a_capture_read_while_counting_still_gives_possible_histograms_at_any_growth() {
        let mut family = [
            bucket("0.1", "5", "9"),
            bucket("0.2", "6", "9"),
            bucket("+Inf", "6", "8"),
            count("6", "8"),
        ];
        settle(&mut family);
        for progress in [0.0, 0.3, 1.0, 77.7] {
            let seen = values(&family, progress, 0.0);
            assert!(seen.is_sorted(), "{seen:?}");
            assert_eq!(seen[2], seen[3]);
        }
    }

    #[test]
    fn a_consistent_capture_is_left_as_it_is() {
        let mut family = [
            bucket("0.1", "5", "6"),
            bucket("+Inf", "7", "9"),
            count("7", "9"),
        ];
        settle(&mut family);
        assert_eq!(values(&family, 1.0, 0.0), [6.0, 9.0, 9.0]);
    }

    #[test]
    fn slow_requests_fall_into_the_next_bucket_and_none_is_lost() {
        let mut family = [
            bucket("0.1", "0", "4"),
            bucket("0.2", "0", "6"),
            bucket("0.4", "0", "6"),
            bucket("+Inf", "0", "7"),
            count("0", "7"),
        ];
        settle(&mut family);
        assert_eq!(values(&family, 0.0, 1.0), [0.0, 4.0, 6.0, 7.0, 7.0]);
        assert_eq!(values(&family, 1.0, 1.0), [4.0, 10.0, 12.0, 14.0, 14.0]);
    }
}
