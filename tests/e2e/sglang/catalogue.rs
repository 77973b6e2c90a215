//! Every chart that a version supports is there, and shows what the table of formulas computes from its capture.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::ensure;
use harness::capture::{Capture, agrees};
use harness::formula::{buckets, evaluate, label_sets, metrics, values_of};

use super::{GROWTH, LONGEST_INTERVALS, PLAYED, Scene, VERSIONS};

/// The formulas.
const CATALOGUE: &str = include_str!("catalogue.txt");
/// Charts of each of [`VERSIONS`], those of single ranks and of metrics without a chart of their own included.
const CHARTS: [usize; 4] = [27, 49, 61, 70];
/// One per cent.
const TOLERANCE: f64 = 0.01;
/// Charts have three decimals.
const LAST_DECIMAL: f64 = 0.0006;
/// The window of percentiles, in seconds, and the time after which it is full.
const WINDOW: f64 = 60.0;
const WINDOW_IS_FULL: Duration = Duration::from_secs(75);
/// A scrape that is late makes one rate too low and the next too high: the median of so many values counts.
const VALUES: usize = 5;

/// What a dimension has to show.
enum Expected {
    Is(f64),
    /// Our own clock's.
    Between(f64, f64),
    /// So many observations a second, over the window.
    InWindow(f64),
}

/// Dimensions by name, by chart.
type Charts = BTreeMap<String, BTreeMap<String, Expected>>;

/// Every chart of the version, no other, and every dimension within a hundredth.
pub fn is_there_and_right(scene: &Scene, version: usize) -> anyhow::Result<()> {
    let (name, server) = (VERSIONS[version], &scene.versions[version]);
    let capture = Capture::read(&server.capture)?.at_growth(GROWTH);
    let expected = expected(&capture)?;
    scene.wait_until(WINDOW_IS_FULL);
    let prefix = format!("sglang_{}.", server.port);
    let charts = scene.instance.api().charts()?;
    let charted: BTreeSet<_> = charts
        .keys()
        .filter_map(|id| id.strip_prefix(&prefix))
        .collect();
    let wanted: BTreeSet<_> = expected.keys().map(String::as_str).collect();
    let missing: Vec<_> = wanted.difference(&charted).collect();
    let unknown: Vec<_> = charted.difference(&wanted).collect();
    ensure!(
        missing.is_empty() && unknown.is_empty(),
        "{name}: charts that are missing: {missing:?}, that are in no table: {unknown:?}"
    );
    ensure!(
        wanted.len() == CHARTS[version],
        "{name}: the table has {} charts",
        wanted.len()
    );
    let interval = scene.newest(server, "scrape_interval", "interval")?.1;
    let (mut compared, mut windows, mut wrong) = (0, vec![], vec![]);
    for (chart, dims) in &expected {
        let id = format!("{prefix}{chart}");
        let series = scene.instance.api().series(&id, LONGEST_INTERVALS)?;
        let mut shown = BTreeMap::new();
        for dim in &series.dims {
            let values = series.values(dim)?;
            if !values.is_empty() {
                shown.insert(dim.as_str(), values);
            }
        }
        for dim in shown.keys().filter(|dim| !dims.contains_key(**dim)) {
            wrong.push(format!("{chart}: {dim:?} is in no table"));
        }
        for (dim, expected) in dims {
            let Some(values) = shown.get(dim.as_str()) else {
                wrong.push(format!("{chart} {dim}: no value"));
                continue;
            };
            let value = median(values);
            compared += 1;
            let right = match *expected {
                Expected::Is(expected) => {
                    // A number wrong by a twentieth must not pass, whatever the code under test thinks.
                    ensure!(
                        expected.abs() < 0.05 || !is(expected * 1.05, expected),
                        "the comparison cannot fail"
                    );
                    is(value, expected)
                }
                Expected::Between(low, high) => (low..=high).contains(&value),
                Expected::InWindow(rate) => {
                    let newest = values.last().copied().unwrap_or(f64::NAN);
                    windows.push((chart, newest / rate));
                    // What is as old as the window has just left it, or leaves it with the next scrape, which may be late.
                    let most = (WINDOW + 1.5 * interval) * (1.0 + TOLERANCE);
                    (WINDOW * (1.0 - TOLERANCE)..=most).contains(&(newest / rate))
                }
            };
            if !right {
                let expected = match expected {
                    Expected::Is(expected) => format!("{expected}"),
                    Expected::Between(low, high) => format!("{low} to {high}"),
                    Expected::InWindow(rate) => {
                        let newest = values.last();
                        format!(
                            "{rate} a second in {WINDOW} s, every {interval} s, newest {newest:?}"
                        )
                    }
                };
                wrong.push(format!("{chart} {dim}: {value} instead of {expected}"));
            }
        }
    }
    // Whatever they count, they counted it in the same time, but for a scrape between two questions.
    let (least, most) = windows.iter().fold((f64::MAX, 0.0_f64), |(low, high), it| {
        (low.min(it.1), high.max(it.1))
    });
    if most > least * (1.0 + TOLERANCE) + interval {
        wrong.push(format!("windows of different lengths: {windows:?}"));
    }
    eprintln!(
        "{name}: {} charts, {compared} dimensions compared, {} wrong",
        wanted.len(),
        wrong.len()
    );
    ensure!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
    Ok(())
}

/// Every metric of every capture stands in the table: one that gets a chart cannot be forgotten.
pub fn table_is_whole() -> anyhow::Result<()> {
    let mut known = BTreeSet::new();
    for row in rows() {
        known.extend(match row {
            ["-", name, _] => BTreeSet::from([name.to_owned()]),
            [_, _, formula] => metrics(formula),
        });
    }
    for version in PLAYED.iter().chain(&VERSIONS[3..]) {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/sglang/");
        let capture = Capture::read(&std::path::Path::new(dir).join(version))?;
        for name in capture.names() {
            let endings = ["_bucket", "_sum", "_count"];
            let base = endings.iter().find_map(|end| name.strip_suffix(end));
            ensure!(
                known.contains(name) || base.is_some_and(|base| known.contains(base)),
                "{version}: {name} is not in the table of charts"
            );
        }
    }
    Ok(())
}

/// What the table says of a capture.
fn expected(capture: &Capture) -> anyhow::Result<Charts> {
    let mut charts = Charts::new();
    let ranks = values_of("dp_rank", "sum(num_running_reqs)", capture);
    for [chart, dim, formula] in rows().filter(|[chart, ..]| *chart != "-") {
        if !chart.contains('$') {
            add(&mut charts, chart, dim, formula, capture)?;
            continue;
        }
        for rank in ranks.iter().filter(|_| ranks.len() > 1) {
            let [chart, formula] = [chart, formula].map(|text| text.replace('$', rank));
            add(&mut charts, &chart, dim, &formula, capture)?;
        }
    }
    Ok(charts)
}

fn add(
    charts: &mut Charts,
    chart: &str,
    dim: &str,
    formula: &str,
    capture: &Capture,
) -> anyhow::Result<()> {
    let mut found: Vec<(String, Option<Expected>)> = vec![];
    let value = |formula: &str| evaluate(formula, capture);
    if let Some((low, high)) = formula.split_once(" .. ") {
        found.push((
            dim.to_owned(),
            Some(Expected::Between(low.parse()?, high.parse()?)),
        ));
    } else if dim == "<le>" {
        for (bound, rate) in buckets(formula, capture) {
            let name = if bound.is_infinite() {
                "+Inf".to_owned()
            } else {
                bound.to_string()
            };
            found.push((name, Some(Expected::Is(rate))));
        }
    } else if dim == "@" {
        for (name, conditions) in label_sets(formula, capture) {
            let formula = formula.replace('@', &conditions);
            found.push((name, value(&formula)?.map(Expected::Is)));
        }
    } else if let Some(label) = dim.strip_prefix('[') {
        for name in values_of(label.trim_end_matches(']'), formula, capture) {
            let formula = formula.replace('$', name);
            found.push((name.to_owned(), value(&formula)?.map(Expected::Is)));
        }
    } else {
        let is = if dim == "in_window" {
            Expected::InWindow
        } else {
            Expected::Is
        };
        found.push((dim.to_owned(), value(formula)?.map(is)));
    }
    for (dim, expected) in found {
        if let Some(expected) = expected {
            let dims = charts.entry(chart.to_owned()).or_default();
            let twice = dims.insert(dim, expected).is_some();
            ensure!(!twice, "{chart} has a dimension twice");
        }
    }
    Ok(())
}

/// Chart, dimension and formula; or `-`, a metric and the reason why it has no chart.
fn rows() -> impl Iterator<Item = [&'static str; 3]> {
    let lines = CATALOGUE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| {
        let (first, rest) = line.split_once(' ')?;
        let (second, third) = rest.trim_start().split_once(' ')?;
        Some([first, second, third.trim()])
    })
}

fn is(value: f64, expected: f64) -> bool {
    agrees(value, expected, TOLERANCE) || (value - expected).abs() <= LAST_DECIMAL
}

/// Of the newest values.
fn median(values: &[f64]) -> f64 {
    let mut newest: Vec<_> = values.iter().rev().take(VALUES).copied().collect();
    newest.sort_by(f64::total_cmp);
    newest.get(newest.len() / 2).copied().unwrap_or(f64::NAN)
}
