//! `/metrics` against what the captures imply, computed here from their text alone.

use std::collections::BTreeMap;
use std::fs;

use crate::fake::{Fake, eventually, fixture, samples};

const DECODE: &str = "sglang:realtime_tokens_total{engine_type=\"unified\",mode=\"decode\"";

/// Values in t0 and growth until t10 of what counts: totals and the parts of histograms.
fn captured(version: &str) -> BTreeMap<String, (f64, f64)> {
    let read = |name: &str| samples(&fs::read_to_string(fixture(version).join(name)).unwrap());
    let (t0, t10) = (read("metrics_load_t0.txt"), read("metrics_load_t10.txt"));
    let counts = |head: &str| {
        let name = head.split('{').next().unwrap();
        // Some gauges carry a bound too, and none of these endings.
        ["_total", "_bucket", "_count", "_sum"]
            .iter()
            .any(|ending| name.ends_with(ending))
            && !name.ends_with("req_count")
    };
    let grown = t10.into_iter().filter(|(head, _)| counts(head));
    grown
        .map(|(head, end)| (head.clone(), (t0[&head], end - t0[&head])))
        .collect()
}

/// A second is long enough for an error of a few percent to exceed the time a page takes.
fn after_a_second(fake: &Fake) {
    eventually("a second has passed", || fake.elapsed() > 1.0);
}

fn decode(page: &BTreeMap<String, f64>) -> f64 {
    *page
        .iter()
        .find(|(head, _)| head.starts_with(DECODE))
        .unwrap()
        .1
}

#[test]
fn every_counter_grows_as_the_capture_and_the_growth_imply() {
    for (version, growth) in [
        ("0.4.6.post5", 1.0),
        ("0.5.12", 7.5),
        ("0.5.23-dp2-auth", 20.0),
    ] {
        let fake = Fake::start(version, &["--growth", &growth.to_string()]);
        after_a_second(&fake);
        let before = fake.elapsed();
        let page = fake.samples();
        let after = fake.elapsed();
        let mut moved = 0;
        for (head, (start, delta)) in captured(version) {
            let at = |seconds: f64| start + delta * growth * seconds / 10.0;
            let (low, high) = (at(before), at(after));
            let value = page[&head];
            // Up to one is lost to rounding down; nothing is won.
            assert!(
                value > low - 1.0 && value <= high + 1e-6,
                "{head} {value} not in {low}..{high}"
            );
            moved += usize::from(delta > 0.0);
        }
        assert!(moved > 50, "{version}: only {moved} counters move");
    }
}

#[test]
fn unrounded_counters_are_exact() {
    let fake = Fake::start("0.5.23", &["--unrounded"]);
    after_a_second(&fake);
    let before = fake.elapsed();
    let tokens = decode(&fake.samples());
    let after = fake.elapsed();
    let (start, delta) = captured("0.5.23")
        .into_iter()
        .find(|(h, _)| h.starts_with(DECODE))
        .unwrap()
        .1;
    let (low, high) = (start + delta * before / 10.0, start + delta * after / 10.0);
    assert!(
        (low..=high).contains(&tokens),
        "{tokens} not in {low}..{high}"
    );
}

#[test]
fn a_changed_growth_counts_from_then_on() {
    let fake = Fake::start("0.5.23", &["--unrounded", "--growth", "0"]);
    let still = decode(&fake.samples());
    assert_eq!(decode(&fake.samples()), still);
    fake.tell("growth 1000");
    let first = decode(&fake.samples());
    assert!(
        (still..still + 964_500.0).contains(&first),
        "jumped from {still} to {first}"
    );
    assert!(decode(&fake.samples()) > first);
}

#[test]
fn a_restarted_server_is_another_process_on_the_same_port_counting_from_zero() {
    let fake = Fake::start("0.5.23", &[]);
    fake.tell("growth 2");
    fake.tell("withhold sglang:token_usage");
    assert!(decode(&fake.samples()) >= 15_920.0);
    let old = fake.tree();
    fake.tell("restart");
    let page = fake.samples();
    // At most five seconds of twice the captured 964.5 tokens/s.
    assert!(decode(&page) < 9645.0, "{}", decode(&page));
    assert!(
        page.keys()
            .any(|head| head.starts_with("sglang:token_usage"))
    );
    assert!(fake.tree().iter().all(|pid| !old.contains(pid)));
    let state = fake.state();
    assert_eq!(
        (state["restarts"].as_u64(), state["growth"].as_f64()),
        (Some(1), Some(2.0))
    );
    assert_eq!(fake.ask("requests"), "{\"/metrics\":2}");
}
