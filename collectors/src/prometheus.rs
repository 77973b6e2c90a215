//! The Prometheus text format, borrowed: nothing is allocated for a sample, a label's value is decoded
//! only if it holds a backslash. Lines that are no samples are skipped and counted, never an error.

pub mod feed;
mod scan;

use std::borrow::Cow;

use memchr::memchr;

pub use scan::number;
use scan::{quote_or_backslash, skip_blanks, word_end};

/// Longest line taken: the longest of real servers has 600 bytes.
pub const MAX_LINE: usize = 16 * 1024;
/// Most labels taken of one sample.
pub const MAX_LABELS: usize = 64;

/// One line that says something.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Line<'a> {
    /// A value of a series.
    Sample(Sample<'a>),
    /// `# TYPE name kind`.
    Type {
        /// The family.
        name: &'a str,
        /// `counter`, `gauge`, `histogram` …
        kind: &'a str,
    },
    /// `# HELP name text`, the text as it stands, escapes and all.
    Help {
        /// The family.
        name: &'a str,
        /// What its author says about it.
        text: &'a str,
    },
}

/// A value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric's name; may hold colons.
    pub name: &'a str,
    /// NaN and infinities included.
    pub value: f64,
    /// Milliseconds since 1970, if the server says so.
    pub timestamp_ms: Option<i64>,
    labels: &'a str,
}

impl<'a> Sample<'a> {
    /// Its labels, in the page's order.
    #[must_use]
    pub fn labels(&self) -> Labels<'a> {
        Labels { rest: self.labels }
    }

    /// The text between the braces: equal for equal series of one server.
    #[must_use]
    pub fn raw_labels(&self) -> &'a str {
        self.labels
    }
}

/// The labels of a sample, checked when the sample was read.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Labels<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = self.rest.as_bytes();
        let mut at = 0;
        while let Some(b' ' | b'\t' | b',') = bytes.get(at) {
            at += 1;
        }
        // Each is sound: what stands before the first quote is the name and its equals sign.
        let quote = quote_or_backslash(bytes, at)?;
        let mut name_end = quote;
        while name_end > at && matches!(bytes[name_end - 1], b'=' | b' ' | b'\t') {
            name_end -= 1;
        }
        let name = &self.rest[at..name_end];
        let label = value(bytes, quote + 1)?;
        let value = &self.rest[quote + 1..label.value_end];
        self.rest = &self.rest[label.value_end + 1..];
        let value = if label.escaped {
            Cow::Owned(unescape(value))
        } else {
            Cow::Borrowed(value)
        };
        Some((name, value))
    }
}

/// Reads a page line by line.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    /// The same, where all of the page is text: one look at the whole costs less than one at each line.
    text: Option<&'a str>,
    skipped: u32,
    /// The name of the last sample.
    name: &'a str,
}

impl<'a> Lines<'a> {
    /// Reads `page`. A last line without its newline is taken for cut off and skipped: half a number
    /// is a wrong number.
    #[must_use]
    pub fn new(page: &'a [u8]) -> Self {
        Self {
            rest: page,
            text: std::str::from_utf8(page).ok(),
            skipped: 0,
            name: "",
        }
    }

    /// Bytes of the page that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// Lines skipped so far because they were garbage, too long or cut off.
    #[must_use]
    pub fn skipped(&self) -> u32 {
        self.skipped
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        while !self.rest.is_empty() {
            let Some(end) = memchr(b'\n', self.rest) else {
                let cut_off = !self.rest.trim_ascii().is_empty() && self.rest[0] != b'#';
                self.skipped += u32::from(cut_off);
                self.rest = &[];
                return None;
            };
            let line = match self.text {
                Some(text) => Ok(&text[..end]),
                None => std::str::from_utf8(&self.rest[..end]),
            };
            self.rest = &self.rest[end + 1..];
            self.text = self.text.map(|text| &text[end + 1..]);
            let read = match line {
                Ok(line) if end <= MAX_LINE => read_line(line, self.name),
                _ => Read::Garbage,
            };
            match read {
                Read::Line(line) => {
                    if let Line::Sample(sample) = &line {
                        self.name = sample.name;
                    }
                    return Some(line);
                }
                Read::Nothing => {}
                Read::Garbage => self.skipped = self.skipped.saturating_add(1),
            }
        }
        None
    }
}

enum Read<'a> {
    Line(Line<'a>),
    Nothing,
    Garbage,
}

fn read_line<'a>(line: &'a str, before: &str) -> Read<'a> {
    let line = line.trim_ascii();
    match line.as_bytes().first() {
        None => Read::Nothing,
        Some(b'#') => comment(&line[1..]).map_or(Read::Nothing, Read::Line),
        Some(_) => {
            sample(line, before).map_or(Read::Garbage, |sample| Read::Line(Line::Sample(sample)))
        }
    }
}

fn comment(line: &str) -> Option<Line<'_>> {
    let bytes = line.as_bytes();
    let start = skip_blanks(bytes, 0);
    let end = word_end(bytes, start);
    let name_start = skip_blanks(bytes, end);
    if name_start == end {
        return None;
    }
    let name_end = word_end(bytes, name_start);
    let name = &line[name_start..name_end];
    let text = line[name_end..].trim_ascii();
    match &line[start..end] {
        "TYPE" => Some(Line::Type { name, kind: text }),
        "HELP" => Some(Line::Help { name, text }),
        _ => None,
    }
}

fn sample<'a>(line: &'a str, before: &str) -> Option<Sample<'a>> {
    let bytes = line.as_bytes();
    let name_end = name_end(bytes, before.as_bytes());
    if name_end == 0 {
        return None;
    }
    let mut at = skip_blanks(bytes, name_end);
    let labels = match bytes.get(at) {
        Some(b'{') => {
            let start = at + 1;
            let end = labels_end(bytes, start)?;
            at = skip_blanks(bytes, end + 1);
            &line[start..end]
        }
        // Without braces a blank must part name and value.
        _ if at > name_end => "",
        _ => return None,
    };
    let end = word_end(bytes, at);
    let value = number(&line[at..end])?;
    let timestamp_ms = if end == bytes.len() {
        None
    } else {
        timestamp(&line[end..])?
    };
    Some(Sample {
        name: &line[..name_end],
        value,
        timestamp_ms,
        labels,
    })
}

/// What stands behind a value: nothing, a timestamp, an exemplar of OpenMetrics, or both.
fn timestamp(rest: &str) -> Option<Option<i64>> {
    let bytes = rest.as_bytes();
    let start = skip_blanks(bytes, 0);
    let end = word_end(bytes, start);
    let word = &rest[start..end];
    if word.is_empty() || word.starts_with('#') {
        return Some(None);
    }
    match bytes.get(skip_blanks(bytes, end)) {
        None | Some(b'#') => Some(Some(milliseconds(word.parse().ok()?))),
        Some(_) => None,
    }
}

/// Prometheus' own format has milliseconds, OpenMetrics seconds, perhaps with decimals: no page is from before
/// 1973 in the one or from after 5138 in the other.
fn milliseconds(stamp: f64) -> i64 {
    // Saturates; such a value is no time of anything.
    (if stamp.abs() < 1e11 {
        stamp * 1e3
    } else {
        stamp
    }) as i64
}

/// Where the brace is that closes the labels from `at` on, every label checked on the way.
fn labels_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = skip_blanks(bytes, at);
    for _ in 0..=MAX_LABELS {
        if bytes.get(at) == Some(&b'}') {
            return Some(at);
        }
        at = skip_blanks(bytes, label(bytes, at)?.value_end + 1);
        match bytes.get(at)? {
            b',' => at = skip_blanks(bytes, at + 1),
            b'}' => return Some(at),
            _ => return None,
        }
    }
    None
}

/// The value of a label.
struct LabelValue {
    /// Where the closing quote is.
    value_end: usize,
    escaped: bool,
}

/// The `name="value"` at `at`.
fn label(bytes: &[u8], at: usize) -> Option<LabelValue> {
    let quote = quote_or_backslash(bytes, at)?;
    let mut before = &bytes[at..quote];
    if let [name @ .., b'='] = before
        && is_name(name)
    {
        return value(bytes, quote + 1);
    }
    // Blanks on either side of the equals sign, or no label.
    before = before.trim_ascii_end().strip_suffix(b"=")?;
    is_name(before.trim_ascii_end()).then(|| value(bytes, quote + 1))?
}

/// The value that begins at `at`, behind its opening quote.
fn value(bytes: &[u8], at: usize) -> Option<LabelValue> {
    let (mut value_end, mut escaped) = (at, false);
    loop {
        value_end = quote_or_backslash(bytes, value_end)?;
        if bytes[value_end] == b'"' {
            return Some(LabelValue { value_end, escaped });
        }
        escaped = true;
        value_end += 2;
    }
}

/// Whether `text` is the name of a label: names begin with no digit.
fn is_name(text: &[u8]) -> bool {
    text.first()
        .is_some_and(|&first| CLASS[usize::from(first)] & DIGIT == 0)
        && text
            .iter()
            .all(|&byte| CLASS[usize::from(byte)] & LABEL != 0)
}

/// `\\`, `\"` and `\n`; any other escape stands for itself.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('n')) => out.push('\n'),
            ('\\', Some(c @ ('\\' | '"'))) => out.push(c),
            ('\\', Some(c)) => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

/// FNV-1a: tells one text from another, the same after a restart.
#[must_use]
pub fn identity(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

const LABEL: u8 = 1;
const METRIC: u8 = 2;
const DIGIT: u8 = 4;

/// What each byte may be part of.
static CLASS: [u8; 256] = {
    let mut class = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let c = byte as u8;
        if c.is_ascii_alphabetic() || c == b'_' {
            class[byte] = LABEL | METRIC;
        } else if c.is_ascii_digit() {
            class[byte] = LABEL | METRIC | DIGIT;
        } else if c == b':' {
            class[byte] = METRIC;
        }
        byte += 1;
    }
    class
};

/// Where the metric's name at the start of `bytes` ends. Mostly it is that of the sample `before`.
fn name_end(bytes: &[u8], before: &[u8]) -> usize {
    if !before.is_empty()
        && bytes.starts_with(before)
        && matches!(bytes.get(before.len()), Some(b'{' | b' '))
    {
        return before.len();
    }
    match bytes.first() {
        Some(&first) if CLASS[usize::from(first)] & DIGIT == 0 => bytes
            .iter()
            .position(|&byte| CLASS[usize::from(byte)] & METRIC == 0)
            .unwrap_or(bytes.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
