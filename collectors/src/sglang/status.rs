//! What a reading of a server says in one row: for functions. Not charted; see [`super::record`].

use netdata_plugin::module::Tick;

use super::measure::Measure;
use super::record::{Reading, believed, kv_usage};
use super::state::State;
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
    }
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
        State::NoMetrics => Some(format!(
            "It was started without --enable-metrics: {}.",
            reading.server.metrics_advice()
        )),
        State::Unreachable => Some(format!("No answer: {trouble}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::{Identity, identify};

    fn of(state: State) -> inference_status::Reading {
        let Some(Identity::Server(server)) = identify("", b"python\0-m\0sglang.launch_server\0")
        else {
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
}
