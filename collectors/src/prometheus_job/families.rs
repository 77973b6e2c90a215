//! What a page says of its metrics: TYPE and HELP by family, and from them what a sample is a part of.

use std::collections::HashMap;

use super::naming::MAX_NAME;
use crate::prometheus::Sample;

/// Families kept. A page that names more gets the rest charted as if it named none.
const MAX_FAMILIES: usize = 8 * 1024;
/// Longest HELP text kept; a title shows less.
const MAX_HELP: usize = 320;
/// Scrapes after which a family that is named no more may be forgotten.
const FORGET_AFTER: u32 = 10;

/// A family's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down; what has no type is taken for one.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
    /// Quantiles, sum and count.
    Summary,
    /// States of which each is 0 or 1, named by a label that is called like the family.
    StateSet,
    /// Always 1: its labels are the information.
    Info,
}

/// What a sample is within its family.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// All there is.
    Value,
    /// Observations at or under a bound.
    Bucket(f64),
    /// Sum of what was observed.
    Sum,
    /// Number of observations.
    Count,
    /// A quantile, 0 to 1.
    Quantile(f64),
}

/// What a sample is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Role<'a> {
    /// The family's name: a histogram's without `_bucket`.
    pub family: &'a str,
    /// The family's kind.
    pub kind: Kind,
    /// The sample's part in it.
    pub part: Part,
}

/// The families of one page.
#[derive(Debug, Default)]
pub struct Families {
    known: HashMap<Box<str>, Family>,
}

#[derive(Debug)]
struct Family {
    kind: Option<Kind>,
    help: Box<str>,
    seen: u32,
}

impl Families {
    /// Takes a TYPE line. Types that are not understood count as none.
    pub fn take_type(&mut self, name: &str, kind: &str, scrape: u32) {
        let kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" | "gaugehistogram" => Kind::Histogram,
            "summary" => Kind::Summary,
            "stateset" => Kind::StateSet,
            "info" => Kind::Info,
            _ => return,
        };
        if let Some(family) = self.entry(name, scrape) {
            family.kind = Some(kind);
        }
    }

    /// Takes a HELP line.
    pub fn take_help(&mut self, name: &str, text: &str, scrape: u32) {
        if let Some(family) = self.entry(name, scrape)
            && family.help.is_empty()
        {
            family.help = text[..text.floor_char_boundary(MAX_HELP)].into();
        }
    }

    /// The HELP text of a family, or nothing.
    #[must_use]
    pub fn help(&self, name: &str) -> &str {
        let family = self.known.get(name);
        // OpenMetrics describes a counter without its suffix.
        let family = family.or_else(|| self.known.get(name.strip_suffix("_total")?));
        family.map_or("", |family| &family.help)
    }

    /// What `sample` is; `None` for what is not charted: information that is always 1, times at which
    /// counters were made, and buckets and quantiles without their number.
    pub fn role<'a>(&mut self, sample: &Sample<'a>, scrape: u32) -> Option<Role<'a>> {
        let name = sample.name;
        let role = self.typed(sample).or_else(|| self.untyped(sample, scrape));
        let role = role.unwrap_or(Role {
            family: name,
            kind: guess(name),
            part: Part::Value,
        });
        let charted = match (role.kind, role.part) {
            (Kind::Info, _) => false,
            (Kind::Gauge, _) => !name.ends_with("_info") && !self.is_creation(name),
            (_, Part::Bucket(number) | Part::Quantile(number)) => !number.is_nan(),
            // A histogram's own name has no samples.
            (Kind::Histogram, Part::Value) => false,
            _ => true,
        };
        charted.then_some(role)
    }

    /// Forgets families that are not named any more.
    pub fn forget(&mut self, scrape: u32) {
        self.known
            .retain(|_, family| scrape.wrapping_sub(family.seen) < FORGET_AFTER);
    }

    /// The role that a TYPE line gives to `sample`.
    fn typed<'a>(&self, sample: &Sample<'a>) -> Option<Role<'a>> {
        let name = sample.name;
        if let Some(kind) = self.kind(name) {
            let part = match kind {
                Kind::Summary => Part::Quantile(number(sample, "quantile")),
                _ => Part::Value,
            };
            let family = name;
            return Some(Role { family, kind, part });
        }
        let with = |family, kind, part| Some(Role { family, kind, part });
        let of = |suffix, kinds: &[Kind]| {
            let family: &'a str = name.strip_suffix(suffix)?;
            let kind = self.kind(family).filter(|kind| kinds.contains(kind))?;
            Some((family, kind))
        };
        const OBSERVED: &[Kind] = &[Kind::Histogram, Kind::Summary];
        if let Some((family, kind)) = of("_bucket", &[Kind::Histogram]) {
            return with(family, kind, Part::Bucket(number(sample, "le")));
        }
        for (suffix, part) in [
            ("_sum", Part::Sum),
            ("_count", Part::Count),
            ("_gsum", Part::Sum),
            ("_gcount", Part::Count),
        ] {
            if let Some((family, kind)) = of(suffix, OBSERVED) {
                return with(family, kind, part);
            }
        }
        // OpenMetrics names the family without its suffix.
        if let Some((_, kind)) =
            of("_total", &[Kind::Counter]).or_else(|| of("_info", &[Kind::Info]))
        {
            return with(name, kind, Part::Value);
        }
        None
    }

    /// The role that only the sample's name and labels tell.
    fn untyped<'a>(&mut self, sample: &Sample<'a>, scrape: u32) -> Option<Role<'a>> {
        let (le, quantile) = (number(sample, "le"), number(sample, "quantile"));
        let (family, kind, part) = match sample.name.strip_suffix("_bucket") {
            Some(family) if !le.is_nan() => (family, Kind::Histogram, Part::Bucket(le)),
            _ if !quantile.is_nan() => (sample.name, Kind::Summary, Part::Quantile(quantile)),
            _ => return None,
        };
        // Its sum and count follow and are recognised by this.
        self.entry(family, scrape)?.kind.get_or_insert(kind);
        Some(Role { family, kind, part })
    }

    /// Whether `name` is the time at which a counter, histogram or summary was made.
    fn is_creation(&self, name: &str) -> bool {
        name.strip_suffix("_created").is_some_and(|family| {
            let kind = self.kind(family).or_else(|| self.total(family));
            matches!(kind, Some(Kind::Counter | Kind::Histogram | Kind::Summary))
        })
    }

    /// The kind of `family` under the name with which the text format types counters.
    fn total(&self, family: &str) -> Option<Kind> {
        self.kind(&format!("{family}_total"))
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        self.known.get(name)?.kind
    }

    fn entry(&mut self, name: &str, scrape: u32) -> Option<&mut Family> {
        if name.len() > MAX_NAME {
            return None;
        }
        if !self.known.contains_key(name) {
            if self.known.len() >= MAX_FAMILIES {
                return None;
            }
            let family = Family {
                kind: None,
                help: "".into(),
                seen: scrape,
            };
            self.known.insert(name.into(), family);
        }
        let family = self.known.get_mut(name)?;
        family.seen = scrape;
        Some(family)
    }
}

/// What a sample without a type is.
fn guess(name: &str) -> Kind {
    let counts = ["_total", "_sum", "_count"];
    if counts.iter().any(|suffix| name.ends_with(suffix)) {
        Kind::Counter
    } else {
        Kind::Gauge
    }
}

/// The number in label `key`; NaN if there is none.
fn number(sample: &Sample<'_>, key: &str) -> f64 {
    sample
        .labels()
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(f64::NAN)
}
