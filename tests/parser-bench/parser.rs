//! Measures the reader of the Prometheus text format on a captured SGLang page of 100 kB: bytes per second,
//! allocations (counted), and how it compares with the crate `prometheus-parse` on the same page, colons
//! replaced for it. Ends with 1 if a limit is missed. `cargo run --release -p parser-bench --example parser`

use std::hint::black_box;
use std::process::ExitCode;

use parser_bench::{Counted, allocations, fastest};

/// The plugin's own source: a binary has no library to link.
#[allow(dead_code)]
#[path = "../../collectors/src"]
mod plugin {
    pub mod prometheus;
}

use plugin::prometheus::{Line, Lines};

/// Least speed, in bytes per second.
const LEAST_SPEED: f64 = 300e6;
/// Least factor between the other reader's time and ours.
const LEAST_FACTOR: f64 = 20.0;

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// Reads the page as a module does, labels included; returns the samples, and something that depends on all.
fn read(page: &[u8]) -> (usize, f64) {
    let (mut samples, mut sum) = (0, 0.0);
    for line in Lines::new(page) {
        if let Line::Sample(sample) = line {
            samples += 1;
            let labels: usize = sample
                .labels()
                .map(|(name, value)| name.len() + value.len())
                .sum();
            sum += sample.value + labels as f64;
        }
    }
    (samples, sum)
}

fn read_by_the_other(page: &str) -> usize {
    let lines = page.lines().map(|line| Ok(line.to_owned()));
    prometheus_parse::Scrape::parse(lines).map_or(0, |scrape| scrape.samples.len())
}

fn main() -> ExitCode {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fixtures/sglang/0.5.23/metrics_load_t10.txt"
    );
    let page = match std::fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let before = allocations();
    let (samples, _) = black_box(read(black_box(page.as_bytes())));
    let ours_allocations = allocations() - before;
    let ours = fastest(|| {
        black_box(read(black_box(page.as_bytes())));
    });
    let theirs_page = page.replace(':', "_");
    let theirs_samples = read_by_the_other(&theirs_page);
    let before = allocations();
    black_box(read_by_the_other(&theirs_page));
    let theirs_allocations = allocations() - before;
    let theirs = fastest(|| {
        black_box(read_by_the_other(black_box(&theirs_page)));
    });
    let (speed, factor) = (page.len() as f64 / ours, theirs / ours);
    println!(
        "page               {} bytes, {samples} samples ({theirs_samples} for the other reader)",
        page.len()
    );
    println!(
        "parser             {:.0} MB/s, {:.0} ns a sample, {ours_allocations} allocations a page",
        speed / 1e6,
        ours / samples as f64 * 1e9
    );
    println!(
        "prometheus-parse   {:.1} MB/s, {theirs_allocations} allocations a page",
        page.len() as f64 / theirs / 1e6
    );
    println!("factor             {factor:.0}");
    let mut missed = false;
    for (held, limit) in [
        (speed >= LEAST_SPEED, "at least 300 MB/s"),
        (ours_allocations == 0, "no allocation"),
        (factor >= LEAST_FACTOR, "at least 20 times faster"),
        (samples > 500 && theirs_samples > 0, "both read the page"),
    ] {
        if !held {
            eprintln!("missed: {limit}");
            missed = true;
        }
    }
    ExitCode::from(u8::from(missed))
}
