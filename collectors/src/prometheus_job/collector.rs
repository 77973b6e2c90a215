//! The job of one endpoint: its page on every tick, and charts of what it says.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use netdata_plugin::chart::{Chart, Dim, Instance, Kind};
use netdata_plugin::frame::Frame;
use netdata_plugin::module::{Collector, Tick};

use super::place::Style;
use super::store::{Store, Wanted};
use crate::http::endpoint::{Access, Endpoint};
use crate::prometheus::feed::Feed;

/// Longest page taken, decompressed.
const MAX_PAGE: usize = 16 * 1024 * 1024;

/// Series of the last page: charted ones, and those above `max_time_series`. Selectors left out none of either.
static SERIES: Chart = Chart {
    id: "job_series",
    context: "prometheus.job_series",
    family: "job",
    title: "Series of the page",
    units: "series",
    kind: Kind::Stacked,
    priority: 70_590,
    dims: &[Dim::new("charted"), Dim::new("dropped")],
    dynamic: None,
};

/// How long the last page took, from the request to its last line: milliseconds.
static SCRAPE: Chart = Chart {
    id: "job_scrape",
    context: "prometheus.job_scrape",
    family: "job",
    title: "Time to fetch and read the page",
    units: "milliseconds",
    kind: Kind::Line,
    priority: 70_591,
    dims: &[Dim::milli("duration")],
    dynamic: None,
};

/// One endpoint's job.
pub struct PageCollector {
    endpoint: Endpoint,
    feed: Feed,
    store: Store,
    instance: Arc<Instance>,
}

/// What a job may grow to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most series that are charted.
    pub max_series: usize,
    /// For how long histograms are kept.
    pub window: Duration,
}

impl PageCollector {
    /// The job of the endpoint that `access` describes.
    ///
    /// # Errors
    /// Those of [`Endpoint::new`].
    pub fn new(
        access: Access,
        style: Style,
        wanted: Wanted,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let endpoint = Endpoint::new(access)?;
        let instance = Instance::new(&style.chart_type(), "").label("url", endpoint.shown());
        Ok(Self {
            endpoint,
            feed: Feed::default(),
            store: Store::new(style, wanted, limits.max_series, limits.window),
            instance: Arc::new(instance),
        })
    }
}

impl Collector for PageCollector {
    fn collect(&mut self, tick: Tick, frame: &mut Frame) -> anyhow::Result<()> {
        let Self { feed, store, .. } = self;
        store.begin();
        let now_ms = since_1970_ms();
        let outcome = self.endpoint.get(|page| {
            feed.read(page, MAX_PAGE, |line| store.take(line, now_ms))?;
            Ok(())
        });
        let now = Instant::now();
        if let Err(error) = outcome {
            store.miss(now);
            return Err(error);
        }
        store.finish(now);
        if store.charted() + store.dropped() == 0 {
            bail!(
                "scraping {}: the answer holds no series that is charted",
                self.endpoint.shown()
            );
        }
        store.record(frame);
        frame
            .chart(&SERIES, &self.instance)
            .set("charted", store.charted() as f64)
            .set("dropped", store.dropped() as f64);
        frame
            .chart(&SCRAPE, &self.instance)
            .set("duration", (now - tick.now).as_secs_f64() * 1e3);
        Ok(())
    }
}

fn since_1970_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
