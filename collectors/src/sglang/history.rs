//! What a server's pages say only together: rates, the last minute's latencies, and whether the engine
//! moves.

use std::time::{Duration, Instant};

use super::activity::Activity;
use super::snapshot::Snapshot;
use super::throughput::{Source, Throughput, Tokens};
use crate::histogram::window::Window;

/// The pages so far of one process of a server.
#[derive(Clone, Debug)]
pub struct History {
    /// Whether the engine moves.
    pub activity: Activity,
    /// Requests' first tokens.
    pub time_to_first_token: Window,
    /// The pace of their further tokens.
    pub inter_token_latency: Window,
    /// Whole requests.
    pub e2e_latency: Window,
    throughput: Throughput,
    tokens: Tokens,
}

impl History {
    /// Nothing yet; latencies are to be kept for `window`.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            activity: Activity::default(),
            time_to_first_token: Window::new(window),
            inter_token_latency: Window::new(window),
            e2e_latency: Window::new(window),
            throughput: Throughput::default(),
            tokens: Tokens::default(),
        }
    }

    /// Takes a page that arrived at `now`.
    pub fn take(&mut self, page: &Snapshot, now: Instant) {
        self.activity.observe(page, now);
        self.tokens = self.throughput.update(Some(page), now);
        for (window, buckets) in [
            (
                &mut self.time_to_first_token,
                page.time_to_first_token.streaming_if_known(),
            ),
            (
                &mut self.inter_token_latency,
                page.inter_token_latency.streaming_if_known(),
            ),
            (&mut self.e2e_latency, &page.e2e_latency.all),
        ] {
            window.push(buckets, now);
        }
    }

    /// There was no page at `now`: the next one only starts anew.
    pub fn miss(&mut self, now: Instant) {
        self.tokens = self.throughput.update(None, now);
        for window in [
            &mut self.time_to_first_token,
            &mut self.inter_token_latency,
            &mut self.e2e_latency,
        ] {
            window.miss(now);
        }
    }

    /// The windows that may have a threshold, in the order of [`super::slo::LATENCIES`].
    #[must_use]
    pub fn latencies(&self) -> [&Window; 3] {
        [
            &self.time_to_first_token,
            &self.inter_token_latency,
            &self.e2e_latency,
        ]
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
}
