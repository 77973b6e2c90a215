use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn buckets(counts: &[(f64, f64)], sum: f64) -> Buckets {
    let mut buckets = Buckets {
        sum: Some(sum),
        count: Some(Counter {
            total: counts.last().map_or(0.0, |last| last.1),
            series: 1,
        }),
        ..Buckets::default()
    };
    for (bound, cumulative) in counts {
        buckets.add(*bound, *cumulative);
    }
    buckets
}

/// Buckets at 0.1 s, 1 s and beyond with that many observations each, not cumulative.
fn three(low: f64, middle: f64, high: f64) -> Buckets {
    let counts = [
        (0.1, low),
        (1.0, low + middle),
        (f64::INFINITY, low + middle + high),
    ];
    buckets(&counts, 0.05 * low + 0.5 * middle + 2.0 * high)
}

/// The window after pushes 5 s apart; `None` is a scrape that failed.
fn after(scrapes: &[Option<Buckets>]) -> Window {
    let (start, mut window) = (Instant::now(), Window::new(MINUTE));
    for (i, scrape) in scrapes.iter().enumerate() {
        let now = start + Duration::from_secs(5 * i as u64);
        match scrape {
            Some(buckets) => window.push(buckets, now),
            None => window.miss(now),
        }
    }
    window
}

fn rates(window: &Window) -> Vec<Option<f64>> {
    window.distribution().map(|(_, rate)| rate).collect()
}

#[test]
fn what_was_there_before_the_first_scrape_does_not_count() {
    let first = after(&[Some(three(900.0, 0.0, 0.0))]);
    assert_eq!(first.observations(), None);
    assert_eq!(rates(&first), [None; 3]);
    let second = after(&[Some(three(900.0, 0.0, 0.0)), Some(three(910.0, 20.0, 0.0))]);
    assert_eq!(second.observations(), Some(30.0));
    assert_eq!(rates(&second), [Some(2.0), Some(4.0), Some(0.0)]);
    let average = second.average().unwrap();
    assert!((average - 10.5 / 30.0).abs() < 1e-9, "{average}");
}

#[test]
fn a_percentile_needs_an_observation_beyond_it() {
    let with = |count| {
        let window = after(&[Some(three(0.0, 0.0, 0.0)), Some(three(count, 0.0, 0.0))]);
        [0.5, 0.9, 0.99].map(|q| window.quantile(q).is_some())
    };
    assert_eq!(with(0.0), [false, false, false]);
    assert_eq!(with(1.0), [false, false, false]);
    assert_eq!(with(2.0), [true, false, false]);
    assert_eq!(with(10.0), [true, true, false]);
    assert_eq!(with(99.0), [true, true, false]);
    assert_eq!(with(100.0), [true, true, true]);
}

#[test]
fn percentiles_interpolate_and_end_at_the_last_bound() {
    let window = after(&[Some(three(0.0, 0.0, 0.0)), Some(three(50.0, 40.0, 10.0))]);
    let at = |q| window.quantile(q).unwrap();
    assert!((at(0.25) - 0.05).abs() < 1e-9);
    assert!((at(0.7) - 0.55).abs() < 1e-9);
    assert!((at(0.99) - 1.0).abs() < 1e-9);
}

#[test]
fn the_share_under_a_threshold_is_counted_at_the_nearest_bound() {
    let window = after(&[Some(three(0.0, 0.0, 0.0)), Some(three(6.0, 3.0, 1.0))]);
    for (threshold, edge, share) in [
        (0.02, 0.1, 0.6),
        (0.5, 0.1, 0.6),
        (0.9, 1.0, 0.9),
        (60.0, 1.0, 0.9),
    ] {
        assert_eq!(window.edge(threshold), Some(edge));
        assert_eq!(window.share(edge), Some(share));
    }
    assert_eq!(Window::new(MINUTE).edge(1.0), None);
    assert_eq!(after(&[Some(three(1.0, 1.0, 1.0))]).share(1.0), None);
}

#[test]
fn after_a_minute_an_observation_is_forgotten() {
    let mut scrapes = vec![Some(three(0.0, 0.0, 0.0))];
    scrapes.extend(vec![Some(three(30.0, 0.0, 0.0)); 12]);
    assert_eq!(after(&scrapes).observations(), Some(30.0));
    scrapes.push(Some(three(30.0, 0.0, 0.0)));
    assert_eq!(after(&scrapes).observations(), Some(0.0));
    assert_eq!(after(&scrapes).average(), None);
}

#[test]
fn a_reset_and_other_buckets_empty_the_window() {
    let before = [Some(three(0.0, 0.0, 0.0)), Some(three(200.0, 0.0, 0.0))];
    let reset = after(&[&before[..], &[Some(three(5.0, 0.0, 0.0))]].concat());
    assert_eq!(reset.observations(), None);
    assert_eq!(rates(&reset), [None; 3]);
    let others = Some(buckets(&[(0.2, 300.0), (f64::INFINITY, 300.0)], 1.0));
    let others = after(&[&before[..], &[others]].concat());
    assert_eq!(others.observations(), None);
}

#[test]
fn a_histogram_that_was_away_returns_without_a_spike() {
    let away = Some(Buckets::default());
    let window = after(&[
        Some(three(0.0, 0.0, 0.0)),
        Some(three(10.0, 0.0, 0.0)),
        away,
        None,
        Some(three(5000.0, 0.0, 0.0)),
    ]);
    assert_eq!(window.observations(), Some(10.0));
    assert_eq!(rates(&window), [None; 3]);
}

#[test]
fn a_series_more_starts_anew() {
    let mut more = three(5000.0, 0.0, 0.0);
    more.count = Some(Counter {
        total: 5000.0,
        series: 2,
    });
    let window = after(&[
        Some(three(0.0, 0.0, 0.0)),
        Some(three(10.0, 0.0, 0.0)),
        Some(more),
    ]);
    assert_eq!(window.observations(), None);
}
