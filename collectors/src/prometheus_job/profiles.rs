//! Profiles: what is known of an application's metrics beforehand, as constant data. A metric that starts with
//! a profile's prefix and is named in it goes into the profile's charts; every other is charted by what its
//! page says of it.

mod llamacpp;
mod tgi;
mod vllm;

use netdata_plugin::chart::Kind;

/// Every profile. See CONTRIBUTING for how to add one.
pub const PROFILES: &[Profile] = &[vllm::PROFILE, llamacpp::PROFILE, tgi::PROFILE];

/// What is known of one application.
#[derive(Debug)]
pub struct Profile {
    /// Part of the contexts, `prometheus.<app>.…`.
    pub app: &'static str,
    /// How its metrics' names begin.
    pub prefix: &'static str,
    /// Charts, in the order of a request's path.
    pub charts: &'static [ProfileChart],
    /// Metrics that say what another one says already.
    pub left_out: &'static [&'static str],
}

/// A chart of known metrics.
#[derive(Debug)]
pub struct ProfileChart {
    /// Last part of its id and context.
    pub id: &'static str,
    /// Shown above it.
    pub title: &'static str,
    /// Section of the menu.
    pub family: &'static str,
    /// Unit after scaling.
    pub units: &'static str,
    /// What it shows.
    pub shape: Shape,
}

/// What a chart shows.
#[derive(Debug)]
pub enum Shape {
    /// Values side by side.
    Lines(Kind, &'static [Source]),
    /// A histogram: percentiles and average under the chart's own id, and with `_distribution` and
    /// `_observations` after it two charts more.
    Histogram {
        /// Without `_bucket`.
        metric: &'static str,
        /// What bounds and sum are multiplied by.
        scale: f64,
        /// The sum of what was observed, as a rate.
        volume: Option<Volume>,
    },
}

/// The rate of a histogram's sum: tokens per second out of tokens per request.
#[derive(Debug)]
pub struct Volume {
    /// Last part of its id and context.
    pub id: &'static str,
    /// Shown above it.
    pub title: &'static str,
    /// Unit of the rate; not scaled.
    pub units: &'static str,
}

/// One metric's part in a chart.
#[derive(Debug)]
pub struct Source {
    /// Its name.
    pub metric: &'static str,
    /// Its line.
    pub dim: DimName,
    /// As it is, or as a rate, whatever the page calls its type.
    pub take: Take,
    /// What it is multiplied by.
    pub scale: f64,
}

impl Source {
    const fn value(metric: &'static str, dim: &'static str) -> Self {
        Self {
            metric,
            dim: DimName::Fixed(dim),
            take: Take::Value,
            scale: 1.0,
        }
    }

    const fn rate(metric: &'static str, dim: &'static str) -> Self {
        Self {
            take: Take::Rate,
            ..Self::value(metric, dim)
        }
    }

    const fn by_label(self, label: &'static str) -> Self {
        Self {
            dim: DimName::Label(label),
            ..self
        }
    }

    const fn scaled(self, scale: f64) -> Self {
        Self { scale, ..self }
    }
}

/// What a line is called.
#[derive(Clone, Copy, Debug)]
pub enum DimName {
    /// Always this.
    Fixed(&'static str),
    /// The value of this label.
    Label(&'static str),
}

/// How a sample becomes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// As it is.
    Value,
    /// As its gain per second.
    Rate,
}

/// What a profile says of a metric.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// It is not charted.
    LeftOut,
    /// It has a chart: which of the profile's, and its part in a chart of lines.
    Charted(&'static ProfileChart, usize, Option<&'static Source>),
}

impl Profile {
    /// The profile of `metric`, if any has its prefix.
    #[must_use]
    pub fn of(metric: &str) -> Option<&'static Self> {
        PROFILES
            .iter()
            .find(|profile| metric.starts_with(profile.prefix))
    }

    /// What it says of `metric`, a family's name (a histogram's without `_bucket`).
    #[must_use]
    pub fn find(&self, metric: &str) -> Option<Known> {
        if self.left_out.contains(&metric) {
            return Some(Known::LeftOut);
        }
        self.charts
            .iter()
            .enumerate()
            .find_map(|(place, chart)| match &chart.shape {
                Shape::Lines(_, sources) => sources
                    .iter()
                    .find(|source| source.metric == metric)
                    .map(|source| Known::Charted(chart, place, Some(source))),
                Shape::Histogram { metric: own, .. } => {
                    (*own == metric).then_some(Known::Charted(chart, place, None))
                }
            })
    }
}

/// The contexts of every profile's charts, as docs/charts.md lists them.
#[cfg(test)]
pub fn contexts() -> Vec<String> {
    let mut contexts = vec![];
    for profile in PROFILES {
        for chart in profile.charts {
            contexts.push(format!("prometheus.{}.{}", profile.app, chart.id));
            if let Shape::Histogram {
                volume: Some(volume),
                ..
            } = &chart.shape
            {
                contexts.push(format!("prometheus.{}.{}", profile.app, volume.id));
            }
        }
    }
    contexts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_chart_of_a_profile_has_an_id_of_its_own_and_every_metric_its_prefix() {
        for profile in PROFILES {
            let (mut ids, mut metrics) = (BTreeSet::new(), BTreeSet::new());
            for chart in profile.charts {
                assert!(ids.insert(chart.id), "{}", chart.id);
                let of: Vec<_> = match &chart.shape {
                    Shape::Lines(_, sources) => sources.iter().map(|it| it.metric).collect(),
                    Shape::Histogram { metric, volume, .. } => {
                        if let Some(volume) = volume {
                            assert!(ids.insert(volume.id), "{}", volume.id);
                        }
                        vec![*metric]
                    }
                };
                for metric in of {
                    assert!(metric.starts_with(profile.prefix), "{metric}");
                    assert!(metrics.insert(metric), "{metric} is in two charts");
                    assert!(!profile.left_out.contains(&metric), "{metric}");
                }
            }
        }
    }

    #[test]
    fn a_metric_without_a_profile_has_none() {
        assert!(Profile::of("sglang:num_running_reqs").is_none());
        assert!(
            Profile::of("vllm:something_new")
                .is_some_and(|it| { it.app == "vllm" && it.find("vllm:something_new").is_none() })
        );
    }
}
