//! One series of a page, and its value at a moment of the replay.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::load::Progress;

/// How much an average latency grows when every observation falls one bucket higher. Buckets of
/// SGLang's latency histograms are a factor of 1.3 to 2 apart.
const SLOWER: f64 = 1.5;

/// What decides a page: the load replayed, and where gauges stand.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Load replayed since the start.
    pub progress: Progress,
    /// A long prefill since then: of all counters, only computed prompt tokens have moved on.
    pub prefill_since: Option<Progress>,
    /// 0 at the value of t0, 1 at that of t10; `None` holds t0.
    pub swing: Option<f64>,
    /// Counters start at zero instead of the value of t0.
    pub from_zero: bool,
    /// Integer counters show their fractions.
    pub unrounded: bool,
}

/// How a series moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Gauge,
    Counter,
    /// A histogram's `_bucket`, which counts.
    Bucket,
}

/// A series as both captures show it.
#[derive(Clone, Debug)]
pub struct Series {
    /// `name{labels}` as on the wire.
    pub head: String,
    pub kind: Kind,
    /// Value at t0; 0 for a counter that only t10 shows.
    pub first: f64,
    /// Value at t10; that of t0 where t10 lacks the series.
    pub last: f64,
    /// Growth from t0 to t10 had every request been one bucket slower.
    pub slow_delta: f64,
    /// Counts whole things: its values are integers.
    pub integer: bool,
    /// t0's value as captured, kept so that what does not move is shown unchanged.
    pub raw: String,
}

impl Series {
    /// From the texts of the two captures' values.
    pub fn new(head: String, kind: Kind, t0: Option<&str>, t10: Option<&str>) -> Self {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok());
        let (a, b) = (number(t0), number(t10));
        let (first, raw) = match kind {
            Kind::Gauge => (a.or(b).unwrap_or(f64::NAN), t0.or(t10).unwrap_or("NaN")),
            Kind::Counter | Kind::Bucket => (a.unwrap_or(0.0), t0.unwrap_or("0.0")),
        };
        let last = b.unwrap_or(first);
        let whole = |value: f64| value.fract() == 0.0;
        let counts = kind == Kind::Bucket || name(&head).ends_with("_count");
        let integer = counts || (whole(first) && whole(last) && !in_seconds(&head));
        let mut series = Self {
            raw: raw.to_owned(),
            head,
            kind,
            first,
            last,
            slow_delta: 0.0,
            integer,
        };
        series.slow_delta = series.delta() * series.slower();
        series
    }

    /// Growth from t0 to t10. A counter never shrinks.
    pub fn delta(&self) -> f64 {
        match self.kind {
            Kind::Gauge => self.last - self.first,
            Kind::Counter | Kind::Bucket => (self.last - self.first).max(0.0),
        }
    }

    /// The value at `moment`, in the notation of the Python client.
    pub fn text(&self, moment: &Moment) -> String {
        let value = match self.kind {
            Kind::Gauge => match moment.swing {
                Some(swing) if self.delta().abs() > 0.0 => {
                    let value = self.first + self.delta() * swing;
                    if self.integer { value.round() } else { value }
                }
                _ => return self.raw.clone(),
            },
            Kind::Counter | Kind::Bucket => {
                let base = if moment.from_zero { 0.0 } else { self.first };
                let progress = match moment.prefill_since {
                    Some(since) if !self.head.contains("mode=\"prefill_compute\"") => since,
                    _ => moment.progress,
                };
                let grown = self.delta() * progress.fast
                    + self.slow_delta * progress.slow
                    + self.late_delta() * progress.late;
                let value = base + grown;
                if self.integer && !moment.unrounded {
                    value.floor()
                } else {
                    value
                }
            }
        };
        format!("{value:?}")
    }

    /// Growth from t0 to t10 had every request taken longer than the last bound.
    fn late_delta(&self) -> f64 {
        let within_a_bound =
            self.kind == Kind::Bucket && in_seconds(&self.head) && !self.head.contains("+Inf");
        if within_a_bound { 0.0 } else { self.delta() }
    }

    fn slower(&self) -> f64 {
        let latency_sum = in_seconds(&self.head) && name(&self.head).ends_with("_sum");
        if latency_sum { SLOWER } else { 1.0 }
    }
}

/// The name in `name{labels}`.
pub fn name(head: &str) -> &str {
    head.split('{').next().unwrap_or(head)
}

/// Whether a series measures time.
pub fn in_seconds(head: &str) -> bool {
    name(head).contains("_seconds")
}

/// `--gauge NAME=LOW[:HIGH]`: what a gauge shows instead of the captured values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GaugeRange {
    pub name: String,
    pub low: f64,
    pub high: f64,
}

impl FromStr for GaugeRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |value: &str| value.parse::<f64>().ok().filter(|value| value.is_finite());
        let (name, range) = text.rsplit_once('=').unwrap_or_default();
        let (low, high) = range.split_once(':').unwrap_or((range, range));
        match (name, parse(low), parse(high)) {
            (name, Some(low), Some(high)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                low,
                high,
            }),
            _ => Err(format!("`{text}` is not NAME=LOW or NAME=LOW:HIGH")),
        }
    }
}

impl GaugeRange {
    /// Whether it speaks of the series `head`; the prefix `sglang:` may be left out.
    pub fn covers(&self, head: &str) -> bool {
        let name = name(head);
        name == self.name || name.strip_prefix("sglang:") == Some(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(progress: f64) -> Moment {
        Moment {
            progress: Progress {
                fast: progress,
                slow: 0.0,
                late: 0.0,
            },
            prefill_since: None,
            swing: None,
            from_zero: false,
            unrounded: false,
        }
    }

    fn counter(head: &str, t0: Option<&str>, t10: Option<&str>) -> Series {
        Series::new(head.to_owned(), Kind::Counter, t0, t10)
    }

    #[test]
    fn a_counter_starts_at_t0_and_reaches_t10_after_the_captured_interval() {
        let tokens = counter("tokens_total", Some("100.0"), Some("104.0"));
        assert_eq!(tokens.text(&at(0.0)), "100.0");
        assert_eq!(tokens.text(&at(1.0)), "104.0");
        assert_eq!(tokens.text(&at(25.0)), "200.0");
    }

    #[test]
    fn an_integer_counter_is_rounded_down_unless_asked_not_to() {
        let tokens = counter("tokens_total", Some("100.0"), Some("103.0"));
        assert_eq!(tokens.text(&at(0.5)), "101.0");
        assert_eq!(
            tokens.text(&Moment {
                unrounded: true,
                ..at(0.5)
            }),
            "101.5"
        );
    }

    #[test]
    fn a_counter_of_seconds_keeps_its_fraction_even_between_whole_captures() {
        let cpu = counter("cpu_seconds_total", Some("4.0"), Some("5.0"));
        assert_eq!(cpu.text(&at(0.5)), "4.5");
    }

    #[test]
    fn a_histogram_of_seconds_still_counts_whole_observations() {
        let count = counter("ttft_seconds_count", Some("4.0"), Some("7.0"));
        assert_eq!(count.text(&at(0.5)), "5.0");
    }

    #[test]
    fn a_counter_that_only_t10_shows_counts_from_zero() {
        let aborted = counter("aborted_total", None, Some("4.0"));
        assert_eq!(aborted.text(&at(0.0)), "0.0");
        assert_eq!(aborted.text(&at(0.5)), "2.0");
    }

    #[test]
    fn a_counter_that_t10_lacks_stands_still() {
        let gone = counter("gone_total", Some("7.0"), None);
        assert_eq!(gone.text(&at(3.0)), "7.0");
    }

    #[test]
    fn a_fresh_process_counts_from_zero() {
        let tokens = counter("tokens_total", Some("100.0"), Some("104.0"));
        assert_eq!(
            tokens.text(&Moment {
                from_zero: true,
                ..at(0.5)
            }),
            "2.0"
        );
    }

    #[test]
    fn a_gauge_holds_the_captured_text_or_swings() {
        let usage = Series::new("usage".into(), Kind::Gauge, Some("0.24"), Some("0.2"));
        assert_eq!(usage.text(&at(9.0)), "0.24");
        assert_eq!(
            usage.text(&Moment {
                prefill_since: None,
                swing: Some(1.0),
                ..at(9.0)
            }),
            "0.2"
        );
        let running = Series::new("running".into(), Kind::Gauge, Some("13.0"), Some("15.0"));
        assert_eq!(
            running.text(&Moment {
                prefill_since: None,
                swing: Some(0.3),
                ..at(9.0)
            }),
            "14.0"
        );
        let unknown = Series::new("occupancy".into(), Kind::Gauge, Some("NaN"), Some("NaN"));
        assert_eq!(
            unknown.text(&Moment {
                prefill_since: None,
                swing: Some(0.3),
                ..at(9.0)
            }),
            "NaN"
        );
    }

    #[test]
    fn a_gauge_range_names_one_gauge_with_or_without_prefix() {
        let range: GaugeRange = "token_usage=0.2:0.7".parse().unwrap();
        assert_eq!((range.low, range.high), (0.2, 0.7));
        assert!(range.covers("sglang:token_usage{a=\"b\"}"));
        assert!(!range.covers("sglang:full_token_usage"));
        assert_eq!("x=3".parse::<GaugeRange>().unwrap().high, 3.0);
        for bad in ["x", "=1", "x=", "x=1:", "x=NaN", "x=a:b"] {
            assert!(bad.parse::<GaugeRange>().is_err(), "{bad}");
        }
    }
}
