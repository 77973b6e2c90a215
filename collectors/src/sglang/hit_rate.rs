//! Share of the prompt tokens that were found in a cache, from counters: the server's own gauge is that of a
//! single batch.

use std::time::Instant;

use super::snapshot::Snapshot;
use super::table::spec::Since;
use super::throughput::CounterRate;
use crate::histogram::Counter;

/// Percentages of the prompt tokens between two pages.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hits {
    /// Found in the GPU's cache.
    pub device: Option<f64>,
    /// Found in the host's memory.
    pub host: Option<f64>,
    /// Found in storage.
    pub storage: Option<f64>,
}

/// Which counters are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Basis {
    /// `prefill_effective_tokens_total`: computed, and found in each tier.
    Effective,
    /// `realtime_tokens_total`: computed, and found.
    Realtime,
    /// `prompt_tokens_total`, which contains `cached_tokens_total`.
    Finished,
}

/// The counters' past.
#[derive(Clone, Debug, Default)]
pub struct HitRate {
    basis: Option<Basis>,
    rates: [CounterRate; 4],
}

impl HitRate {
    /// Takes a page.
    pub fn update(&mut self, page: &Snapshot, now: Instant) -> Hits {
        let basis = if page.effective.input.is_some() {
            Basis::Effective
        } else if page.realtime.prefill_compute.is_some() {
            Basis::Realtime
        } else {
            Basis::Finished
        };
        // Counters that are withheld for a while are no older version.
        let basis = match self.basis {
            Some(Basis::Effective) => Basis::Effective,
            Some(Basis::Realtime) if basis == Basis::Finished => Basis::Realtime,
            _ => basis,
        };
        if self.basis != Some(basis) {
            (self.basis, self.rates) = (Some(basis), Default::default());
        }
        let (effective, realtime) = (&page.effective, &page.realtime);
        match basis {
            Basis::Effective => {
                let hits = [effective.device, effective.host, effective.storage];
                let [computed, device, host, storage] =
                    self.per_second([effective.input, hits[0], hits[1], hits[2]], now);
                let found = [device, host, storage];
                // One that is unknown now makes the whole unknown: without it the others would be too high.
                let found_together = found.into_iter().sum::<Option<f64>>();
                let all = computed.zip(found_together).map(|(a, b)| a + b);
                let [device, host, storage] = found.map(|it| share(it, all));
                Hits {
                    device,
                    host,
                    storage,
                }
            }
            Basis::Realtime => {
                let counters = [realtime.prefill_compute, realtime.prefill_cache, None, None];
                let [computed, found, ..] = self.per_second(counters, now);
                let all = computed
                    .zip(found)
                    .map(|(computed, found)| computed + found);
                Hits {
                    device: share(found, all),
                    ..Hits::default()
                }
            }
            Basis::Finished => {
                let counters = [page.prompt_tokens, page.cached_tokens, None, None];
                let [prompt, found, ..] = self.per_second(counters, now);
                let known = page.cached_tokens.is_some() || page.is_since(Since::Ever);
                let found = found.filter(|_| known);
                Hits {
                    device: share(found, prompt),
                    ..Hits::default()
                }
            }
        }
    }

    /// There was no page.
    pub fn miss(&mut self) {
        self.rates.iter_mut().for_each(CounterRate::miss);
    }

    fn per_second(&mut self, counters: [Option<Counter>; 4], now: Instant) -> [Option<f64>; 4] {
        std::array::from_fn(|i| self.rates[i].per_second(counters[i], now))
    }
}

/// Per cent; unknown while no prompt came.
fn share(part: Option<f64>, all: Option<f64>) -> Option<f64> {
    let (part, all) = part.zip(all).filter(|(_, all)| *all > 0.0)?;
    Some((100.0 * part / all).min(100.0))
}
