//! Columns of a table: how their cells are shown, sorted, filtered and summed, in the agent's words
//! (`functions_fields.c` in its source).

use serde_json::{Value, json};

use super::table::Row;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its key, and its heading.
    pub id: &'static str,
    /// What it means, shown as a tooltip.
    pub name: &'static str,
    kind: Kind,
    units: Option<&'static str>,
    max: Max,
    unique: bool,
    visible: bool,
    sticky: bool,
    wrap: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Pill,
    Number,
    Bar,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Max {
    None,
    Fixed(f64),
    OfRows,
}

impl Column {
    const fn new(id: &'static str, name: &'static str, kind: Kind) -> Self {
        Self {
            id,
            name,
            kind,
            units: None,
            max: Max::None,
            unique: false,
            visible: true,
            sticky: false,
            wrap: false,
        }
    }

    /// A word or a sentence; filtered by choosing among those that occur.
    #[must_use]
    pub const fn text(id: &'static str, name: &'static str) -> Self {
        Self::new(id, name, Kind::Text)
    }

    /// A word out of few, drawn as a badge.
    #[must_use]
    pub const fn pill(id: &'static str, name: &'static str) -> Self {
        Self::new(id, name, Kind::Pill)
    }

    /// A number that names something; filtered by choosing.
    #[must_use]
    pub const fn number(id: &'static str, name: &'static str) -> Self {
        Self::new(id, name, Kind::Number)
    }

    /// A quantity with a bar as long as its share of the largest; filtered by a range.
    #[must_use]
    pub const fn quantity(id: &'static str, name: &'static str, units: &'static str) -> Self {
        Self {
            units: Some(units),
            max: Max::OfRows,
            ..Self::new(id, name, Kind::Bar)
        }
    }

    /// The same, with a full bar at `max`.
    #[must_use]
    pub const fn up_to(self, max: f64) -> Self {
        Self {
            max: Max::Fixed(max),
            ..self
        }
    }

    /// The same, telling rows apart.
    #[must_use]
    pub const fn unique(self) -> Self {
        Self {
            unique: true,
            ..self
        }
    }

    /// The same, shown only on demand.
    #[must_use]
    pub const fn hidden(self) -> Self {
        Self {
            visible: false,
            ..self
        }
    }

    /// The same, staying in view.
    #[must_use]
    pub const fn sticky(self) -> Self {
        Self {
            sticky: true,
            ..self
        }
    }

    /// The same, for text of several lines.
    #[must_use]
    pub const fn wrapped(self) -> Self {
        Self { wrap: true, ..self }
    }

    /// Whether rows are chosen by its values.
    pub(super) fn is_chosen(&self) -> bool {
        self.kind != Kind::Bar
    }

    fn is_summed(&self) -> bool {
        self.kind == Kind::Bar && !matches!(self.max, Max::Fixed(_))
    }

    /// Its description.
    pub(super) fn json(&self, index: usize, rows: &[Row]) -> Value {
        let decimals = if self.kind == Kind::Bar { 2 } else { 0 };
        let (kind, visualization, transform) = match self.kind {
            Kind::Text => ("string", "value", "none"),
            Kind::Pill => ("string", "pill", "none"),
            Kind::Number => ("integer", "value", "number"),
            Kind::Bar => ("bar-with-integer", "bar", "number"),
        };
        let summary = match self.kind {
            Kind::Bar if self.is_summed() => "sum",
            Kind::Bar => "max",
            _ => "count",
        };
        let mut column = json!({
            "index": index,
            "unique_key": self.unique,
            "name": self.name,
            "visible": self.visible,
            "type": kind,
            "visualization": visualization,
            "value_options": {
                "transform": transform,
                "decimal_points": decimals,
                "default_value": null,
            },
            "sort": if self.kind == Kind::Bar { "descending" } else { "ascending" },
            "sortable": true,
            "sticky": self.sticky,
            "summary": summary,
            "filter": if self.is_chosen() { "multiselect" } else { "range" },
            "full_width": self.wrap,
            "wrap": self.wrap,
            "default_expanded_filter": false,
        });
        if let Some(units) = self.units {
            column["units"] = units.into();
            column["value_options"]["units"] = units.into();
        }
        let max = match self.max {
            Max::None => None,
            Max::Fixed(max) => Some(max),
            Max::OfRows => Some(
                rows.iter()
                    .filter_map(|row| row.quantity(index))
                    .fold(0.0, f64::max),
            ),
        };
        if let Some(max) = max {
            column["max"] = max.into();
        }
        column
    }
}

/// The column that nobody sees and that colours a row.
pub(super) fn row_options(index: usize) -> Value {
    json!({
        "index": index,
        "unique_key": false,
        "name": "rowOptions",
        "visible": false,
        "type": "none",
        "visualization": "rowOptions",
        "value_options": {"transform": "none", "decimal_points": 0, "default_value": null},
        "sort": "ascending",
        "sortable": false,
        "sticky": false,
        "summary": "count",
        "filter": "none",
        "full_width": false,
        "wrap": false,
        "default_expanded_filter": false,
        "dummy": true,
    })
}
