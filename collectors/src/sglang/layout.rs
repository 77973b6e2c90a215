//! The lines of the last page, less their values: mostly the next page has the same, so that of a line only the
//! value is read, and what its name and labels mean is known already.

use crate::prometheus::number;

/// Text kept at most: the longest page of real servers has 100 KiB.
const MAX_TEXT: usize = 512 * 1024;
/// Longest value: a number of full precision has 24.
const MAX_VALUE: usize = 32;

/// What each line of a page is for. `T` says so of a single one.
#[derive(Clone, Debug)]
pub struct Layout<T> {
    /// The lines one after another, without the values and what follows them.
    text: Vec<u8>,
    parts: Vec<Part<T>>,
    complete: bool,
}

#[derive(Clone, Debug)]
struct Part<T> {
    /// Where its text ends.
    end: usize,
    /// Whether a value and the end of the line follow the text.
    value: bool,
    /// Whom it concerns; nobody, for most of what has no value.
    what: Option<T>,
}

impl<T> Default for Layout<T> {
    fn default() -> Self {
        Self {
            text: vec![],
            parts: vec![],
            complete: false,
        }
    }
}

impl<T> Layout<T> {
    /// Forgets the page: another one is learnt from its beginning.
    pub fn begin(&mut self) {
        self.text.clear();
        self.parts.clear();
        self.complete = true;
    }

    /// Nothing can be learnt of this page.
    pub fn give_up(&mut self) {
        self.begin();
        self.complete = false;
    }

    /// The page has come again: what was learnt is kept for long, without the room to learn more.
    pub fn settle(&mut self) {
        self.text.shrink_to_fit();
        self.parts.shrink_to_fit();
    }

    /// Learns the next lines, which have no value that matters.
    pub fn add_text(&mut self, text: &[u8], what: Option<T>) {
        if !self.keep(text) {
            return;
        }
        match self.parts.last_mut() {
            Some(last) if !last.value && last.what.is_none() && what.is_none() => {
                last.end = self.text.len();
            }
            _ => self.parts.push(Part {
                end: self.text.len(),
                value: false,
                what,
            }),
        }
    }

    /// Learns the next lines, the last of which ends with a value that was read as `value`.
    pub fn add_value(&mut self, lines: &[u8], value: f64, what: T) {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let text = lines.iter().rposition(blank).map(|at| &lines[..=at]);
        // A timestamp or an exemplar may stand behind it.
        let is_value = |text: &&[u8]| {
            let (read, end) = value_at(&lines[text.len()..])?;
            let same = read.to_bits() == value.to_bits() || read.is_nan() && value.is_nan();
            (same && text.len() + end == lines.len()).then_some(())
        };
        match text.filter(|text| is_value(text).is_some()) {
            Some(text) if self.keep(text) => self.parts.push(Part {
                end: self.text.len(),
                value: true,
                what: Some(what),
            }),
            _ => self.complete = false,
        }
    }

    fn keep(&mut self, text: &[u8]) -> bool {
        self.complete &= self.text.len() + text.len() <= MAX_TEXT;
        if self.complete {
            self.text.extend_from_slice(text);
        }
        self.complete
    }

    /// Hands each line of `page` that somebody is concerned with to `take`, with its value. False if the page is
    /// not as the one that was learnt; then what was taken is of no worth.
    pub fn follow<'a>(
        &'a self,
        page: &'a [u8],
        mut take: impl FnMut(&'a T, &'a [u8], f64),
    ) -> bool {
        let (mut at, mut from) = (0, 0);
        for part in &self.parts {
            let text = &self.text[from..part.end];
            if !page[at..].starts_with(text) {
                return false;
            }
            let mut end = at + text.len();
            let mut value = f64::NAN;
            if part.value {
                let Some((read, len)) = value_at(&page[end..]) else {
                    return false;
                };
                (value, end) = (read, end + len);
            }
            if let Some(what) = &part.what {
                take(what, &page[at..end], value);
            }
            (at, from) = (end, part.end);
        }
        self.complete && at == page.len()
    }
}

/// The value that `text` begins with, and its length with that of the line's end.
fn value_at(text: &[u8]) -> Option<(f64, usize)> {
    let end = text
        .iter()
        .take(MAX_VALUE + 1)
        .position(|it| *it == b'\n')?;
    let value = std::str::from_utf8(&text[..end]).ok().and_then(number)?;
    Some((value, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Learns a page of which each line with a blank ends with a value.
    fn learnt(page: &str) -> Layout<usize> {
        let mut layout = Layout::default();
        layout.begin();
        for (i, line) in page.split_inclusive('\n').enumerate() {
            match line.rsplit_once(' ') {
                Some((_, value)) if !line.starts_with('#') => {
                    layout.add_value(line.as_bytes(), value.trim().parse().unwrap(), i);
                }
                _ => layout.add_text(line.as_bytes(), line.starts_with("# TYPE").then_some(i)),
            }
        }
        layout
    }

    /// For whom a line of `page` was, the line's length, and its value.
    fn followed(layout: &Layout<usize>, page: &str) -> Option<Vec<(usize, usize, Option<f64>)>> {
        let mut taken = vec![];
        let same = layout.follow(page.as_bytes(), |what, line, value| {
            taken.push((*what, line.len(), Some(value).filter(|it| !it.is_nan())));
        });
        same.then_some(taken)
    }

    #[test]
    fn a_page_with_other_values_is_followed() {
        let layout = learnt("# HELP a b\n# TYPE a gauge\na{x=\"1\"} 5\na{x=\"2\"} 17.25\n");
        let page = "# HELP a b\n# TYPE a gauge\na{x=\"1\"} 6\na{x=\"2\"} -1e-7\n";
        let expected = vec![(1, 15, None), (2, 11, Some(6.0)), (3, 15, Some(-1e-7))];
        assert_eq!(followed(&layout, page), Some(expected));
    }

    #[test]
    fn a_page_with_other_lines_is_not() {
        let page = "a{x=\"1\"} 5\nb 6\n";
        let layout = learnt(page);
        assert!(followed(&layout, page).is_some());
        for other in [
            "",
            "a{x=\"1\"} 5\n",
            "a{x=\"1\"} 5\nb 6\nc 7\n",
            "a{x=\"1\"} 5\nb 6",
            "a{x=\"2\"} 5\nb 6\n",
            "a{x=\"1\"} five\nb 6\n",
            "a{x=\"1\"} \nb 6\n",
            "a{x=\"1\"} 5 1700000000\nb 6\n",
            "b 6\na{x=\"1\"} 5\n",
        ] {
            assert_eq!(followed(&layout, other), None, "{other:?}");
        }
        let long = format!("a{{x=\"1\"}} {}\nb 6\n", "1".repeat(MAX_VALUE + 1));
        assert_eq!(followed(&layout, &long), None);
    }

    #[test]
    fn a_page_that_cannot_be_learnt_is_never_followed() {
        let mut layout = Layout::default();
        assert!(!layout.follow(b"", |_: &(), _, _| {}));
        layout.begin();
        layout.add_value(b"a 5 1700000000\n", 5.0, ());
        assert!(!layout.follow(b"a 5 1700000000\n", |_, _, _| {}));
        layout.begin();
        let long = vec![b'#'; MAX_TEXT + 1];
        layout.add_text(&long, None);
        assert!(!layout.follow(&long, |_, _, _| {}));
        layout.begin();
        layout.add_text(b"#\n", None);
        assert!(layout.follow(b"#\n", |_, _, _| {}));
        layout.give_up();
        assert!(!layout.follow(b"", |_, _, _| {}));
    }
}
