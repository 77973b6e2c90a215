//! The table made ready for reading: which samples go into which slot, found by a metric's name.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::spec::{Lines, Source, Spec, Take, Value};
use crate::sglang::charts::TABLE;

/// Everything that the table asks for.
pub static PLAN: LazyLock<Plan> = LazyLock::new(|| Plan::new(TABLE));

/// Slots, and the charts that are made of them.
#[derive(Debug, Default)]
pub struct Plan {
    families: HashMap<String, Family>,
    /// The charts, in the table's order.
    pub charts: Vec<Planned>,
    /// Number of slots.
    pub slots: usize,
}

/// What a metric's samples are for.
#[derive(Debug, Default)]
pub struct Family {
    /// The label that tells its samples apart, if any does.
    pub key: Option<&'static str>,
    /// Slots they go into.
    pub targets: Vec<Target>,
}

/// A slot that takes samples of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its number.
    pub slot: usize,
    /// Which samples.
    pub choice: Choice,
}

/// Which samples of a metric a slot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All, as one value.
    All,
    /// Those whose key has this value.
    Is(&'static str),
    /// All, apart by their key.
    Each,
}

/// A chart and its lines.
#[derive(Debug)]
pub struct Planned {
    /// As in the table.
    pub spec: &'static Spec,
    /// Its lines: one for each dimension, or the one that is made for each value of a label.
    pub lines: Vec<Line>,
}

/// A line: how it is taken, and where its alternatives are.
#[derive(Clone, Debug)]
pub struct Line {
    /// As in the table.
    pub value: Value,
    /// The first one that is there counts.
    pub places: Vec<Place>,
}

/// Where a source's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The slot; of a histogram its sum.
    pub slot: usize,
    /// A histogram's count.
    pub count: Option<usize>,
}

impl Plan {
    /// Of a table.
    #[must_use]
    pub fn new(table: &[&'static [Spec]]) -> Self {
        let mut plan = Self::default();
        for spec in table.iter().copied().flatten() {
            let (by, values) = match &spec.lines {
                Lines::Fixed(values) => (None, *values),
                Lines::ByLabel(label, value) => (Some(*label), std::slice::from_ref(value)),
            };
            let lines = values.iter().map(|value| plan.line(by, value)).collect();
            plan.charts.push(Planned { spec, lines });
        }
        plan
    }

    /// What samples of `name`, without its prefix, are for.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<&Family> {
        self.families.get(name)
    }

    fn line(&mut self, by: Option<&'static str>, value: &Value) -> Line {
        let mut places = vec![];
        for source in value.sources {
            let mut slot =
                |suffix: &str| self.slot(&format!("{}{suffix}", source.name), by, source);
            if matches!(value.take, Take::Mean | Take::MeanOrGauge) {
                places.push(Place {
                    slot: slot("_sum"),
                    count: Some(slot("_count")),
                });
            }
            if value.take != Take::Mean {
                places.push(Place {
                    slot: slot(""),
                    count: None,
                });
            }
        }
        Line {
            places,
            value: *value,
        }
    }

    /// The slot for those samples; one for all charts that ask for the same.
    fn slot(&mut self, name: &str, by: Option<&'static str>, source: &Source) -> usize {
        let (key, choice) = match (by, source.label) {
            (Some(label), _) => (Some(label), Choice::Each),
            (None, Some((label, value))) => (Some(label), Choice::Is(value)),
            (None, None) => (None, Choice::All),
        };
        let family = self.families.entry(name.to_owned()).or_default();
        family.key = family.key.or(key);
        let known = family.targets.iter().find(|it| it.choice == choice);
        if let Some(known) = known {
            return known.slot;
        }
        let slot = self.slots;
        family.targets.push(Target { slot, choice });
        self.slots += 1;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_dimension_and_every_dimension_a_line() {
        for planned in &PLAN.charts {
            let (chart, lines) = (planned.spec.chart, planned.lines.len());
            match planned.spec.lines {
                Lines::Fixed(_) => assert_eq!(chart.dims.len(), lines, "{}", chart.id),
                Lines::ByLabel(..) => assert!(chart.dynamic.is_some(), "{}", chart.id),
            }
        }
    }

    #[test]
    fn a_metrics_samples_are_told_apart_by_one_label_only() {
        for planned in &PLAN.charts {
            let (by, values) = match &planned.spec.lines {
                Lines::Fixed(values) => (None, *values),
                Lines::ByLabel(label, value) => (Some(*label), std::slice::from_ref(value)),
            };
            for source in values.iter().flat_map(|value| value.sources) {
                let Some(label) = by.or(source.label.map(|(label, _)| label)) else {
                    continue;
                };
                let families =
                    ["", "_sum"].map(|end| PLAN.family(&format!("{}{end}", source.name)));
                let keys = families.into_iter().flatten().map(|family| family.key);
                assert!(keys.eq([Some(label)]), "{}", source.name);
            }
        }
    }
}
