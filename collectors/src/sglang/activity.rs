//! Whether the engine moves. Gauges are stale when idle and counters tell the truth: a gauge is believed
//! for a while after anything of the engine has moved.

use std::time::{Duration, Instant};

use super::measure::Measure;
use super::snapshot::Snapshot;
use crate::engine::{Role, Tree};
use crate::histogram::Counter;
use crate::processes::Files;

/// Age up to which a gauge other than 0 is believed. Up to 0.5.14 they are refreshed 30 s after the last
/// batch; 12 s after the end of all load real servers still showed running requests.
const FRESH: Duration = Duration::from_secs(45);
/// Demand without any movement after which the engine is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(60);
/// A scheduler in uninterruptible sleep for so long hangs in the driver or on a disk.
const UNINTERRUPTIBLE_AFTER: Duration = Duration::from_secs(15);

/// An interval from which on one look at a stopped scheduler is enough.
const LONG_INTERVAL: Duration = Duration::from_secs(30);

/// What moves when the engine does.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pulse([Option<f64>; 12]);

impl Pulse {
    fn of(snapshot: &Snapshot) -> Self {
        let total = |counter: Option<Counter>| counter.map(|it| it.total);
        let count = |histogram: &super::snapshot::Histogram| total(histogram.all.count);
        Self([
            total(snapshot.realtime.prefill_compute),
            total(snapshot.realtime.prefill_cache),
            total(snapshot.realtime.decode),
            total(snapshot.prompt_tokens),
            total(snapshot.generation_tokens),
            total(snapshot.requests),
            total(snapshot.engine_seconds),
            count(snapshot.histogram(Measure::TimeToFirstToken)),
            count(snapshot.histogram(Measure::InterTokenLatency)),
            snapshot.used_tokens,
            snapshot.running,
            snapshot.queued,
        ])
    }
}

/// State of the scheduler processes, from /proc.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedulers {
    /// One is stopped (`T`): by a debugger, or by SIGSTOP.
    pub stopped: bool,
    /// One is in uninterruptible sleep (`D`).
    pub uninterruptible: bool,
}

impl Schedulers {
    /// Looks at the processes that run the model.
    #[must_use]
    pub fn read(files: &mut Files, tree: &Tree) -> Self {
        let mut found = Self::default();
        for (pid, role) in &tree.members {
            if *role != Role::Scheduler {
                continue;
            }
            match files.stat(*pid).map(|stat| stat.state) {
                Some('T' | 't') => found.stopped = true,
                Some('D') => found.uninterruptible = true,
                _ => {}
            }
        }
        found
    }
}

/// The engine's movement over time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Activity {
    pulse: Option<Pulse>,
    moved: Option<Instant>,
    tokens: Option<[Option<f64>; 4]>,
    token_at: Option<Instant>,
    demand_since: Option<Instant>,
    worked: bool,
    in_flight: bool,
    stopped_ticks: u32,
    uninterruptible_since: Option<Instant>,
}

impl Activity {
    /// Takes a page.
    pub fn observe(&mut self, snapshot: &Snapshot, now: Instant) {
        let pulse = Pulse::of(snapshot);
        let moves = self.pulse != Some(pulse);
        if moves {
            self.pulse = Some(pulse);
            self.moved = Some(now);
        }
        let tokens = [pulse.0[0], pulse.0[2], pulse.0[3], pulse.0[4]];
        if self.tokens != Some(tokens) {
            self.tokens = Some(tokens);
            self.token_at = Some(now);
        }
        // What the HTTP server counts is true at any time; the scheduler's gauges only while it works.
        let gauges = some(snapshot.running) || some(snapshot.queued);
        self.in_flight = snapshot
            .http_inference
            .map_or(moves && gauges, |active| active > 0.0);
        // Servers of embeddings, and those that only compute prompts for others, generate no token.
        let decoded = snapshot.realtime.decode.or(snapshot.generation_tokens);
        let any = |counter: Option<Counter>| counter.is_some_and(|it| it.total > 0.0);
        self.worked |= any(decoded) || any(snapshot.requests);
        // While it is paused, or its weights are changed, waiting is what it should do.
        let held = some(snapshot.paused) || some(snapshot.http_control);
        let wanted =
            self.fresh(now, Duration::ZERO) && (some(snapshot.running) || some(snapshot.queued));
        let demand = !held && (wanted || some(snapshot.http_inference));
        self.demand_since = demand.then(|| self.demand_since.unwrap_or(now));
    }

    /// Whether there were requests when the last page was made. Where only gauges tell, which are stale
    /// when idle, they count if anything moved since the page before.
    #[must_use]
    pub fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Time since a counter of tokens moved; since the first page, if none has moved yet.
    #[must_use]
    pub fn since_last_token(&self, now: Instant) -> Option<Duration> {
        Some(now.saturating_duration_since(self.token_at?))
    }

    /// Takes what /proc says of the schedulers, looked at `every` so often.
    pub fn observe_schedulers(&mut self, schedulers: Schedulers, now: Instant, every: Duration) {
        // Two looks that are far apart would tell too late.
        let looks = if every >= LONG_INTERVAL { 2 } else { 1 };
        self.stopped_ticks = if schedulers.stopped {
            self.stopped_ticks.saturating_add(looks)
        } else {
            0
        };
        self.uninterruptible_since = schedulers
            .uninterruptible
            .then(|| self.uninterruptible_since.unwrap_or(now));
    }

    /// Whether a gauge other than 0 still says something, with pages `every` apart.
    #[must_use]
    pub fn fresh(&self, now: Instant, every: Duration) -> bool {
        self.moved
            .is_some_and(|moved| now.saturating_duration_since(moved) <= FRESH.max(every * 2))
    }

    /// Whether the engine is stuck: its scheduler is stopped or hangs, or there has been work for a
    /// minute and nothing moved. Never before its first token or the end of its first request: loading, warming up
    /// and capturing graphs take minutes.
    #[must_use]
    pub fn stalled(&self, now: Instant) -> bool {
        if self.stopped_ticks >= 2 {
            return true;
        }
        let for_longer = |since: Option<Instant>, limit| {
            since.is_some_and(|since| now.saturating_duration_since(since) >= limit)
        };
        let idle_with_demand =
            for_longer(self.demand_since, STALLED_AFTER) && for_longer(self.moved, STALLED_AFTER);
        // Uninterruptible at every look may be chance while tokens flow.
        let hangs = for_longer(self.uninterruptible_since, UNINTERRUPTIBLE_AFTER)
            && for_longer(self.moved, UNINTERRUPTIBLE_AFTER);
        self.worked && (idle_with_demand || hangs)
    }
}

fn some(gauge: Option<f64>) -> bool {
    gauge.is_some_and(|gauge| gauge > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(5);

    fn busy(decoded: f64) -> Snapshot {
        let mut snapshot = Snapshot {
            running: Some(3.0),
            http_inference: Some(3.0),
            ..Snapshot::default()
        };
        snapshot.realtime.decode = Some(Counter {
            total: decoded,
            series: 1,
        });
        snapshot
    }

    /// Whether it is stalled and its gauges are fresh after pages given as (second, page).
    fn after(pages: &[(u64, Snapshot)]) -> (bool, bool) {
        let (start, mut activity) = (Instant::now(), Activity::default());
        let mut now = start;
        for (second, page) in pages {
            now = start + Duration::from_secs(*second);
            activity.observe(page, now);
        }
        (
            activity.stalled(now),
            activity.fresh(now, Duration::from_secs(5)),
        )
    }

    #[test]
    fn requests_without_any_movement_for_a_minute_are_a_stall() {
        assert_eq!(after(&[(0, busy(9.0)), (59, busy(9.0))]), (false, false));
        assert_eq!(after(&[(0, busy(9.0)), (60, busy(9.0))]), (true, false));
        assert_eq!(after(&[(0, busy(9.0)), (60, busy(10.0))]), (false, true));
    }

    #[test]
    fn a_request_that_comes_after_a_long_rest_is_not_at_once_a_stall() {
        let idle = Snapshot {
            running: Some(0.0),
            http_inference: Some(0.0),
            ..busy(9.0)
        };
        let first = Snapshot {
            http_inference: Some(1.0),
            ..idle.clone()
        };
        let pages = [(0, idle.clone()), (600, first.clone()), (605, first)];
        assert!(!after(&pages).0);
    }

    #[test]
    fn stale_gauges_alone_are_no_stall() {
        let stale = Snapshot {
            http_inference: None,
            ..busy(9.0)
        };
        assert_eq!(
            after(&[(0, stale.clone()), (50, stale.clone()), (200, stale)]),
            (false, false)
        );
    }

    #[test]
    fn requests_are_in_flight_by_the_http_servers_count_else_by_gauges_that_move() {
        let (now, mut activity) = (Instant::now(), Activity::default());
        let stale = Snapshot {
            http_inference: Some(0.0),
            ..busy(9.0)
        };
        for (page, in_flight) in [
            (busy(9.0), true),
            (busy(9.0), true),
            (stale, false),
            (without_http(9.0), false),
            (without_http(10.0), true),
            (without_http(10.0), false),
        ] {
            activity.observe(&page, now);
            assert_eq!(activity.in_flight(), in_flight, "{page:?}");
        }
    }

    fn without_http(decoded: f64) -> Snapshot {
        Snapshot {
            http_inference: None,
            ..busy(decoded)
        }
    }

    #[test]
    fn nothing_is_stalled_before_its_first_token_or_while_it_is_held() {
        assert!(!after(&[(0, busy(0.0)), (500, busy(0.0))]).0);
        let held = Snapshot {
            http_control: Some(1.0),
            ..busy(9.0)
        };
        assert!(!after(&[(0, held.clone()), (500, held)]).0);
    }

    #[test]
    fn a_server_that_generates_nothing_stalls_once_it_has_finished_requests() {
        let embeds = |requests| Snapshot {
            requests: Some(Counter {
                total: requests,
                series: 1,
            }),
            ..busy(0.0)
        };
        assert!(!after(&[(0, embeds(0.0)), (500, embeds(0.0))]).0);
        assert!(after(&[(0, embeds(1.0)), (60, embeds(1.0))]).0);
    }

    #[test]
    fn a_stopped_scheduler_is_a_stall_on_the_second_look() {
        let (now, mut activity) = (Instant::now(), Activity::default());
        let stopped = Schedulers {
            stopped: true,
            ..Schedulers::default()
        };
        activity.observe_schedulers(stopped, now, EVERY);
        assert!(!activity.stalled(now));
        activity.observe_schedulers(stopped, now, EVERY);
        assert!(activity.stalled(now));
        activity.observe_schedulers(Schedulers::default(), now, EVERY);
        assert!(!activity.stalled(now));
    }

    #[test]
    fn a_stopped_scheduler_is_a_stall_at_once_where_looks_are_far_apart() {
        let (now, mut activity) = (Instant::now(), Activity::default());
        let stopped = Schedulers {
            stopped: true,
            ..Schedulers::default()
        };
        activity.observe_schedulers(stopped, now, Duration::from_secs(60));
        assert!(activity.stalled(now));
    }

    #[test]
    fn a_scheduler_that_hangs_in_the_kernel_is_a_stall_after_a_while() {
        let (start, mut activity) = (Instant::now(), Activity::default());
        activity.observe(&busy(9.0), start);
        let hangs = Schedulers {
            uninterruptible: true,
            ..Schedulers::default()
        };
        activity.observe_schedulers(hangs, start, EVERY);
        assert!(!activity.stalled(start));
        let later = start + UNINTERRUPTIBLE_AFTER;
        activity.observe_schedulers(hangs, later, EVERY);
        assert!(activity.stalled(later));
    }
}
