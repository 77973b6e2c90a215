use std::sync::Mutex;

use super::*;
use crate::frame::Frame;
use crate::module::{Collector, Settings, Tick};
use crate::output::Output;

fn jobs() -> Jobs {
    Jobs::new(Setup {
        plugin: "rs.d",
        module: String::new(),
        heatmaps: false,
        hosts: false,
        output: Output::new(std::io::sink()),
        ticks: None,
    })
}

/// A job whose start fails, and which counts how often it was tried.
fn failing(tries: &Arc<Mutex<u32>>) -> Job {
    let tries = Arc::clone(tries);
    Job {
        name: "broken".to_owned(),
        update_every: 1,
        settings: Settings::default(),
        start: Box::new(move || {
            *tries.lock().unwrap() += 1;
            anyhow::bail!("no driver")
        }),
    }
}

fn reap_until_ended(jobs: &mut Jobs, now: Instant) {
    let began = Instant::now();
    while jobs.running() > 0 {
        assert!(began.elapsed() < Duration::from_secs(10));
        jobs.reap(now);
    }
}

#[test]
fn a_job_that_cannot_start_is_tried_again_with_growing_pauses() {
    let (mut jobs, tries, mut now) = (jobs(), Arc::new(Mutex::new(0)), Instant::now());
    let mut tried_at = vec![];
    for second in 0..200 {
        let before = *tries.lock().unwrap();
        jobs.found("nvidia", vec![failing(&tries)], now);
        reap_until_ended(&mut jobs, now);
        if *tries.lock().unwrap() > before {
            tried_at.push(second);
        }
        now += Duration::from_secs(1);
    }
    assert_eq!(tried_at, [0, 5, 15, 35, 75, 135, 195]);
}

#[test]
fn nobody_can_start_more_than_a_bounded_number_of_jobs() {
    let (mut jobs, tries) = (jobs(), Arc::new(Mutex::new(0)));
    let found = (0..1000)
        .map(|n| Job {
            name: n.to_string(),
            ..failing(&tries)
        })
        .collect();
    jobs.found("sglang", found, Instant::now());
    assert_eq!(jobs.slots.len(), MAX_JOBS_PER_MODULE);
}

#[test]
fn a_job_nobody_finds_any_more_is_forgotten() {
    let (mut jobs, tries, now) = (jobs(), Arc::new(Mutex::new(0)), Instant::now());
    jobs.found("nvidia", vec![failing(&tries)], now);
    reap_until_ended(&mut jobs, now);
    jobs.reap(now + FORGET_AFTER);
    assert!(jobs.slots.is_empty());
}

/// A job that ticks until it is stopped, and says with its revision what it runs with.
fn running(name: &str, revision: u64, told: &Arc<Mutex<Vec<u64>>>) -> Job {
    struct Idle;
    impl Collector for Idle {
        fn collect(&mut self, _: Tick, _: &mut Frame) -> anyhow::Result<()> {
            Ok(())
        }
    }
    let told = Arc::clone(told);
    Job {
        name: name.to_owned(),
        update_every: 1,
        settings: Settings {
            revision,
            ..Settings::default()
        },
        start: Box::new(move || {
            told.lock().unwrap().push(revision);
            Ok(Box::new(Idle))
        }),
    }
}

/// Reaps until `done`.
fn reap_until(jobs: &mut Jobs, now: Instant, done: impl Fn(&Jobs) -> bool) {
    let began = Instant::now();
    while !done(jobs) {
        assert!(began.elapsed() < Duration::from_secs(10));
        jobs.reap(now);
    }
}

#[test]
fn a_job_configured_otherwise_takes_the_place_of_the_one_that_runs_and_the_rest_go_on() {
    let (mut jobs, told, now) = (jobs(), Arc::new(Mutex::new(vec![])), Instant::now());
    let pair = |revision| vec![running("a", revision, &told), running("b", 7, &told)];
    jobs.found("sglang", pair(1), now);
    reap_until(&mut jobs, now, |_| told.lock().unwrap().len() == 2);
    jobs.found("sglang", pair(1), now);
    jobs.found("sglang", pair(2), now);
    reap_until(&mut jobs, now, |_| told.lock().unwrap().len() == 3);
    assert_eq!(told.lock().unwrap()[2], 2);
    assert_eq!(jobs.running(), 2);
}

#[test]
fn a_job_that_the_configuration_no_longer_wants_ends_and_others_do_not() {
    let (mut jobs, told, now) = (jobs(), Arc::new(Mutex::new(vec![])), Instant::now());
    let both = vec![running("a", 1, &told), running("b", 1, &told)];
    jobs.found("sglang", both, now);
    jobs.found("nvidia", vec![running("a", 1, &told)], now);
    let only = vec![running("b", 1, &told)];
    jobs.keep_only("sglang", &only);
    jobs.found("sglang", only, now);
    reap_until(&mut jobs, now, |jobs| jobs.slots.len() == 2);
    assert!(!jobs.slots.contains_key(&("sglang", "a".to_owned())));
    assert_eq!(jobs.running(), 2);
}

#[test]
fn a_retry_of_zero_is_no_retry_until_something_else_is_configured() {
    let (mut jobs, tries, mut now) = (jobs(), Arc::new(Mutex::new(0)), Instant::now());
    let job = |revision| Job {
        settings: Settings {
            longest_pause: Some(Duration::ZERO),
            revision,
            ..Settings::default()
        },
        ..failing(&tries)
    };
    for _ in 0..3 {
        jobs.found("nvidia", vec![job(1)], now);
        reap_until_ended(&mut jobs, now);
        now += Duration::from_secs(20);
    }
    assert_eq!(*tries.lock().unwrap(), 1);
    jobs.found("nvidia", vec![job(2)], now);
    reap_until_ended(&mut jobs, now);
    assert_eq!(*tries.lock().unwrap(), 2);
}
