//! Formulas over a capture, in a small language of their own: what a chart has to show, computed from the text of
//! two pages. Written for being read beside the pages; shares nothing with the code under test.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail, ensure};

use crate::capture::Capture;

/// Labels that say where a series comes from, not what it counts.
const PLACE: &[&str] = &[
    "model_name",
    "engine_type",
    "dp_rank",
    "pp_rank",
    "tp_rank",
    "moe_ep_rank",
    "le",
];

/// The value of a formula, alternatives apart by `|`: of the first whose metrics the capture has. `None` if it has
/// those of none, or if nothing was counted.
///
/// # Errors
/// When the formula cannot be read.
pub fn evaluate(formula: &str, capture: &Capture) -> anyhow::Result<Option<f64>> {
    for alternative in alternatives(formula) {
        let (text, condition) = match alternative.split_once(" if ") {
            Some((text, metric)) => (text, Some(metric)),
            None => (alternative, None),
        };
        if let Some(metric) = condition
            && capture.series_of(metric).next().is_none()
        {
            continue;
        }
        let mut parser = Parser {
            rest: text.trim(),
            capture,
        };
        let value = parser.sum().with_context(|| formula.to_owned())?;
        ensure!(
            parser.rest.is_empty(),
            "{formula}: what is {:?}?",
            parser.rest
        );
        if let Some(value) = value.filter(|value| value.is_finite()) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The bounds of the first of the selectors, apart by `|`, that the capture has, and how many observations a second
/// fell between each and the one before.
#[must_use]
pub fn buckets(selectors: &str, capture: &Capture) -> Vec<(f64, f64)> {
    let of = |selector| capture.buckets(&end_with("_bucket", selector));
    let mut all = alternatives(selectors).map(of);
    let mut below = 0.0;
    let cumulative = all.find(|buckets| !buckets.is_empty()).unwrap_or_default();
    cumulative
        .into_iter()
        .map(|(bound, gain)| (bound, gain - std::mem::replace(&mut below, gain)))
        .collect()
}

/// Every name of a metric in a formula.
#[must_use]
pub fn metrics(formula: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut quoted = false;
    let mut word = String::new();
    for c in formula.chars().chain([' ']) {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => {}
            c if c.is_ascii_alphanumeric() || c == '_' => word.push(c),
            c => {
                // Words before a bracket are functions, those before a comparison are labels.
                if word.contains('_') && !"(=~^".contains(c) {
                    names.insert(std::mem::take(&mut word));
                }
                word.clear();
            }
        }
    }
    names
}

/// Values of `label` among the series of the first metric in `formula`.
#[must_use]
pub fn values_of<'a>(label: &str, formula: &str, capture: &'a Capture) -> BTreeSet<&'a str> {
    let name = first_metric(formula);
    let names = [name.to_owned(), format!("{name}_count")];
    let series = names.iter().flat_map(|name| capture.series_of(name));
    series
        .filter_map(|series| label_of(series.name, label))
        .collect()
}

/// The sets of labels, places left out, of the series of the first metric in `formula`: what a dimension is called,
/// and the selector of the series that it is made of.
#[must_use]
pub fn label_sets(formula: &str, capture: &Capture) -> BTreeSet<(String, String)> {
    let name = first_metric(formula);
    let names = [name.to_owned(), format!("{name}_count")];
    let series = names.iter().flat_map(|name| capture.series_of(name));
    series
        .map(|series| {
            let labels: Vec<_> = labels(series.name)
                .filter(|(label, _)| !PLACE.contains(label))
                .collect();
            let values: Vec<_> = labels.iter().map(|(_, value)| *value).collect();
            let conditions: Vec<_> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{value}\""))
                .collect();
            let dim = match values.join(" ") {
                none if none.is_empty() => "value".to_owned(),
                some => some,
            };
            (dim, conditions.join(","))
        })
        .collect()
}

/// A metric with all of its labels, as in `name{label="value",…}`.
#[must_use]
pub fn label_of<'a>(series: &'a str, label: &str) -> Option<&'a str> {
    labels(series)
        .find(|(name, _)| *name == label)
        .map(|(_, value)| value)
}

/// Whether a series is one of those that `selector` asks for.
#[must_use]
pub fn selects(selector: &str, series: &str) -> bool {
    let (name, conditions) = selector.split_once('{').unwrap_or((selector, ""));
    let own = series.split('{').next().unwrap_or(series);
    let own = own.strip_prefix("sglang:").unwrap_or(own);
    let holds = |condition: &str| {
        let Some((label, wanted)) = condition.split_once('"') else {
            return condition.trim_matches(['}', ' ']).is_empty();
        };
        let wanted = wanted.trim_end_matches(['}', '"']);
        let value = |end: &str| label_of(series, label.trim_end_matches(end));
        match label {
            label if label.ends_with("=~") => {
                value("=~").is_some_and(|value| wanted.split('|').any(|it| it == value))
            }
            label if label.ends_with("^=") => {
                value("^=").is_some_and(|value| value.starts_with(wanted))
            }
            _ => value("=") == Some(wanted),
        }
    };
    own == name && conditions.split(',').all(holds)
}

fn alternatives(formula: &str) -> impl Iterator<Item = &str> {
    formula.split(" | ").map(str::trim)
}

/// The first word that is no function's name.
fn first_metric(formula: &str) -> &str {
    let words = formula.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut words = words.filter(|word| word.contains('_'));
    words.next().unwrap_or_default()
}

fn end_with(end: &str, selector: &str) -> String {
    match selector.split_once('{') {
        Some((name, labels)) => format!("{name}{end}{{{labels}"),
        None => format!("{selector}{end}"),
    }
}

fn labels(series: &str) -> impl Iterator<Item = (&str, &str)> {
    let inside = series.split_once('{').map_or("", |(_, rest)| rest);
    let pairs = inside.trim_end_matches('}').split("\",");
    pairs.filter_map(|pair| {
        let (label, value) = pair.split_once("=\"")?;
        Some((label, value.trim_end_matches('"')))
    })
}

/// What is left to read.
struct Parser<'a> {
    rest: &'a str,
    capture: &'a Capture,
}

/// `None`: the capture does not say.
type Unknown = Option<f64>;

impl<'a> Parser<'a> {
    fn sum(&mut self) -> anyhow::Result<Unknown> {
        let mut value = self.product()?;
        while let Some(sign) = self.one_of("+-") {
            let other = self.product()?;
            let both = value.zip(other);
            value = both.map(|(a, b)| if sign == '+' { a + b } else { a - b });
        }
        Ok(value)
    }

    fn product(&mut self) -> anyhow::Result<Unknown> {
        let mut value = self.factor()?;
        while let Some(sign) = self.one_of("*/") {
            let other = self.factor()?;
            let both = value.zip(other);
            value = both.map(|(a, b)| if sign == '*' { a * b } else { a / b });
        }
        Ok(value)
    }

    fn factor(&mut self) -> anyhow::Result<Unknown> {
        if self.one_of("(").is_some() {
            let value = self.sum()?;
            ensure!(self.one_of(")").is_some(), "no ) before {:?}", self.rest);
            return Ok(value);
        }
        let word = self.word();
        if let Ok(number) = word.parse() {
            return Ok(Some(number));
        }
        ensure!(
            self.one_of("(").is_some(),
            "{word:?} is neither a number nor a function"
        );
        let (arguments, rest) = self.rest.split_once(')').context("no )")?;
        self.rest = rest.trim_start();
        self.call(word, arguments)
    }

    fn call(&self, function: &str, arguments: &str) -> anyhow::Result<Unknown> {
        let capture = self.capture;
        let (first, second) = arguments.split_once(", ").unwrap_or((arguments, ""));
        let number = || first.parse().with_context(|| first.to_owned());
        let held: Vec<f64> = capture.series_of(first).filter_map(|it| it.held).collect();
        let some = |value: f64| (!held.is_empty()).then_some(value);
        Ok(match function {
            "sum" => some(held.iter().sum()),
            "count" => some(held.len() as f64),
            "avg" => some(held.iter().sum::<f64>() / held.len() as f64),
            "max" => held.iter().copied().reduce(f64::max),
            "rate" => capture.gain(first),
            "mean" => {
                let gain = |end| capture.gain(&end_with(end, first));
                let (sum, count) = (gain("_sum"), gain("_count").filter(|count| *count > 0.0));
                sum.zip(count).map(|(sum, count)| sum / count)
            }
            "quantile" => capture.quantile_of(number()?, &end_with("_bucket", second)),
            "within" => capture.share_within(number()?, &end_with("_bucket", second)),
            _ => bail!("no function {function:?}"),
        })
    }

    fn word(&mut self) -> &'a str {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        word
    }

    fn one_of(&mut self, signs: &str) -> Option<char> {
        let sign = self.rest.chars().next().filter(|c| signs.contains(*c))?;
        self.rest = self.rest[sign.len_utf8()..].trim_start();
        Some(sign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "sglang:a_total{mode=\"x\",dp_rank=\"0\"} 10\nsglang:g_now{dp_rank=\"0\"} 3\n\
                          sglang:g_now{dp_rank=\"1\"} 5\nsglang:h_bucket{le=\"1.0\"} 0\n\
                          sglang:h_bucket{le=\"+Inf\"} 0\nsglang:h_sum{} 0\nsglang:h_count{} 0\n";
    const AFTER: &str = "sglang:a_total{mode=\"x\",dp_rank=\"0\"} 30\nsglang:a_total{mode=\"yy\",dp_rank=\"0\"} 7\n\
                         sglang:g_now{dp_rank=\"0\"} 9\nsglang:g_now{dp_rank=\"1\"} 9\nsglang:h_bucket{le=\"1.0\"} 8\n\
                         sglang:h_bucket{le=\"+Inf\"} 10\nsglang:h_sum{} 25\nsglang:h_count{} 10\n";

    fn value(formula: &str) -> Unknown {
        evaluate(formula, &Capture::of(BEFORE, AFTER)).unwrap()
    }

    #[test]
    fn formulas_are_arithmetic_over_two_pages() {
        assert_eq!(value("sum(g_now)"), Some(8.0));
        assert_eq!(value("max(g_now) / count(g_now)"), Some(2.5));
        assert_eq!(value("rate(a_total)"), Some(2.7));
        assert_eq!(value("rate(a_total{mode^=\"y\"})"), Some(0.7));
        assert_eq!(value("2 * (1 + avg(g_now)) - 1"), Some(9.0));
        assert_eq!(value("mean(h)"), Some(2.5));
        assert_eq!(value("quantile(0.4, h)"), Some(0.5));
        assert_eq!(value("within(0.9, h)"), Some(0.8));
    }

    #[test]
    fn what_a_page_lacks_is_the_next_alternative_or_unknown() {
        assert_eq!(value("rate(b_total)"), None);
        assert_eq!(value("1 / rate(b_total) | sum(g_now)"), Some(8.0));
        assert_eq!(value("rate(b_total) | 0 if a_total"), Some(0.0));
        assert_eq!(value("rate(b_total) | 0 if c_total"), None);
        assert!(evaluate("sum(g_now", &Capture::of(BEFORE, AFTER)).is_err());
        assert!(evaluate("nothing(g_now)", &Capture::of(BEFORE, AFTER)).is_err());
    }

    #[test]
    fn selectors_name_labels_exactly() {
        let series = "sglang:a_total{mode=\"x\",dp_rank=\"0\"}";
        assert!(
            selects("a_total", series) && selects("a_total{mode=~\"w|x\",dp_rank=\"0\"}", series)
        );
        assert!(!selects("a_total{mode=\"xx\"}", series) && !selects("a", series));
        let capture = Capture::of(BEFORE, AFTER);
        let modes = values_of("mode", "rate(a_total{mode=\"$\"})", &capture);
        assert_eq!(modes.into_iter().collect::<Vec<_>>(), ["x", "yy"]);
        let sets: Vec<_> = label_sets("sum(g_now{@})", &capture).into_iter().collect();
        assert_eq!(sets, [("value".to_owned(), String::new())]);
        let names = metrics("1000 * mean(x_y{a_b=\"c_d\"}) | 0 if z_w");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["x_y", "z_w"]);
        assert_eq!(
            buckets("h", &capture),
            [(1.0, 0.8), (f64::INFINITY, 0.19999999999999996)]
        );
    }
}
