//! The Prometheus text format, borrowed: nothing is allocated for a sample, a label's value is decoded
//! only if it holds a backslash. Lines that are no samples are skipped and counted, never an error.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

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
        let (label, after) = label(self.rest.trim_start_matches([' ', '\t', ',']))?;
        self.rest = after;
        let value = if label.escaped {
            Cow::Owned(unescape(label.value))
        } else {
            Cow::Borrowed(label.value)
        };
        Some((label.name, value))
    }
}

/// Reads a page line by line.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    rest: &'a [u8],
    skipped: u32,
}

impl<'a> Lines<'a> {
    /// Reads `page`. A last line without its newline is taken for cut off and skipped: half a number
    /// is a wrong number.
    #[must_use]
    pub fn new(page: &'a [u8]) -> Self {
        Self {
            rest: page,
            skipped: 0,
        }
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
            let (line, rest) = self.rest.split_at(end);
            self.rest = &rest[1..];
            match read_line(line) {
                Read::Line(line) => return Some(line),
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

fn read_line(line: &[u8]) -> Read<'_> {
    if line.len() > MAX_LINE {
        return Read::Garbage;
    }
    let Ok(line) = std::str::from_utf8(line) else {
        return Read::Garbage;
    };
    let line = line.trim_ascii();
    match line.as_bytes().first() {
        None => Read::Nothing,
        Some(b'#') => comment(&line[1..]).map_or(Read::Nothing, Read::Line),
        Some(_) => sample(line).map_or(Read::Garbage, |sample| Read::Line(Line::Sample(sample))),
    }
}

fn comment(line: &str) -> Option<Line<'_>> {
    let line = line.trim_ascii_start();
    let (word, rest) = line.split_once([' ', '\t'])?;
    let rest = rest.trim_ascii_start();
    let (name, text) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let text = text.trim_ascii();
    match word {
        "TYPE" => Some(Line::Type { name, kind: text }),
        "HELP" => Some(Line::Help { name, text }),
        _ => None,
    }
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let name_len = name_len(line.as_bytes(), METRIC);
    if name_len == 0 {
        return None;
    }
    let (name, rest) = line.split_at(name_len);
    let after_name = trim_blanks(rest);
    let (labels, rest) = match after_name.strip_prefix('{') {
        Some(inside) => {
            let len = labels_len(inside)?;
            (&inside[..len], &inside[len + 1..])
        }
        // Without braces a blank must part name and value.
        None if after_name.len() < rest.len() => ("", after_name),
        None => return None,
    };
    let (value, rest) = word(trim_blanks(rest));
    let value = value.parse().ok()?;
    let timestamp_ms = match word(trim_blanks(rest)) {
        ("", _) => None,
        // An exemplar of OpenMetrics.
        (word, _) if word.starts_with('#') => None,
        (word, rest) => {
            let rest = trim_blanks(rest);
            if !rest.is_empty() && !rest.starts_with('#') {
                return None;
            }
            Some(word.parse().ok()?)
        }
    };
    Some(Sample {
        name,
        value,
        timestamp_ms,
        labels,
    })
}

/// Up to the brace that closes the labels, every label checked on the way.
fn labels_len(inside: &str) -> Option<usize> {
    let mut rest = trim_blanks(inside);
    for _ in 0..=MAX_LABELS {
        if rest.starts_with('}') {
            return Some(inside.len() - rest.len());
        }
        let (_, after) = label(rest)?;
        let after = trim_blanks(after);
        rest = match after.as_bytes().first()? {
            b',' => trim_blanks(&after[1..]),
            b'}' => after,
            _ => return None,
        };
    }
    None
}

struct Label<'a> {
    name: &'a str,
    value: &'a str,
    escaped: bool,
}

/// One `name="value"` and what follows its closing quote.
fn label(text: &str) -> Option<(Label<'_>, &str)> {
    let name_len = name_len(text.as_bytes(), LABEL);
    if name_len == 0 {
        return None;
    }
    let (name, rest) = text.split_at(name_len);
    let rest = trim_blanks(rest).strip_prefix('=')?;
    let value = trim_blanks(rest).strip_prefix('"')?;
    let (mut at, mut escaped) = (0, false);
    loop {
        at += memchr2(b'"', b'\\', value.as_bytes().get(at..)?)?;
        if value.as_bytes()[at] == b'"' {
            break;
        }
        escaped = true;
        at += 2;
    }
    let (value, rest) = (&value[..at], &value[at + 1..]);
    let label = Label {
        name,
        value,
        escaped,
    };
    Some((label, rest))
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

fn trim_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// The text up to the next blank, and the rest.
fn word(text: &str) -> (&str, &str) {
    let len = memchr2(b' ', b'\t', text.as_bytes()).unwrap_or(text.len());
    text.split_at(len)
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

/// The length of the name at the start, 0 if there is none: names begin with no digit.
fn name_len(text: &[u8], kind: u8) -> usize {
    match text.first() {
        Some(&first) if CLASS[usize::from(first)] & DIGIT == 0 => text
            .iter()
            .position(|&byte| CLASS[usize::from(byte)] & kind == 0)
            .unwrap_or(text.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
