//! The definitions of charts: of a profile's, and of metrics that only their page describes.

use std::sync::Arc;

use netdata_plugin::chart::{Chart, Dim, Kind as Drawn};

use crate::prometheus_job::group::{Charts, HistogramCharts, MadeChart, SummaryCharts};
use crate::prometheus_job::naming::Unit;
use crate::prometheus_job::profiles::{Profile, ProfileChart, Shape};

/// Position of the first chart of a profile.
const PROFILE_PRIORITY: u32 = 70_600;
const MILLI: [Dim; 4] = [
    Dim::milli("p50"),
    Dim::milli("p90"),
    Dim::milli("p99"),
    Dim::milli("average"),
];
const MICRO: [Dim; 4] = {
    let mut dims = MILLI;
    let mut at = 0;
    while at < dims.len() {
        dims[at].precision = 1_000_000;
        at += 1;
    }
    dims
};
/// Dimensions of percentiles with three and with six decimals.
static PERCENTILES: [&[Dim]; 2] = [&MILLI, &MICRO];

/// A profile's chart, found.
pub(super) struct Shown {
    pub(super) chart: &'static ProfileChart,
    pub(super) place: usize,
    pub(super) profile: &'static Profile,
}

impl Shown {
    fn base(&self, app: &str, chart_id: &str) -> Chart<String> {
        Chart {
            id: chart_id.to_owned(),
            context: format!("prometheus.{app}.{}", self.chart.id),
            family: self.chart.family.to_owned(),
            title: self.chart.title.to_owned(),
            units: self.chart.units.to_owned(),
            kind: Drawn::Line,
            priority: PROFILE_PRIORITY + 4 * self.place as u32,
            dims: &[],
            dynamic: Some(Dim::milli("")),
        }
    }

    pub(super) fn lines(&self, app: &str, drawn: Drawn, chart_id: &str) -> MadeChart {
        let base = self.base(app, chart_id);
        Arc::new(Chart {
            kind: drawn,
            ..base
        })
    }

    pub(super) fn histogram(&self, app: &str, chart_id: &str) -> Charts {
        let base = self.base(app, chart_id);
        let volume = match &self.chart.shape {
            Shape::Histogram {
                volume: Some(volume),
                ..
            } => Some(Arc::new(Chart {
                id: format!("{app}_{}", volume.id),
                context: format!("prometheus.{app}.{}", volume.id),
                title: volume.title.to_owned(),
                units: volume.units.to_owned(),
                priority: base.priority + 3,
                ..base.clone()
            })),
            _ => None,
        };
        Charts::Histogram(of_histogram(base, PERCENTILES[0], volume))
    }
}

/// What is known of a metric's charts from its page.
pub(super) struct Head<'a> {
    pub(super) app: &'a str,
    pub(super) name: &'a str,
    pub(super) family: String,
    pub(super) title: String,
    pub(super) unit: Unit<'a>,
    pub(super) priority: u32,
}

impl Head<'_> {
    fn base(&self, units: String) -> Chart<String> {
        Chart {
            id: self.name.to_owned(),
            context: format!("prometheus.{}.{}", self.app, self.name),
            family: self.family.clone(),
            title: self.title.clone(),
            units,
            kind: Drawn::Line,
            priority: self.priority,
            dims: &[],
            dynamic: Some(Dim {
                precision: self.unit.precision,
                ..Dim::new("")
            }),
        }
    }

    pub(super) fn lines(&self, counter: bool, drawn: Drawn) -> MadeChart {
        let units = if counter {
            self.unit.per_second()
        } else {
            self.unit.plain.to_owned()
        };
        Arc::new(Chart {
            kind: drawn,
            ..self.base(units)
        })
    }

    pub(super) fn histogram(&self) -> HistogramCharts {
        let base = self.base(self.unit.plain.to_owned());
        let volume = (!self.unit.is_time()).then(|| {
            Arc::new(Chart {
                id: format!("{}_volume", base.id),
                context: format!("{}_volume", base.context),
                title: format!("{}, sum per second", base.title),
                units: self.unit.per_second(),
                priority: base.priority + 3,
                ..base.clone()
            })
        });
        let dims = PERCENTILES[usize::from(self.unit.precision > 1_000)];
        of_histogram(base, dims, volume)
    }

    pub(super) fn summary(&self) -> SummaryCharts {
        let base = self.base(self.unit.plain.to_owned());
        SummaryCharts {
            observations: Arc::new(Chart {
                id: format!("{}_observations", base.id),
                context: format!("{}_observations", base.context),
                title: format!("{}, observations", base.title),
                units: "observations/s".to_owned(),
                priority: base.priority + 1,
                dynamic: Some(Dim::milli("")),
                ..base.clone()
            }),
            quantiles: Arc::new(base),
        }
    }
}

/// The charts of a histogram of which `base` is the first.
fn of_histogram(
    base: Chart<String>,
    dims: &'static [Dim],
    volume: Option<MadeChart>,
) -> HistogramCharts {
    let beside = |word: &str, title: &str, units: &str, at| Chart {
        id: format!("{}_{word}", base.id),
        context: format!("{}_{word}", base.context),
        title: format!("{}, {title}", base.title),
        units: units.to_owned(),
        priority: base.priority + at,
        dynamic: Some(Dim::milli("")),
        ..base.clone()
    };
    HistogramCharts {
        distribution: Arc::new(Chart {
            kind: Drawn::Heatmap,
            ..beside(
                "distribution",
                "distribution by the endpoint's bounds",
                "observations/s",
                1,
            )
        }),
        observations: Arc::new(beside(
            "observations",
            "observations behind the percentiles",
            "observations",
            2,
        )),
        volume,
        percentiles: Arc::new(Chart {
            dims,
            dynamic: None,
            ..base
        }),
    }
}
