//! What a server's pages say only together: rates, the last minute's latencies, and whether the engine
//! moves.

use std::time::{Duration, Instant};

use super::activity::Activity;
use super::burn::Burn;
use super::hit_rate::{HitRate, Hits};
use super::measure::Measure;
use super::slo::Slo;
use super::snapshot::Snapshot;
use super::table::readings::Readings;
use super::throughput::{CounterRate, Source, Throughput, Tokens};
use super::unlisted::Unlisted;
use crate::histogram::window::Window;

/// The pages so far of one process of a server.
#[derive(Clone, Debug)]
pub struct History {
    /// Whether the engine moves.
    pub activity: Activity,
    /// What is charted by the table.
    pub readings: Readings,
    /// What no chart knows.
    pub unlisted: Unlisted,
    windows: [Window; Measure::ALL.len()],
    throughput: Throughput,
    tokens: Tokens,
    hit_rate: HitRate,
    hits: Hits,
    response_rates: [CounterRate; 3],
    responses: [Option<f64>; 3],
    burns: [Burn; 3],
}

impl History {
    /// Nothing yet; latencies are to be kept for `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            activity: Activity::default(),
            readings: Readings::default(),
            unlisted: Unlisted::default(),
            windows: Measure::ALL.map(|_| Window::new(window)),
            throughput: Throughput::default(),
            tokens: Tokens::default(),
            hit_rate: HitRate::default(),
            hits: Hits::default(),
            response_rates: Default::default(),
            responses: [None; 3],
            burns: Default::default(),
        }
    }

    /// Takes a page that arrived at `now`; its samples are in the readings already.
    pub fn take(&mut self, page: &Snapshot, now: Instant) {
        self.activity.observe(page, now);
        self.readings.close(now);
        self.unlisted.close(now);
        self.tokens = self.throughput.update(Some(page), now);
        self.hits = self.hit_rate.update(page, now);
        for (i, rate) in self.response_rates.iter_mut().enumerate() {
            // A server that counts requests and has not failed one has failed none.
            let rate = rate.per_second(page.http_responses[i], now);
            self.responses[i] = rate.filter(|_| page.counts_http);
        }
        for (measure, window) in Measure::ALL.into_iter().zip(&mut self.windows) {
            window.push(page.buckets(measure), now);
        }
    }

    /// There was no page at `now`: the next one only starts anew.
    pub fn miss(&mut self, now: Instant) {
        self.readings.miss();
        self.unlisted.miss();
        self.tokens = self.throughput.update(None, now);
        self.hit_rate.miss();
        self.hits = Hits::default();
        self.response_rates.iter_mut().for_each(CounterRate::miss);
        self.responses = [None; 3];
        self.windows.iter_mut().for_each(|window| window.miss(now));
    }

    /// The last minute of a measure.
    #[must_use]
    pub fn window(&self, measure: Measure) -> &Window {
        &self.windows[measure as usize]
    }

    /// The windows that may have a threshold, in the order of [`super::slo::LATENCIES`].
    #[must_use]
    pub fn latencies(&self) -> [&Window; 3] {
        [
            self.window(Measure::TimeToFirstToken),
            self.window(Measure::InterTokenLatency),
            self.window(Measure::E2eLatency),
        ]
    }

    /// Takes what the newest page, which arrived at `now`, spent of the error budgets.
    pub fn spend(&mut self, slo: &Slo, now: Instant) {
        let windows = self.latencies();
        let edges = slo.edges(windows);
        let added: [_; 3] = std::array::from_fn(|i| windows[i].added(edges[i]?));
        let [_, long] = slo.burn_windows();
        for ((burn, edge), added) in self.burns.iter_mut().zip(edges).zip(added) {
            if let Some(edge) = edge {
                burn.push(edge, added, long, now);
            }
        }
    }

    /// How fast the error budgets are spent, in the order of [`super::slo::LATENCIES`].
    #[must_use]
    pub fn burn_rates(&self, slo: &Slo, now: Instant) -> [Option<f64>; 3] {
        let rate = |i: usize| self.burns[i].rate(slo.burn_windows(), slo.objective(), now);
        std::array::from_fn(rate)
    }

    /// Tokens per second between the last two pages.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// The counters behind them.
    #[must_use]
    pub fn counters(&self) -> Option<Source> {
        self.throughput.source()
    }

    /// Shares of the prompt tokens between the last two pages that were found in a cache.
    #[must_use]
    pub fn hits(&self) -> Hits {
        self.hits
    }

    /// Answers of inference endpoints per second by the status' first digit: 2, 4, 5.
    #[must_use]
    pub fn responses(&self) -> [Option<f64>; 3] {
        self.responses
    }
}
