//! The table of docs/nvidia.md, and average power against a ramp.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use netdata_plugin::frame::Frame;

use super::simulated::{Simulated, TWO, ranks, with};
use crate::nvidia::processes::{Names, resolve};
use crate::nvidia::record::{Instances, record};
use crate::nvidia::snapshot::Snapshot;
use crate::processes::Users;

/// Contexts with a value in any reading of a scenario, some of whose processes run.
fn charted(scenario: &str) -> BTreeSet<String> {
    let proc = ranks();
    let mut simulated = Simulated::new(&with(
        scenario,
        &format!("proc_root: {}", proc.path().display()),
    ));
    let mut reader = simulated.open().unwrap();
    let mut instances = Instances::default();
    let mut frame = Frame::default();
    let users = Users::new(Path::new("/proc"), 0);
    let names = Names {
        users: &users,
        whose: &|_| None,
    };
    let (mut contexts, mut last_new) = (BTreeSet::new(), Instant::now());
    // Rates need two readings, events begin when their thread has looked; a busy machine takes its time for both.
    while last_new.elapsed() < Duration::from_secs(4) {
        let mut gpus = simulated.read(&mut reader, 10).unwrap();
        for gpu in &mut gpus {
            let rows = gpu.processes.take().map(|read| read.rows.clone());
            gpu.processes = rows.map(|rows| resolve(rows, proc.path(), names, 10).into());
        }
        frame.clear();
        record(&Snapshot { gpus }, &mut instances, &mut frame);
        let charts = frame.charts();
        for chart in charts.filter(|chart| chart.values().any(|(_, value)| value.is_some())) {
            if contexts.insert(chart.chart().context.to_owned()) {
                last_new = Instant::now();
            }
        }
        thread::sleep(Duration::from_millis(250));
    }
    contexts
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The cells of a row.
fn cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split('|').map(str::trim).collect()
}

/// Names in backquotes.
fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split(", ")
        .map(|name| name.trim_matches('`').to_owned())
}

/// Every chart that is defined, by its context.
fn defined() -> BTreeSet<String> {
    let dir = root().join("collectors/src/nvidia/charts");
    let files = fs::read_dir(dir).unwrap();
    let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let contexts = |text: String| -> Vec<_> {
        let named = text.split("context: \"").skip(1);
        let named = named.filter_map(|rest| Some(rest.split('"').next()?.to_owned()));
        named.filter(|name| !name.is_empty()).collect()
    };
    texts.flat_map(contexts).collect()
}

#[test]
fn every_chart_is_of_a_feature_and_comes_out_of_the_board_that_supports_it() {
    let page = fs::read_to_string(root().join("docs/nvidia.md")).unwrap();
    let mut of_features = BTreeSet::new();
    let mut by_scenario: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in page.lines().filter(|line| line.contains(" | `nvidia")) {
        let cells = cells(row);
        of_features.extend(names(cells[1]));
        // Where a board alone is not enough, the row names the test that charts it.
        match names(cells[4]).next().unwrap() {
            test if test.contains('_') => assert!(is_a_test(&test), "no test {test}"),
            scenario => by_scenario
                .entry(scenario)
                .or_default()
                .extend(names(cells[1])),
        }
    }
    assert_eq!(of_features, defined(), "in the table, and defined");
    assert!(by_scenario.len() >= 8, "{by_scenario:?}");
    let of_boards = &by_scenario.values().flatten().cloned().collect();
    let page = &page;
    thread::scope(|scope| {
        for (board, column) in boards(page) {
            let expected = by_scenario.remove(&board).unwrap_or_default();
            scope.spawn(move || {
                let path = root().join(format!("tests/fake-nvml/scenarios/{board}.yaml"));
                let scenario = fs::read_to_string(path).unwrap();
                let driver = format!("driver_version: {}", column.driver);
                assert!(scenario.contains(&driver), "{board}: not {driver}");
                let there = charted(&scenario);
                let missing: Vec<_> = expected.difference(&there).collect();
                assert!(missing.is_empty(), "{board}: no {missing:?}");
                let told: BTreeSet<_> = column.cells.keys().cloned().collect();
                assert_eq!(&told, of_boards, "charts of the second table");
                for (context, word) in column.cells {
                    let is = there.contains(&context);
                    assert_eq!(word != "–", is, "{board} {context}: {word}");
                    assert!(
                        ["–", "measured", "documented", "unknown"].contains(&word.as_str()),
                        "{board} {context}: {word}"
                    );
                }
            });
        }
    });
    assert!(
        by_scenario.is_empty(),
        "not in the second table: {by_scenario:?}"
    );
}

/// What the second table says of a board.
struct Column {
    /// The beginning of its driver's version.
    driver: String,
    /// By context.
    cells: BTreeMap<String, String>,
}

/// The second table, by scenario.
fn boards(page: &str) -> BTreeMap<String, Column> {
    let mut rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| chart |"));
    let header = cells(rows.next().unwrap());
    let mut boards: Vec<_> = header[1..]
        .iter()
        .map(|cell| {
            let (board, driver) = cell.split_once(", ").unwrap();
            let (board, driver) = (board.trim_matches('`').to_owned(), driver.to_owned());
            let cells = BTreeMap::new();
            (board, Column { driver, cells })
        })
        .collect();
    for row in rows.skip(1).take_while(|row| row.starts_with('|')) {
        let cells = cells(row);
        for context in names(cells[0]) {
            for ((_, column), word) in boards.iter_mut().zip(&cells[1..]) {
                column.cells.insert(context.clone(), (*word).to_owned());
            }
        }
    }
    boards.into_iter().collect()
}

/// Whether a test of that name is somewhere below the plugin's sources and tests.
fn is_a_test(name: &str) -> bool {
    fn below(dir: &Path, name: &str) -> bool {
        fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return below(&path, name);
            }
            let source = path.extension().is_some_and(|kind| kind == "rs");
            source && fs::read_to_string(&path).unwrap().contains(name)
        })
    }
    let collectors = root().join("collectors");
    below(&collectors.join("src"), name) || below(&collectors.join("tests"), name)
}

#[test]
fn average_power_follows_a_ramp_of_energy_within_half_a_per_cent() {
    let ramp = TWO.replace(
        "power_w: 300",
        "power_w: {ramp: {from: 100, to: 700, period_s: 5}}",
    );
    let mut simulated = Simulated::new(&ramp);
    let mut reader = simulated.open().unwrap();
    let first = simulated.read(&mut reader, 0).unwrap()[0]
        .fast
        .energy_mj
        .unwrap();
    let (mut before, mut joules) = (Instant::now(), 0.0);
    let mut last = first;
    for _ in 0..25 {
        thread::sleep(Duration::from_millis(100));
        let gpus = simulated.read(&mut reader, 1).unwrap();
        let now = Instant::now();
        last = gpus[0].fast.energy_mj.unwrap();
        let watts = gpus[0].fast.average_power_w.unwrap();
        joules += watts * now.duration_since(before).as_secs_f64();
        before = now;
    }
    let counted = (last - first) as f64 / 1000.0;
    let error = (joules / counted - 1.0).abs();
    eprintln!(
        "{joules:.2} J charted, {counted:.2} J counted: {:.3} %",
        error * 100.0
    );
    assert!(error < 0.005, "{joules} J charted, {counted} J counted");
}
