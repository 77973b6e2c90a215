//! Windows over made-up readings and pages.

use proptest::prelude::*;

use super::*;

const FRESH: Duration = Duration::from_secs(15);

fn counter(total: f64) -> Option<Counter> {
    Some(Counter { total, series: 7 })
}

fn done(at: Instant, tokens: f64) -> Done {
    Done {
        at,
        counters: "realtime",
        output: counter(tokens),
        computed: counter(tokens * 5.0),
        requests: counter(tokens / 100.0),
    }
}

/// A server that draws `watts` (a third of them idle), read every second, and makes `rate` tokens a second, told by a
/// page every five seconds.
struct Played {
    window: Window,
    start: Instant,
    total: Total,
    second: u64,
    tokens: f64,
}

impl Played {
    fn new() -> Self {
        Self {
            window: Window::default(),
            start: Instant::now(),
            total: Total::default(),
            second: 0,
            tokens: 0.0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_secs(self.second)
    }

    fn run(&mut self, seconds: u64, watts: u64, rate: f64) {
        for _ in 0..seconds {
            self.second += 1;
            self.tokens += rate;
            self.total.part.active_mj += watts * 1000 * 2 / 3;
            self.total.part.idle_mj += watts * 1000 / 3;
            self.total.moves += 1;
            self.total.gpu_seconds += 2.0;
            self.window.used(&self.total, self.now());
            if self.second.is_multiple_of(5) {
                // The page comes a little later than the reading.
                let later = Duration::from_millis(300);
                self.window
                    .did(done(self.now() + later, self.tokens + rate * 0.3));
            }
        }
    }

    fn gain(&self) -> Option<Gain> {
        self.window.gain(self.now(), FRESH)
    }
}

fn near(value: f64, expected: f64) -> bool {
    (value / expected - 1.0).abs() < 1e-9
}

#[test]
fn a_minute_of_energy_goes_over_the_tokens_of_that_minute() {
    let mut played = Played::new();
    played.run(60, 600, 100.0);
    assert_eq!(played.gain(), None);
    played.run(6, 600, 100.0);
    let gain = played.gain().unwrap();
    let tokens = gain.output.unwrap();
    assert!(near(gain.all_j / tokens, 6.0), "{gain:?}");
    assert!(near(gain.active_j.unwrap() / tokens, 4.0), "{gain:?}");
    assert!(near(gain.all_j / gain.computed.unwrap(), 1.2));
    assert!(near(gain.all_j / gain.requests.unwrap(), 600.0));
    assert!(near(gain.gpu_seconds, 120.0), "{gain:?}");
}

#[test]
fn a_ramp_of_power_is_compared_with_the_tokens_of_the_same_moments() {
    let mut played = Played::new();
    for second in 0..120 {
        played.run(1, 300 + 3 * second, 100.0);
    }
    played.run(1, 0, 100.0);
    let gain = played.gain().unwrap();
    // The window ends at 120.3 s and begins at 60.3 s.
    let joules: f64 = (60..120).map(|second| f64::from(300 + 3 * second)).sum();
    let ends = 0.3 * 480.0;
    assert!((gain.all_j - (joules - ends)).abs() < 1.0, "{gain:?}");
    assert!(near(gain.output.unwrap(), 6000.0));
}

#[test]
fn no_tokens_are_a_gap_and_their_joules_burden_nobody_later() {
    let mut played = Played::new();
    played.run(200, 600, 0.0);
    let gain = played.gain().unwrap();
    assert_eq!(
        (gain.output, gain.computed, gain.requests),
        (None, None, None)
    );
    played.run(70, 600, 100.0);
    let gain = played.gain().unwrap();
    assert!(near(gain.all_j / gain.output.unwrap(), 6.0), "{gain:?}");
}

#[test]
fn a_slow_counter_needs_a_longer_window() {
    let mut played = Played::new();
    for _ in 0..15 {
        played.run(10, 600, 100.0);
        played.total.moves -= 9;
    }
    let gain = played.gain().unwrap();
    assert!(gain.output.unwrap() >= 10_000.0, "{gain:?}");
}

#[test]
fn a_counter_set_back_and_an_interruption_begin_anew() {
    let mut played = Played::new();
    played.run(100, 600, 100.0);
    assert!(played.gain().is_some());
    played.tokens = 0.0;
    played.run(30, 600, 100.0);
    assert_eq!(played.gain(), None);
    played.run(40, 600, 100.0);
    assert!(near(played.gain().unwrap().output.unwrap(), 6000.0));
    played.window.interrupt();
    assert_eq!(played.gain(), None);
}

#[test]
fn without_a_known_idle_power_the_active_part_is_unknown_and_all_is_not() {
    let mut played = Played::new();
    played.run(70, 600, 100.0);
    played.total.part.undivided_mj += 1;
    played.run(10, 600, 100.0);
    let gain = played.gain().unwrap();
    assert_eq!(gain.active_j, None);
    assert!(gain.output.is_some());
}

#[test]
fn other_series_and_old_pages_say_nothing() {
    let mut played = Played::new();
    played.run(60, 600, 100.0);
    let mut other = done(played.now() + Duration::from_secs(8), 1e6);
    other.output = Some(Counter {
        total: 1e6,
        series: 8,
    });
    played.window.did(other);
    played.second += 10;
    played.window.used(&played.total, played.now());
    let gain = played.gain().unwrap();
    assert_eq!(gain.output, None);
    assert!(gain.computed.is_some());
    played.second += 20;
    assert_eq!(played.gain(), None);
}

proptest! {
    #[test]
    fn memory_is_bounded_and_gains_are_never_negative(
        steps in prop::collection::vec((1_u64..30, 0_u64..5, -10.0_f64..100.0, any::<bool>()), 0..900),
    ) {
        let (mut window, start) = (Window::default(), Instant::now());
        let (mut total, mut at, mut tokens) = (Total::default(), start, 1e4);
        for (deciseconds, moves, gained, paged) in steps {
            at += Duration::from_millis(deciseconds * 100);
            total.part.active_mj += moves * 1000;
            total.moves += moves;
            window.used(&total, at);
            tokens += gained;
            if paged {
                window.did(done(at - Duration::from_millis(50), tokens));
            }
            prop_assert!(window.points.len() <= POINTS && window.samples.len() <= MAX_SAMPLES + 1);
            if let Some(gain) = window.gain(at, FRESH) {
                prop_assert!(gain.all_j >= 0.0 && gain.output.is_none_or(|tokens| tokens > 0.0));
            }
        }
    }
}
