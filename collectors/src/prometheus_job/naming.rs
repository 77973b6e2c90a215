//! What a metric is called on the dashboard: title, unit, section, identifiers. Names, help texts and labels
//! are the endpoint's own words: they are cut to a bounded length here and quoted by the writer.

use crate::prometheus::identity;

/// Longest metric name charted: real ones have up to 80 bytes.
pub const MAX_NAME: usize = 120;
/// Longest title; Netdata takes 200 bytes.
const MAX_TITLE: usize = 160;
/// Longest label key or value kept: Netdata cuts them there.
pub const MAX_LABEL: usize = 200;
/// Longest `type.id` that every agent takes, less a margin for `_distribution`.
const MAX_ID: usize = 180;

/// The unit of a metric, and how its values are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit<'a> {
    /// Of a value: `seconds`.
    pub plain: &'a str,
    /// Of a counter's rate, where that is no plain `…/s`: joules per second are Watts.
    pub rate: Option<&'a str>,
    /// What values are multiplied by.
    pub scale: f64,
    /// Steps sent for one unit.
    pub precision: u32,
}

impl<'a> Unit<'a> {
    const fn new(plain: &'a str, precision: u32) -> Self {
        Self {
            plain,
            rate: None,
            scale: 1.0,
            precision,
        }
    }

    /// The unit of a rate.
    #[must_use]
    pub fn per_second(&self) -> String {
        self.rate
            .map_or_else(|| format!("{}/s", self.plain), str::to_owned)
    }

    /// Whether it measures time: a sum of it is no volume.
    #[must_use]
    pub fn is_time(&self) -> bool {
        self.plain.ends_with("seconds")
    }
}

const MILLI: u32 = 1_000;
const MICRO: u32 = 1_000_000;

/// Prometheus' base units, and others that exporters use, by the name's last word.
const UNITS: &[(&str, Unit<'static>)] = &[
    ("seconds", Unit::new("seconds", MICRO)),
    ("bytes", Unit::new("bytes", MILLI)),
    ("octets", Unit::new("bytes", MILLI)),
    ("bits", Unit::new("bits", MILLI)),
    (
        "ratio",
        Unit {
            scale: 100.0,
            ..Unit::new("percentage", MILLI)
        },
    ),
    ("percent", Unit::new("percentage", MILLI)),
    ("percentage", Unit::new("percentage", MILLI)),
    ("celsius", Unit::new("Celsius", MILLI)),
    (
        "joules",
        Unit {
            rate: Some("Watts"),
            ..Unit::new("Joules", MILLI)
        },
    ),
    ("watts", Unit::new("Watts", MILLI)),
    ("volts", Unit::new("Volts", MILLI)),
    ("amperes", Unit::new("Amperes", MILLI)),
    ("hertz", Unit::new("Hz", MILLI)),
    ("meters", Unit::new("meters", MILLI)),
    ("grams", Unit::new("grams", MILLI)),
];

/// The unit that `name` says it has; a plural at its end is what is counted.
#[must_use]
pub fn unit(name: &str, counter: bool) -> Unit<'_> {
    let mut name = name;
    for suffix in ["_total", "_sum", "_count"] {
        name = name.strip_suffix(suffix).unwrap_or(name);
    }
    let word = name.rsplit(['_', ':']).next().unwrap_or(name);
    if let Some((_, unit)) = UNITS.iter().find(|(suffix, _)| *suffix == word) {
        return *unit;
    }
    let plural = word.len() > 3 && word.ends_with('s') && !word.ends_with("ss");
    match (plural && !word.ends_with("us"), counter) {
        (true, _) => Unit::new(word, MILLI),
        (false, true) => Unit::new("events", MILLI),
        (false, false) => Unit::new("value", MILLI),
    }
}

/// What HELP says, without escapes and the last full stop; else the name.
#[must_use]
pub fn title(help: &str, name: &str) -> String {
    let mut text = String::with_capacity(help.len().min(MAX_TITLE));
    let mut chars = help.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some('n') | None => ' ',
                Some(escaped) => escaped,
            },
            c => c,
        };
        if text.len() + c.len_utf8() > MAX_TITLE {
            break;
        }
        text.push(c);
    }
    let text = text.trim().trim_end_matches('.');
    if text.is_empty() {
        name.to_owned()
    } else {
        text.to_owned()
    }
}

/// The section of the menu: the first two words of a longer name, as go.d has it.
#[must_use]
pub fn section(name: &str) -> String {
    for runtime in ["go", "process", "python", "promhttp"] {
        if name
            .strip_prefix(runtime)
            .is_some_and(|rest| rest.starts_with('_'))
        {
            return runtime.to_owned();
        }
    }
    let name = name.replace(':', "_").to_lowercase();
    let mut words = name.split('_').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(first), Some(second), Some(_)) => format!("{first} {second}"),
        (Some(first), ..) => first.to_owned(),
        (None, ..) => "metrics".to_owned(),
    }
}

/// `name` as part of a chart's id and context: letters, digits and underscores.
#[must_use]
pub fn clean(name: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars()
        .map(|c| if kept(c) { c } else { '_' })
        .collect()
}

/// What sets one instance's chart apart from the others of its kind: its labels, readable, or as much of
/// them as fits beside `taken` bytes with a number that tells the rest.
#[must_use]
pub fn suffix(labels: &[(String, String)], taken: usize) -> String {
    let mut suffix = String::new();
    for (key, value) in labels {
        suffix.extend(["-", clean(key).as_str(), "_", clean(value).as_str()]);
    }
    let room = MAX_ID.saturating_sub(taken);
    if suffix.len() > room {
        // Cleaned text is ASCII.
        suffix.truncate(room.saturating_sub(17));
        suffix.push_str(&numbered(labels));
    }
    suffix
}

/// A number that is the same for the same labels after a restart.
#[must_use]
pub fn numbered(labels: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in labels {
        text.extend([key, "\0", value, "\0"]);
    }
    format!("_{:016x}", identity(&text))
}

/// `text`, cut at a character's border to what is kept of a label.
#[must_use]
pub fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_LABEL)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn units_come_from_the_last_word_of_the_name() {
        let plain = |name| unit(name, false).plain.to_owned();
        assert_eq!(plain("process_resident_memory_bytes"), "bytes");
        assert_eq!(plain("cache_hit_ratio"), "percentage");
        assert_eq!(plain("room_temperature_celsius"), "Celsius");
        assert_eq!(plain("vllm:prompt_tokens"), "tokens");
        assert_eq!(plain("queue_depth"), "value");
        assert_eq!(plain("bus_status"), "value");
        let rate = |name| unit(name, true).per_second();
        assert_eq!(rate("http_requests_total"), "requests/s");
        assert_eq!(rate("process_cpu_seconds_total"), "seconds/s");
        assert_eq!(rate("board_energy_joules_total"), "Watts");
        assert_eq!(rate("preemption_total"), "events/s");
    }

    #[test]
    fn a_title_is_the_help_text_without_escapes_and_bounded() {
        assert_eq!(title(r"Jobs\nin C:\\x.", "jobs"), r"Jobs in C:\x");
        assert_eq!(title(" . ", "jobs"), "jobs");
        assert!(title(&"é".repeat(500), "jobs").len() <= MAX_TITLE);
    }

    #[test]
    fn sections_are_two_words() {
        assert_eq!(section("http_requests_total"), "http requests");
        assert_eq!(section("go_gc_duration_seconds"), "go");
        assert_eq!(section("up"), "up");
        assert_eq!(section("vllm:num_requests_running"), "vllm num");
        assert_eq!(section("___"), "metrics");
    }

    #[test]
    fn long_labels_leave_an_id_that_fits_and_differs() {
        let long = |end: &str| labels(&[("path", &format!("{}{end}", "/x".repeat(200)))]);
        let (a, b) = (suffix(&long("a"), 60), suffix(&long("b"), 60));
        assert!(a.len() + 60 <= MAX_ID, "{}", a.len());
        assert_ne!(a, b);
        assert_eq!(a, suffix(&long("a"), 60));
        assert_eq!(suffix(&labels(&[("a", "x/y")]), 60), "-a_x_y");
    }
}
