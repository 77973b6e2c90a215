//! What a reading of a server says in one row: for functions. Not charted; see [`super::record`].

use netdata_plugin::module::Tick;

use super::measure::Measure;
use super::record::{Page, Reading, believed, kv_usage};
use super::state::State;
use super::throughput::Source;
use crate::histogram::Counter;
use crate::inference_status::{self, Urgency};

/// The row of the reading of a tick. `trouble` is why there was no answer.
#[must_use]
pub fn status(reading: &Reading<'_>, tick: Tick, trouble: &str) -> inference_status::Reading {
    let page = reading.page.as_ref();
    let gauge = |value| page.and_then(|page| believed(value, page.fresh));
    let ms = |seconds: f64| seconds * 1e3;
    inference_status::Reading {
        taken: tick.now,
        every: tick.every,
        engine: reading.server.engine,
        model: reading.server.model.clone(),
        version: page
            .and_then(|page| page.snapshot.version)
            .map(|version| format!("{version} or newer")),
        state: reading.state.name(),
        urgency: urgency(reading.state),
        running: gauge(page.and_then(|page| page.snapshot.running)),
        queued: gauge(page.and_then(|page| page.snapshot.queued)),
        tokens_per_second: page.and_then(|page| page.history.tokens().decode),
        ttft_p99_ms: page
            .and_then(|page| {
                page.history
                    .window(Measure::TimeToFirstToken)
                    .quantile(0.99)
            })
            .map(ms),
        kv_cache_pct: gauge(page.and_then(|page| kv_usage(page.snapshot))),
        missing: missing(reading, trouble),
        done: page.and_then(done),
    }
}

/// The counters of what it has done. Those that count while it works are preferred; the others count a request
/// when it ends. Never counted by latencies' observations, which are not one a token.
fn done(page: &Page<'_>) -> Option<inference_status::Done> {
    let source = page.history.counters()?;
    let it = page.snapshot;
    // A counter appears with its first event.
    let absent_is_zero = |counter: Option<Counter>| counter.unwrap_or_default();
    let (output, prompt) = match source {
        Source::Realtime => (it.realtime.decode, it.realtime.prefill_compute),
        Source::Finished => {
            let cached = absent_is_zero(it.cached_tokens);
            let computed = it.prompt_tokens.map(|prompt| Counter {
                total: prompt.total - cached.total,
                series: both(prompt.series, cached.series),
            });
            (it.generation_tokens, computed)
        }
    };
    let prompt = absent_is_zero(prompt);
    Some(inference_status::Done {
        at: page.at,
        counters: source.name(),
        output,
        computed: output.map(|output| Counter {
            total: output.total + prompt.total,
            series: both(output.series, prompt.series),
        }),
        requests: it.requests,
    })
}

/// The identity of two sets of series, told apart by their order.
fn both(first: u64, second: u64) -> u64 {
    first.rotate_left(1) ^ second
}

fn urgency(state: State) -> Urgency {
    match state {
        State::Starting | State::Ready => Urgency::Normal,
        State::NoMetrics => Urgency::Notice,
        State::Unreachable => Urgency::Warning,
        State::Stalled => Urgency::Error,
    }
}

/// Why metrics are missing, and how to get them.
fn missing(reading: &Reading<'_>, trouble: &str) -> Option<String> {
    match reading.state {
        State::Ready | State::Stalled => None,
        State::Starting => Some("It does not listen yet: they come by themselves.".to_owned()),
        State::NoMetrics => {
            let advice = reading.server.metrics_advice();
            let what = if reading.server.metrics {
                "It shows no metrics"
            } else {
                "It was started without --enable-metrics"
            };
            Some(format!("{what}: {advice}."))
        }
        State::Unreachable => Some(format!("No answer: {trouble}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::history::History;
    use super::super::slo::Slo;
    use super::super::snapshot::Snapshot;
    use super::*;
    use crate::engine::{Identity, identify};

    fn of(state: State) -> inference_status::Reading {
        let Some(Identity::Server(server)) = identify(b"python\0-m\0sglang.launch_server\0") else {
            panic!("no server");
        };
        let reading = Reading {
            server: &server,
            state,
            page: None,
        };
        let tick = Tick {
            now: Instant::now(),
            every: Duration::from_secs(5),
            count: 0,
        };
        status(&reading, tick, "refused")
    }

    #[test]
    fn without_a_page_every_number_is_unknown_and_the_reason_is_told() {
        let row = of(State::NoMetrics);
        assert_eq!((row.state, row.urgency), ("no_metrics", Urgency::Notice));
        let numbers = [
            row.running,
            row.queued,
            row.tokens_per_second,
            row.ttft_p99_ms,
            row.kv_cache_pct,
        ];
        assert_eq!(numbers, [None; 5]);
        assert_eq!(row.version, None);
        assert!(row.missing.unwrap().contains("--enable-metrics"));
        let unreachable = of(State::Unreachable);
        assert_eq!(unreachable.missing.as_deref(), Some("No answer: refused"));
        assert_eq!(of(State::Stalled).missing, None);
    }

    fn done_of(snapshot: &Snapshot) -> Option<inference_status::Done> {
        let (mut history, at) = (History::new(Duration::from_secs(60)), Instant::now());
        history.take(snapshot, at);
        let page = Page {
            snapshot,
            history: &history,
            slo: Slo::default(),
            fresh: true,
            at,
            took: Duration::ZERO,
            every: Duration::from_secs(5),
        };
        done(&page)
    }

    #[test]
    fn work_is_counted_while_it_is_done_or_else_when_requests_end() {
        let counter = |total, series| Some(Counter { total, series });
        let mut page = Snapshot {
            series: 9,
            prompt_tokens: counter(700.0, 1),
            cached_tokens: counter(300.0, 2),
            generation_tokens: counter(50.0, 3),
            requests: counter(4.0, 4),
            ..Snapshot::default()
        };
        let total = |counter: Option<Counter>| counter.map(|it| it.total);
        let finished = done_of(&page).unwrap();
        assert_eq!(finished.counters, "finished");
        assert_eq!(total(finished.output), Some(50.0));
        assert_eq!(total(finished.computed), Some(450.0));
        assert_eq!(total(finished.requests), Some(4.0));
        // Cached tokens that appear are another sum.
        page.cached_tokens = None;
        let before = done_of(&page).unwrap();
        assert_ne!(
            before.computed.map(|it| it.series),
            finished.computed.map(|it| it.series)
        );
        page.realtime.prefill_compute = counter(410.0, 5);
        page.realtime.decode = counter(60.0, 6);
        let realtime = done_of(&page).unwrap();
        assert_eq!(realtime.counters, "realtime");
        assert_eq!(
            (total(realtime.output), total(realtime.computed)),
            (Some(60.0), Some(470.0))
        );
        page.realtime.decode = None;
        page.counts_http = true;
        assert_eq!(done_of(&page).unwrap().output, None);
    }
}
