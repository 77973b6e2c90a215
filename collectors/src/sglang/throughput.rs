//! Tokens per second: from the realtime counters where the server has them (0.5.7 and later), else from
//! those that count a request's tokens when it ends, which are right but come in bursts.

use std::time::Instant;

use super::snapshot::Snapshot;
use super::table::spec::Since;
use crate::histogram::Counter;
use crate::rate::Rate;

/// Where the tokens per second come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `realtime_tokens_total`.
    Realtime,
    /// `prompt_tokens_total`, `cached_tokens_total`, `generation_tokens_total`.
    Finished,
}

impl Source {
    /// The label's value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Realtime => "realtime",
            Self::Finished => "finished",
        }
    }
}

/// Tokens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tokens {
    /// Prompt tokens computed.
    pub prefill_compute: Option<f64>,
    /// Prompt tokens taken from the prefix cache.
    pub prefill_cache: Option<f64>,
    /// Tokens generated.
    pub decode: Option<f64>,
}

/// The counters' past.
#[derive(Clone, Debug, Default)]
pub struct Throughput {
    source: Option<Source>,
    rates: [CounterRate; 3],
}

impl Throughput {
    /// Takes a page, or `None` for a scrape that failed.
    pub fn update(&mut self, snapshot: Option<&Snapshot>, now: Instant) -> Tokens {
        let Some(page) = snapshot else {
            self.rates.iter_mut().for_each(CounterRate::miss);
            return Tokens::default();
        };
        let source = self.choose(page);
        let counters = match source {
            None => return Tokens::default(),
            Some(Source::Realtime) => {
                let realtime = &page.realtime;
                [
                    realtime.prefill_compute,
                    realtime.prefill_cache,
                    realtime.decode,
                ]
            }
            Some(Source::Finished) => [
                page.prompt_tokens,
                page.cached_tokens,
                page.generation_tokens,
            ],
        };
        // A version that counts while it works has all of them; an early one may lack the cached tokens.
        let absent_is_zero = source == Some(Source::Realtime) || page.is_since(Since::Ever);
        let [prefill, prefill_cache, decode] = std::array::from_fn(|i| {
            let rate = self.rates[i].per_second(counters[i], now);
            rate.filter(|_| absent_is_zero || counters[i].is_some())
        });
        Tokens {
            prefill_compute: match source {
                // What was cached was not computed.
                Some(Source::Finished) => prefill
                    .zip(prefill_cache)
                    .map(|(prompt, cached)| (prompt - cached).max(0.0)),
                _ => prefill,
            },
            prefill_cache,
            decode,
        }
    }

    /// The counters in use; `None` until a page has told.
    #[must_use]
    pub fn source(&self) -> Option<Source> {
        self.source
    }

    /// A server that has counted in real time does so for ever: counters that are absent for a while
    /// are no older version.
    fn choose(&mut self, page: &Snapshot) -> Option<Source> {
        let realtime = page.counts_http || page.realtime.decode.is_some();
        if realtime && self.source != Some(Source::Realtime) {
            self.rates = Default::default();
            self.source = Some(Source::Realtime);
        } else if self.source.is_none() && page.series > 0 {
            self.source = Some(Source::Finished);
        }
        self.source
    }
}

/// The rate of a sum of series.
#[derive(Clone, Copy, Debug, Default)]
pub struct CounterRate {
    rate: Rate,
    series: Option<u64>,
}

impl CounterRate {
    /// A counter appears with its first event: until then it is 0. Once seen, its absence is a gap, and
    /// so is the tick on which the series that it is the sum of change.
    pub fn per_second(&mut self, counter: Option<Counter>, now: Instant) -> Option<f64> {
        let Some(counter) = counter else {
            self.rate.reset();
            return self.series.is_none().then_some(0.0);
        };
        if self.series != Some(counter.series) {
            self.rate.reset();
            self.series = Some(counter.series);
        }
        self.rate.per_second(Some(counter.total), now)
    }

    /// There was no page.
    pub fn miss(&mut self) {
        self.rate.reset();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn counter(total: f64) -> Option<Counter> {
        Some(Counter { total, series: 7 })
    }

    fn realtime(decode: Option<f64>) -> Option<Snapshot> {
        let mut page = Snapshot {
            series: 1,
            counts_http: true,
            ..Snapshot::default()
        };
        page.realtime.decode = decode.and_then(counter);
        Some(page)
    }

    fn run(pages: &[Option<Snapshot>]) -> (Vec<Tokens>, Option<Source>) {
        let (start, mut throughput) = (Instant::now(), Throughput::default());
        let mut tokens = vec![];
        for (i, page) in pages.iter().enumerate() {
            let now = start + Duration::from_secs(5 * i as u64);
            tokens.push(throughput.update(page.as_ref(), now));
        }
        (tokens, throughput.source())
    }

    fn decode(pages: &[Option<Snapshot>]) -> Vec<Option<f64>> {
        run(pages).0.iter().map(|tokens| tokens.decode).collect()
    }

    #[test]
    fn realtime_counters_are_preferred_and_the_first_sample_is_a_gap() {
        let pages = [realtime(Some(100.0)), realtime(Some(600.0))];
        assert_eq!(decode(&pages), [None, Some(100.0)]);
        assert_eq!(run(&pages).1, Some(Source::Realtime));
    }

    #[test]
    fn a_counter_that_has_not_appeared_is_zero_and_its_first_value_no_spike() {
        let pages = [
            realtime(None),
            realtime(Some(5000.0)),
            realtime(Some(5050.0)),
        ];
        assert_eq!(decode(&pages), [Some(0.0), None, Some(10.0)]);
    }

    #[test]
    fn a_counter_withheld_for_ten_scrapes_is_a_gap_and_returns_with_its_rate() {
        let mut pages = vec![realtime(Some(0.0)), realtime(Some(500.0))];
        pages.extend(vec![realtime(None); 10]);
        pages.extend([realtime(Some(6000.0)), realtime(Some(6500.0))]);
        let decode = decode(&pages);
        assert!(decode[2..13].iter().all(Option::is_none), "{decode:?}");
        assert_eq!((decode[1], decode[13]), (Some(100.0), Some(100.0)));
        assert_eq!(run(&pages).1, Some(Source::Realtime));
    }

    #[test]
    fn a_rank_that_was_away_returns_without_a_spike() {
        let with = |total, series| {
            let mut page = realtime(None);
            if let Some(page) = &mut page {
                page.realtime.decode = Some(Counter { total, series });
            }
            page
        };
        let pages = [
            with(1000.0, 3),
            with(1010.0, 3),
            with(510.0, 1),
            with(515.0, 1),
            with(1040.0, 3),
            with(1050.0, 3),
        ];
        let expected = [None, Some(2.0), None, Some(1.0), None, Some(2.0)];
        assert_eq!(decode(&pages), expected);
    }

    #[test]
    fn a_failed_scrape_makes_the_next_a_gap_too() {
        let pages = [
            realtime(Some(0.0)),
            realtime(Some(5.0)),
            None,
            realtime(Some(15.0)),
            realtime(Some(20.0)),
        ];
        assert_eq!(decode(&pages), [None, Some(1.0), None, None, Some(1.0)]);
    }

    #[test]
    fn before_realtime_counters_the_finished_ones_are_taken() {
        let page = |prompt, cached, generation| {
            Some(Snapshot {
                series: 1,
                supported: true,
                prompt_tokens: counter(prompt),
                cached_tokens: counter(cached),
                generation_tokens: counter(generation),
                ..Snapshot::default()
            })
        };
        let (tokens, source) = run(&[page(0.0, 0.0, 0.0), page(100.0, 40.0, 50.0)]);
        assert_eq!(source, Some(Source::Finished));
        let expected = Tokens {
            prefill_compute: Some(12.0),
            prefill_cache: Some(8.0),
            decode: Some(10.0),
        };
        assert_eq!(tokens[1], expected);
    }

    #[test]
    fn a_version_that_may_not_count_cached_tokens_has_computed_none_that_are_known() {
        let page = |prompt, supported| {
            Some(Snapshot {
                series: 1,
                supported,
                prompt_tokens: counter(prompt),
                ..Snapshot::default()
            })
        };
        for (supported, computed) in [(false, None), (true, Some(20.0))] {
            let pages = [page(0.0, supported), page(100.0, supported)];
            let last = run(&pages).0[1];
            assert_eq!(last.prefill_compute, computed);
            assert_eq!(last.prefill_cache, computed.map(|_| 0.0));
        }
    }

    #[test]
    fn a_reset_is_a_gap() {
        let pages = [
            realtime(Some(900.0)),
            realtime(Some(5.0)),
            realtime(Some(10.0)),
        ];
        assert_eq!(decode(&pages), [None, None, Some(1.0)]);
    }
}
