//! The pages of one captured server, merged into families that can be replayed or shown frozen.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::histogram;
use super::series::{self, GaugeRange, Kind, Moment, Series};

/// The page to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Page {
    /// Computed from t0, t10 and the load.
    Live,
    Idle,
    T0,
    T10,
    After,
}

/// Everything captured from one server.
pub struct Capture {
    live: Vec<Family>,
    idle: Vec<Family>,
    t0: Vec<Family>,
    t10: Vec<Family>,
    after: Vec<Family>,
    /// Value of the label `model_name`, as it will be shown.
    pub model: String,
}

#[derive(Clone, Debug, Default)]
struct Family {
    name: String,
    kind: String,
    /// The HELP and TYPE lines.
    comments: Vec<String>,
    series: Vec<Series>,
}

impl Capture {
    /// Reads the four pages in `folder`. `model` replaces the captured model's name, `ranges` the
    /// values of gauges.
    ///
    /// # Errors
    /// If a page is missing or holds a line that is no sample.
    pub fn load(folder: &Path, model: Option<&str>, ranges: &[GaugeRange]) -> Result<Self> {
        let page = |name: &str| read(&folder.join(format!("metrics_{name}.txt")), model);
        let (t0, t10) = (page("load_t0")?, page("load_t10")?);
        let mut live = merge(&t0, &t10);
        for range in ranges {
            let mut covered = live
                .iter_mut()
                .flat_map(|family| family.series.iter_mut())
                .filter(|series| series.kind == Kind::Gauge && range.covers(&series.head))
                .peekable();
            if covered.peek().is_none() {
                bail!(
                    "--gauge {}: no such gauge in {}",
                    range.name,
                    folder.display()
                );
            }
            for series in covered {
                let (low, high) = (format!("{:?}", range.low), format!("{:?}", range.high));
                *series = Series::new(series.head.clone(), Kind::Gauge, Some(&low), Some(&high));
            }
        }
        let shown = captured_model(&t0).unwrap_or_else(|| "unknown".to_owned());
        let model = model.map_or(shown, ToOwned::to_owned);
        Ok(Self {
            live,
            idle: page("idle")?,
            t0,
            t10,
            after: page("after")?,
            model,
        })
    }

    /// The text of `page` without the series whose `name{labels}` `withheld` picks, and with the values
    /// that `set` gives instead of others.
    pub fn render(
        &self,
        page: Page,
        moment: &Moment,
        withheld: impl Fn(&str) -> bool,
        set: impl Fn(&str) -> Option<f64>,
    ) -> String {
        let families = match page {
            Page::Live => &self.live,
            Page::Idle => &self.idle,
            Page::T0 => &self.t0,
            Page::T10 => &self.t10,
            Page::After => &self.after,
        };
        let mut text = String::with_capacity(1 << 17);
        for family in families {
            let mut shown = family
                .series
                .iter()
                .filter(|series| !withheld(&series.head))
                .peekable();
            if shown.peek().is_none() && !family.series.is_empty() {
                continue;
            }
            for comment in &family.comments {
                text.push_str(comment);
                text.push('\n');
            }
            for series in shown {
                text.push_str(&series.head);
                text.push(' ');
                match page {
                    _ if let Some(value) = set(&series.head) => {
                        let _ = write!(text, "{value:?}");
                    }
                    Page::Live => text.push_str(&series.text(moment)),
                    _ => text.push_str(&series.raw),
                }
                text.push('\n');
            }
        }
        text
    }
}

fn read(path: &Path, model: Option<&str>) -> Result<Vec<Family>> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text, model).with_context(|| format!("in {}", path.display()))
}

fn parse(text: &str, model: Option<&str>) -> Result<Vec<Family>> {
    let mut families: Vec<Family> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            if families.last().is_none_or(|family| family.name != name) {
                families.push(Family {
                    name: name.to_owned(),
                    ..Family::default()
                });
            }
            let last = families.len() - 1;
            if word == "TYPE" {
                families[last].kind = words.next().unwrap_or("untyped").to_owned();
            }
            families[last].comments.push(line.to_owned());
        } else if !line.is_empty() {
            let (Some((head, value)), Some(family)) = (line.rsplit_once(' '), families.last_mut())
            else {
                bail!("line {}: not a sample of a family", number + 1);
            };
            let kind = kind_of(&family.kind, series::name(head));
            let head = rename(head, model);
            family
                .series
                .push(Series::new(head, kind, Some(value), Some(value)));
        }
    }
    Ok(families)
}

fn kind_of(family: &str, name: &str) -> Kind {
    match family {
        "histogram" if name.ends_with("_bucket") => Kind::Bucket,
        "histogram" | "summary" | "counter" => Kind::Counter,
        _ => Kind::Gauge,
    }
}

/// Families of t0 with those series and families that only t10 shows behind them.
fn merge(t0: &[Family], t10: &[Family]) -> Vec<Family> {
    let ends: HashMap<&str, &Series> = t10
        .iter()
        .flat_map(|family| &family.series)
        .map(|s| (s.head.as_str(), s))
        .collect();
    let starts: HashSet<&str> = t0
        .iter()
        .flat_map(|family| &family.series)
        .map(|s| s.head.as_str())
        .collect();
    let mut merged: Vec<Family> = t0.to_vec();
    for family in &mut merged {
        for series in &mut family.series {
            let end = ends.get(series.head.as_str()).map(|end| end.raw.as_str());
            *series = Series::new(series.head.clone(), series.kind, Some(&series.raw), end);
        }
    }
    for family in t10 {
        let new = family
            .series
            .iter()
            .filter(|series| !starts.contains(series.head.as_str()));
        let new: Vec<Series> = new
            .map(|s| Series::new(s.head.clone(), s.kind, None, Some(&s.raw)))
            .collect();
        match merged.iter_mut().find(|known| known.name == family.name) {
            Some(known) => known.series.extend(new),
            None => merged.push(Family {
                series: new,
                ..family.clone()
            }),
        }
    }
    for family in merged
        .iter_mut()
        .filter(|family| family.kind == "histogram")
    {
        histogram::settle(&mut family.series);
    }
    merged
}

const MODEL_LABEL: &str = "model_name=\"";

/// The label's value in `name{labels}`, and where it stands.
fn model_span(head: &str) -> Option<(usize, usize)> {
    let start = head.find(MODEL_LABEL)? + MODEL_LABEL.len();
    let len = head[start..].find('"')?;
    Some((start, start + len))
}

fn rename(head: &str, model: Option<&str>) -> String {
    match (model, model_span(head)) {
        (Some(model), Some((start, end))) => {
            let model = model
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            format!("{}{model}{}", &head[..start], &head[end..])
        }
        _ => head.to_owned(),
    }
}

fn captured_model(families: &[Family]) -> Option<String> {
    let mut heads = families
        .iter()
        .flat_map(|family| &family.series)
        .map(|s| &s.head);
    heads.find_map(|head| model_span(head).map(|(start, end)| head[start..end].to_owned()))
}

#[cfg(test)]
mod tests;
