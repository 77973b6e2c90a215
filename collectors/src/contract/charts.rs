//! The charts that the source of a module defines, read from its text: a chart that nobody lists is found too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::read;

/// A chart's definition; what it does not say itself is its base's.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    pub context: String,
    pub title: String,
    pub units: String,
    /// As metadata.yaml has it: `line`, `stacked`.
    pub kind: String,
    pub dims: Vec<String>,
    /// Whether more dimensions are named while running.
    pub dynamic: bool,
}

/// Every chart with a context of its own below `dir`, by context.
pub fn defined(dir: &Path) -> BTreeMap<String, Definition> {
    let mut sources = vec![];
    collect(dir, &mut sources);
    let mut bases = BTreeMap::new();
    // A base may be defined after what it is the base of.
    for _ in 0..2 {
        for source in &sources {
            for (name, _, block) in blocks(source) {
                bases.insert(name, definition(block, &bases));
            }
        }
    }
    let all = sources.iter().flat_map(|source| blocks(source));
    let all = all.map(|(_, _, block)| definition(block, &bases));
    all.filter(|chart| chart.context.contains('.'))
        .map(|chart| (chart.context.clone(), chart))
        .collect()
}

fn collect(dir: &Path, sources: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, sources);
        } else if name.ends_with(".rs") && !name.contains("test") {
            let text = read(&path);
            let code = text.split("#[cfg(test)]\nmod tests {").next();
            sources.push(code.unwrap_or_default().to_owned());
        }
    }
}

/// Each `Chart { … }`: the name it is defined by, its place and what is between its braces.
fn blocks(source: &str) -> Vec<(String, usize, &str)> {
    let begin = Regex::new(r"(?:(\w+): Chart = )?\bChart \{").unwrap();
    let found = begin.captures_iter(source).filter_map(|begin| {
        let whole = begin.get(0)?;
        let name = begin.get(1).map_or("", |name| name.as_str());
        let mut depth = 1;
        let rest = &source[whole.end()..];
        let end = rest.find(|c| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth == 0
        })?;
        Some((name.to_owned(), whole.start(), &rest[..end]))
    });
    found.collect()
}

fn definition(block: &str, bases: &BTreeMap<String, Definition>) -> Definition {
    let one = |pattern: &str| {
        let found = Regex::new(pattern).unwrap().captures(block)?;
        Some(found[1].to_owned())
    };
    let base = one(r"\.\.(\w+)").and_then(|name| bases.get(&name).cloned());
    let mut chart = base.unwrap_or_default();
    let mut set = |pattern: &str, field: fn(&mut Definition) -> &mut String| {
        if let Some(value) = one(pattern) {
            *field(&mut chart) = value;
        }
    };
    set(r#"context: "([^"]*)""#, |chart| &mut chart.context);
    set(r#"title: "([^"]*)""#, |chart| &mut chart.title);
    set(r#"units: "([^"]*)""#, |chart| &mut chart.units);
    set(r"kind: Kind::(\w+)", |chart| &mut chart.kind);
    chart.kind = chart.kind.to_lowercase();
    if let Some((_, rest)) = block.split_once("dims: &[") {
        let list = rest.split(']').next().unwrap_or_default();
        let dim = Regex::new(r#"Dim::\w+\(\s*"([^"]*)"#).unwrap();
        chart.dims = dim
            .captures_iter(list)
            .map(|dim| dim[1].to_owned())
            .collect();
    }
    if block.contains("dynamic:") {
        chart.dynamic = block.contains("dynamic: Some");
    }
    chart
}

#[test]
fn a_chart_is_read_with_what_its_base_says() {
    let dir = tempfile::tempdir().unwrap();
    let source = "pub static A: Chart = Chart {\n context: \"m.a\",\n title: \"A\",\n ..BASE };\n\
                  const BASE: Chart = Chart { context: \"\", units: \"B\", kind: Kind::Line, dims: \
                  &[Dim::milli(\"x\").optional(), Dim::new(\"y\")], dynamic: None };";
    fs::write(dir.path().join("charts.rs"), source).unwrap();
    let found = defined(dir.path());
    let chart = &found["m.a"];
    assert_eq!((chart.units.as_str(), chart.kind.as_str()), ("B", "line"));
    assert_eq!(chart.dims, ["x", "y"]);
}
