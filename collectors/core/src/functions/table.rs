//! The agent's format of a table: columns, rows, and the sums drawn of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Refusal;
use super::column::{Column, row_options};

/// Rows sent at most; a browser holds them all.
const MAX_ROWS: usize = 5000;

/// What a function's table looks like.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// In the order of the cells of a row. One is [`Column::unique`].
    pub columns: &'static [Column],
    /// Sorted by this column at first.
    pub sorted_by: &'static str,
    /// Sums over rows.
    pub charts: &'static [Chart],
    /// Columns by which rows can be grouped and charts split. The first is used at first.
    pub grouped_by: &'static [&'static str],
    /// Seconds between two calls while somebody looks.
    pub update_every: u32,
}

/// A sum over rows, by group.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// Its key.
    pub id: &'static str,
    /// Its title.
    pub name: &'static str,
    /// What is summed.
    pub columns: &'static [&'static str],
}

/// A cell. What is unknown is empty, never 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not known, or not applicable.
    Unknown,
    /// A word or a sentence.
    Text(String),
    /// A quantity, in its column's unit.
    Quantity(f64),
    /// A number that names something.
    Number(u64),
}

impl From<Option<f64>> for Cell {
    fn from(value: Option<f64>) -> Self {
        value
            .filter(|value| value.is_finite())
            .map_or(Self::Unknown, Self::Quantity)
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Unknown, Self::Text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl Cell {
    /// As a person would write it in a filter.
    fn is(&self, word: &str) -> bool {
        match self {
            Self::Unknown => word.is_empty(),
            Self::Text(text) => text == word,
            Self::Number(number) => word.parse() == Ok(*number),
            Self::Quantity(_) => false,
        }
    }
}

impl From<&Cell> for Value {
    fn from(cell: &Cell) -> Self {
        match cell {
            Cell::Unknown => Self::Null,
            Cell::Text(text) => text.as_str().into(),
            Cell::Number(number) => (*number).into(),
            // Three decimals: more is noise, and bytes.
            Cell::Quantity(value) => ((value * 1e3).round() / 1e3).into(),
        }
    }
}

/// How a row is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Severity {
    /// As any.
    #[default]
    Normal,
    /// Worth a look.
    Notice,
    /// Something to do.
    Warning,
    /// Something is broken.
    Error,
}

/// A row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// One for each column, in their order.
    pub cells: Vec<Cell>,
    /// Its colour.
    pub severity: Severity,
}

impl Row {
    /// A cell for each column, and the row's colour after them.
    fn json(&self) -> Value {
        let severity = match self.severity {
            Severity::Normal => "normal",
            Severity::Notice => "notice",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let colour = json!({"rowOptions": {"severity": severity}});
        self.cells.iter().map(Value::from).chain([colour]).collect()
    }

    /// The quantity in a column.
    pub(super) fn quantity(&self, column: usize) -> Option<f64> {
        match self.cells.get(column)? {
            Cell::Quantity(value) => Some(*value),
            _ => None,
        }
    }
}

impl View {
    /// The table of `rows`, as members of an answer.
    pub(super) fn json(&self, rows: &[Row]) -> Value {
        let shown = &rows[..rows.len().min(MAX_ROWS)];
        let mut columns: Map<String, Value> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| (column.id.to_owned(), column.json(index, shown)))
            .collect();
        columns.insert("rowOptions".to_owned(), row_options(self.columns.len()));
        let charts: Map<String, Value> = self
            .charts
            .iter()
            .map(|chart| {
                let drawn =
                    json!({"name": chart.name, "type": "stacked-bar", "columns": chart.columns});
                (chart.id.to_owned(), drawn)
            })
            .collect();
        let first = self.grouped_by.first();
        let default_charts: Vec<_> = self
            .charts
            .iter()
            .filter_map(|chart| first.map(|group| json!([chart.id, group])))
            .collect();
        let group_by: Map<String, Value> = self
            .grouped_by
            .iter()
            .map(|id| {
                let group = json!({"name": format!("By {id}"), "columns": [id]});
                ((*id).to_owned(), group)
            })
            .collect();
        json!({
            "columns": columns,
            "data": shown.iter().map(Row::json).collect::<Vec<_>>(),
            "default_sort_column": self.sorted_by,
            "charts": charts,
            "default_charts": default_charts,
            "group_by": group_by,
        })
    }

    /// Keeps the rows that have, in every column named, one of the words given for it.
    pub(super) fn keep(&self, rows: &mut Vec<Row>, chosen: &Chosen) {
        for (column, words) in &chosen.0 {
            rows.retain(|row| {
                let cell = row.cells.get(*column);
                cell.is_some_and(|cell| words.iter().any(|word| cell.is(word)))
            });
        }
    }
}

/// Which rows a caller wants: words by the index of a column.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen(BTreeMap<usize, Vec<String>>);

impl Chosen {
    /// Wants rows of `view` with one of `words` in the column `id`, upper or lower case.
    pub(super) fn add(
        &mut self,
        view: &View,
        id: &str,
        words: impl IntoIterator<Item = String>,
    ) -> Result<(), Refusal> {
        let mut columns = view.columns.iter();
        let found =
            columns.position(|column| column.is_chosen() && column.id.eq_ignore_ascii_case(id));
        let Some(index) = found else {
            let known: Vec<_> = view
                .columns
                .iter()
                .filter(|column| column.is_chosen())
                .map(|column| column.id)
                .collect();
            return Err(Refusal::bad_request(format!(
                "There is no {id:?} to choose rows by; there are {}.",
                known.join(", ")
            )));
        };
        self.0.entry(index).or_default().extend(words);
        Ok(())
    }
}
