//! What Netdata makes of a plugin's output, as far as a plugin can be disabled, restarted or misread for it:
//! how the stream is cut into lines, lines into words, and what each command needs. Independent of the code
//! that it judges; for tests and fuzzing only.

mod words;

use std::collections::{BTreeMap, BTreeSet};

pub use words::split;

/// What differs between agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Words of a line that are looked at.
    pub max_words: usize,
    /// Bytes of a line that are read at once; what follows is taken for the next line.
    pub max_line: usize,
    /// Whether virtual hosts, progress, dynamic configuration and heatmaps are known.
    pub modern: bool,
}

impl Dialect {
    /// Netdata 1.37.
    pub const V1_37: Self = Self {
        max_words: 20,
        max_line: 15 * 1024 - 1,
        modern: false,
    };
    /// Netdata 2.x.
    pub const V2: Self = Self {
        max_words: 30,
        max_line: 15 * 1024 - 1,
        modern: true,
    };
}

/// Longest `type.id`, dimension or label value that 1.37 keeps whole.
pub const MAX_ID: usize = 200;

/// A chart as the agent knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Title, units, family, context, kind, priority, interval, options, plugin, module: the words after the
    /// chart's name.
    pub fields: Vec<String>,
    /// Committed labels and their values.
    pub labels: BTreeMap<String, String>,
    /// Dimensions in the order in which they came.
    pub dims: Vec<String>,
    /// The values of the last finished update, by dimension.
    pub values: BTreeMap<String, i64>,
    /// Finished updates.
    pub updates: u64,
    /// Whether it was declared obsolete last.
    pub obsolete: bool,
}

/// The agent's end of the pipe.
#[derive(Clone, Debug)]
pub struct Agent {
    dialect: Dialect,
    /// Every chart ever defined, by `type.id`.
    pub charts: BTreeMap<String, Chart>,
    /// Functions registered, by name.
    pub functions: BTreeSet<String>,
    /// Bodies of function results, by transaction.
    pub results: BTreeMap<String, Vec<u8>>,
    /// Variables set, as `scope name value` (the scope is a chart's id or HOST).
    pub variables: BTreeMap<String, f64>,
    scope: Option<String>,
    open: Option<(String, BTreeMap<String, i64>)>,
    labels: BTreeMap<String, String>,
    result: Option<(String, Vec<u8>)>,
}

impl Agent {
    /// An agent that has heard nothing yet.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            charts: BTreeMap::new(),
            functions: BTreeSet::new(),
            results: BTreeMap::new(),
            variables: BTreeMap::new(),
            scope: None,
            open: None,
            labels: BTreeMap::new(),
            result: None,
        }
    }

    /// Reads what a plugin wrote in one go.
    ///
    /// # Errors
    /// The first line with which a plugin would harm itself, and why.
    pub fn read(&mut self, output: &[u8]) -> Result<(), String> {
        if !output.is_empty() && !output.ends_with(b"\n") {
            return Err("the last line has no end: the next one would continue it".to_owned());
        }
        for line in output.split_inclusive(|byte| *byte == b'\n') {
            if let Some((_, body)) = &mut self.result
                && !line.starts_with(b"FUNCTION_RESULT_END")
            {
                body.extend_from_slice(line);
                continue;
            }
            self.line(line)
                .map_err(|why| format!("{why}: {:.300}", String::from_utf8_lossy(line)))?;
        }
        if let Some((id, _)) = &self.open {
            return Err(format!("{id} is begun and not ended"));
        }
        if !self.labels.is_empty() {
            return Err("labels are not committed: they leak onto the next chart".to_owned());
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.len() > self.dialect.max_line {
            return Err(format!("a line of {} bytes", line.len()));
        }
        let all = split(line, usize::MAX);
        if all.len() > self.dialect.max_words {
            return Err(format!("{} words", all.len()));
        }
        let words = all
            .into_iter()
            .map(|word| String::from_utf8(word).map_err(|_| "text that is no UTF-8".to_owned()))
            .collect::<Result<Vec<_>, _>>()?;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let Some((command, words)) = words.split_first() else {
            return Ok(());
        };
        match (*command, words) {
            ("CHART", words) => self.chart(words),
            ("CLABEL", [name, value, source]) => self.label(name, value, source),
            ("CLABEL_COMMIT", []) => self.commit(),
            ("DIMENSION", words) => self.dimension(words),
            ("BEGIN", [id, elapsed @ ..]) => self.begin(id, elapsed),
            ("SET", [dim, value]) => self.set(dim, value),
            ("END", []) => self.end(),
            ("VARIABLE", words) => self.variable(words),
            ("FUNCTION", [_, name, ..]) => self.function(name),
            ("FUNCTION_RESULT_BEGIN", [txn, code, _, _]) => self.result_begin(txn, code),
            ("FUNCTION_RESULT_END", []) => self.result_end(),
            ("HOST_DEFINE" | "HOST_LABEL" | "HOST_DEFINE_END" | "HOST", _)
            | ("FUNCTION_PROGRESS" | "CONFIG", _)
                if self.dialect.modern =>
            {
                Ok(())
            }
            _ => Err("not a command, or not with these words".to_owned()),
        }
    }

    fn chart(&mut self, words: &[&str]) -> Result<(), String> {
        self.nothing_open()?;
        let [id, _name, fields @ ..] = words else {
            return Err("CHART without its words".to_owned());
        };
        let Some((kind, rest)) = id.split_once('.') else {
            return Err("CHART without type.id disables the plugin".to_owned());
        };
        if kind.is_empty() || rest.is_empty() || id.len() > MAX_ID {
            return Err(format!("an id of {} bytes", id.len()));
        }
        let clean = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !id.chars().all(clean) {
            return Err("an id that Netdata changes".to_owned());
        }
        let [.., options, _plugin, _module] = fields else {
            return Err("CHART without options, plugin and module".to_owned());
        };
        if fields.len() != 10
            || fields[5].parse::<u32>().is_err()
            || fields[6].parse::<u32>().is_err()
        {
            return Err("CHART with other words than it has".to_owned());
        }
        let kinds: &[&str] = match self.dialect.modern {
            true => &["line", "area", "stacked", "heatmap"],
            false => &["line", "area", "stacked"],
        };
        if !kinds.contains(&fields[4]) {
            return Err("a kind of chart that the agent does not know".to_owned());
        }
        let chart = self.charts.entry((*id).to_owned()).or_default();
        chart.fields = fields.iter().map(ToString::to_string).collect();
        chart.obsolete = *options == "obsolete";
        if chart.obsolete {
            // Should it come back, it begins anew.
            chart.updates = 0;
        }
        self.scope = Some((*id).to_owned());
        Ok(())
    }

    fn label(&mut self, name: &str, value: &str, source: &str) -> Result<(), String> {
        if self.scope.is_none() {
            return Err("CLABEL without a chart".to_owned());
        }
        if name.is_empty() || value.is_empty() || !matches!(source, "1" | "2") {
            return Err("CLABEL without name, value or source".to_owned());
        }
        if name.len() > MAX_ID || value.len() > MAX_ID {
            return Err("a label that is cut".to_owned());
        }
        if name.contains([';', '=', ',']) || value.contains([';', '=', ',']) {
            return Err("a label that Netdata changes".to_owned());
        }
        self.labels.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), String> {
        let chart = self.scope.as_ref().and_then(|id| self.charts.get_mut(id));
        chart.ok_or("CLABEL_COMMIT without a chart")?.labels = std::mem::take(&mut self.labels);
        Ok(())
    }

    fn dimension(&mut self, words: &[&str]) -> Result<(), String> {
        self.nothing_open()?;
        let [
            id,
            _name,
            "absolute" | "incremental",
            multiplier,
            divisor,
            options,
        ] = words
        else {
            return Err("DIMENSION with other words than it has".to_owned());
        };
        if id.is_empty() || id.len() > MAX_ID || multiplier.parse::<i32>().is_err() {
            return Err("DIMENSION without an id or a multiplier".to_owned());
        }
        if divisor.parse::<u32>().map_or(true, |divisor| divisor == 0) {
            return Err("a divisor that divides nothing".to_owned());
        }
        let chart = self.scope.as_ref().and_then(|id| self.charts.get_mut(id));
        let chart = chart.ok_or("DIMENSION without a chart")?;
        chart.dims.retain(|dim| dim != id);
        if *options != "obsolete" {
            chart.dims.push((*id).to_owned());
        }
        Ok(())
    }

    fn begin(&mut self, id: &str, elapsed: &[&str]) -> Result<(), String> {
        self.nothing_open()?;
        let chart = self.charts.get(id).ok_or("BEGIN of an unknown chart")?;
        if chart.obsolete {
            return Err("BEGIN of an obsolete chart".to_owned());
        }
        let dated = match elapsed {
            [] => chart.updates == 0,
            [us] => us.parse::<u64>().is_ok_and(|us| us > 0),
            _ => false,
        };
        if !dated {
            return Err("BEGIN without a sound time since the last".to_owned());
        }
        self.open = Some((id.to_owned(), BTreeMap::new()));
        Ok(())
    }

    fn set(&mut self, dim: &str, value: &str) -> Result<(), String> {
        let (id, values) = self
            .open
            .as_mut()
            .ok_or("SET outside of BEGIN disables the plugin")?;
        let known = self
            .charts
            .get(id)
            .is_some_and(|chart| chart.dims.iter().any(|it| it == dim));
        if !known {
            return Err("SET of an unknown dimension disables the plugin".to_owned());
        }
        let value = value.parse().map_err(|_| "SET of no integer")?;
        match values.insert(dim.to_owned(), value) {
            None => Ok(()),
            Some(_) => Err("SET twice: two things are drawn as one".to_owned()),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let (id, values) = self.open.take().ok_or("END without BEGIN")?;
        let chart = self.charts.get_mut(&id).ok_or("END of an unknown chart")?;
        chart.values = values;
        chart.updates += 1;
        Ok(())
    }

    fn variable(&mut self, words: &[&str]) -> Result<(), String> {
        let (scope, name, value) = match (words, &self.scope) {
            (["HOST" | "GLOBAL", name, value], _) => ("HOST", name, value),
            (["CHART" | "LOCAL", name, value], Some(id)) => (id.as_str(), name, value),
            _ => return Err("VARIABLE without scope, name or value".to_owned()),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || name.len() > MAX_ID || !name.chars().all(plain) {
            return Err("a variable's name that Netdata changes".to_owned());
        }
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite());
        let value = value.ok_or("VARIABLE that is no number")?;
        self.variables.insert(format!("{scope} {name}"), value);
        Ok(())
    }

    fn function(&mut self, name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("a function without a name".to_owned());
        }
        self.functions.insert(name.to_owned());
        Ok(())
    }

    fn result_begin(&mut self, txn: &str, code: &str) -> Result<(), String> {
        self.nothing_open()?;
        if txn.is_empty() || code.parse::<u16>().is_err() {
            return Err("a function's result without transaction or code".to_owned());
        }
        self.result = Some((txn.to_owned(), Vec::new()));
        Ok(())
    }

    fn result_end(&mut self) -> Result<(), String> {
        let (txn, body) = self
            .result
            .take()
            .ok_or("a result's end without its beginning")?;
        self.results.insert(txn, body);
        Ok(())
    }

    fn nothing_open(&self) -> Result<(), String> {
        match &self.open {
            Some((id, _)) => Err(format!("{id} is begun and not ended")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
