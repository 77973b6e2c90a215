//! Where a series that is new goes: into which chart, which instance of it, and as which line.

mod made;

use std::collections::HashMap;
use std::sync::Arc;

use netdata_plugin::chart::{Instance, Kind as Drawn, Label, LabelSource};

use super::families::{Families, Kind, Part, Role};
use super::group::{Charts, NewLine};
use super::naming::{self, MAX_LABEL};
use super::profiles::{DimName, Known, Profile, Shape, Source, Take};
use crate::prometheus::Sample;
use made::{Head, Shown};

/// Position of the first chart without one; the others follow in the order of the page.
const PRIORITY: u32 = 71_000;
/// Position of what language runtimes say of themselves.
const RUNTIME_PRIORITY: u32 = 79_000;

/// How a job names and splits its metrics.
#[derive(Clone, Debug)]
pub struct Style {
    /// The job's name, clean: part of ids, and of contexts without an application.
    pub job: String,
    /// Part of contexts, clean, instead of a profile's or the job's name.
    pub app: Option<String>,
    /// Labels whose values become lines of one chart.
    pub dimensions: Vec<String>,
}

/// Charts made so far, by the family or profile chart that they are of.
#[derive(Debug, Default)]
pub struct Catalogue {
    charts: HashMap<Box<str>, Charts>,
    made: u32,
}

/// Where a series goes.
#[derive(Debug)]
pub struct Place {
    /// Which chart, whatever its instance: a family's own name, or that of a profile's chart.
    pub chart: String,
    /// Its definition.
    pub charts: Charts,
    /// What sets the instance apart: labels in order, cut to what is kept.
    pub labels: Vec<(String, String)>,
    /// The name of its line, where the chart has lines.
    pub line: String,
    /// As it is, or as a rate.
    pub take: Take,
    /// What values, bounds and sums are multiplied by.
    pub scale: f64,
    /// Its part.
    pub part: Part,
}

impl Place {
    /// The line to add.
    #[must_use]
    pub fn new_line(&self) -> NewLine<'_> {
        NewLine {
            name: &self.line,
            take: self.take,
            scale: self.scale,
        }
    }

    /// The instance, its id's last part being `suffix`.
    #[must_use]
    pub fn instance(&self, style: &Style, suffix: &str) -> Instance {
        let mut instance = Instance::new(&style.chart_type(), "").suffix(suffix);
        let labels = self.labels.iter().map(|(key, value)| Label {
            key: key.clone().into(),
            value: value.clone(),
            source: LabelSource::Auto,
        });
        instance.labels = labels.collect();
        instance
    }

    /// Length of the longest id of its charts, without a suffix.
    #[must_use]
    pub fn id_len(&self, style: &Style) -> usize {
        let longest = self.charts.each().map(|chart| chart.id.len()).max();
        style.chart_type().len() + 1 + longest.unwrap_or(0)
    }
}

impl Style {
    /// Part of every chart's id before the dot.
    #[must_use]
    pub fn chart_type(&self) -> String {
        format!("prometheus_{}", self.job)
    }
}

impl Catalogue {
    /// Finds the place of `sample`; `None` for what is not charted.
    pub fn place(
        &mut self,
        sample: &Sample<'_>,
        families: &mut Families,
        style: &Style,
        scrape: u32,
    ) -> Option<Place> {
        let role = families.role(sample, scrape)?;
        let profile = Profile::of(role.family);
        match profile.map(|it| (it, it.find(role.family))) {
            Some((_, Some(Known::LeftOut))) => None,
            Some((profile, Some(Known::Charted(chart, place, source)))) => {
                let shown = Shown {
                    chart,
                    place,
                    profile,
                };
                self.known(sample, role, &shown, source, style)
            }
            _ => {
                let app = profile.map(|it| it.app);
                Some(self.unknown(sample, role, app, families, style))
            }
        }
    }

    /// Forgets charts that no group uses.
    pub fn forget(&mut self) {
        let used = |charts: &Charts| charts.each().any(|chart| Arc::strong_count(chart) > 1);
        self.charts.retain(|_, charts| used(charts));
    }

    /// The place in a profile's chart. A metric of another type than the profile expects is not charted
    /// there: it would mean something else.
    fn known(
        &mut self,
        sample: &Sample<'_>,
        role: Role<'_>,
        shown: &Shown,
        source: Option<&'static Source>,
        style: &Style,
    ) -> Option<Place> {
        let app = style.app.as_deref().unwrap_or(shown.profile.app);
        let chart_id = format!("{app}_{}", shown.chart.id);
        match (&shown.chart.shape, source) {
            (Shape::Lines(drawn, _), Some(source)) if role.part == Part::Value => {
                let (line, labels) = match source.dim {
                    DimName::Fixed(name) => (name.to_owned(), split(sample, &[], role.part).1),
                    DimName::Label(label) => split(sample, &[label], role.part),
                };
                let charts = self.entry(&chart_id, |_| {
                    Charts::Lines(shown.lines(app, *drawn, &chart_id))
                });
                Some(Place {
                    chart: chart_id,
                    charts,
                    labels,
                    line,
                    take: source.take,
                    scale: source.scale,
                    part: role.part,
                })
            }
            (Shape::Histogram { scale, .. }, _) if role.kind == Kind::Histogram => {
                let charts = self.entry(&chart_id, |_| shown.histogram(app, &chart_id));
                Some(Place {
                    chart: chart_id,
                    charts,
                    labels: split(sample, &[], role.part).1,
                    line: String::new(),
                    take: Take::Value,
                    scale: *scale,
                    part: role.part,
                })
            }
            _ => None,
        }
    }

    /// The place of a metric of which only its page tells.
    fn unknown(
        &mut self,
        sample: &Sample<'_>,
        role: Role<'_>,
        app: Option<&str>,
        families: &Families,
        style: &Style,
    ) -> Place {
        let app = style.app.as_deref().or(app).unwrap_or(&style.job);
        let name = naming::clean(role.family);
        let counter = role.kind == Kind::Counter;
        let unit = naming::unit(role.family, counter);
        let (mut line, labels) = match role.kind {
            Kind::StateSet => split(sample, &[role.family], role.part),
            Kind::Counter | Kind::Gauge => {
                let by: Vec<&str> = style.dimensions.iter().map(String::as_str).collect();
                split(sample, &by, role.part)
            }
            _ => split(sample, &[], role.part),
        };
        let drawn = if line.is_empty() || !counter {
            Drawn::Line
        } else {
            Drawn::Stacked
        };
        if line.is_empty() {
            line.clone_from(&name);
        }
        let charts = self.entry(role.family, |priority| {
            let head = Head {
                app,
                name: &name,
                family: naming::section(role.family),
                title: naming::title(families.help(role.family), role.family),
                unit,
                priority,
            };
            match role.kind {
                Kind::Histogram => Charts::Histogram(head.histogram()),
                Kind::Summary => Charts::Summary(head.summary()),
                _ => Charts::Lines(head.lines(counter, drawn)),
            }
        });
        Place {
            chart: role.family.to_owned(),
            charts,
            labels,
            line,
            take: if counter { Take::Rate } else { Take::Value },
            scale: if counter { 1.0 } else { unit.scale },
            part: role.part,
        }
    }

    fn entry(&mut self, chart: &str, make: impl FnOnce(u32) -> Charts) -> Charts {
        if let Some(charts) = self.charts.get(chart) {
            return charts.clone();
        }
        let runtime = ["go_", "process_", "python_"]
            .iter()
            .any(|prefix| chart.starts_with(prefix));
        let first = if runtime { RUNTIME_PRIORITY } else { PRIORITY };
        // Four charts at most are made of one metric.
        let charts = make(first + (self.made % 1_900) * 4);
        self.made = self.made.wrapping_add(1);
        self.charts.insert(chart.into(), charts.clone());
        charts
    }
}

/// Splits the labels of `sample`: the values of those named in `by`, joined, are its line; the others are its
/// instance, in order and cut to what is kept. The label that only says the part is neither.
fn split(sample: &Sample<'_>, by: &[&str], part: Part) -> (String, Vec<(String, String)>) {
    let own = match part {
        Part::Bucket(_) => "le",
        Part::Quantile(_) => "quantile",
        _ => "",
    };
    let (mut line, mut labels) = (String::new(), vec![]);
    for (key, value) in sample.labels().filter(|(key, _)| *key != own) {
        if by.contains(&key) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&value[..value.floor_char_boundary(MAX_LABEL)]);
        } else if !value.is_empty() {
            labels.push((naming::cut(key), naming::cut(&value)));
        }
    }
    line.truncate(line.floor_char_boundary(MAX_LABEL));
    labels.sort_unstable();
    (line, labels)
}
