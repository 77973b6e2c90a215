//! YAML text to a tree that remembers where everything stands. What configurations do not need (anchors,
//! tags, several documents) is refused, so that nothing can grow while it is read.

use std::hash::{Hash, Hasher};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::problem::Place;

/// Deepest nesting accepted; ours goes four deep.
const MAX_DEPTH: usize = 16;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its first character.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// A value as it is written: what type a scalar has depends on who asks.
#[derive(Clone, Debug)]
pub enum Value {
    /// Text, number, yes or no.
    Scalar {
        /// Without quotes.
        text: String,
        /// Whether it was quoted, and so is text whatever it looks like.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub struct Key {
    /// Where it stands.
    pub place: Place,
    /// Its text.
    pub name: String,
}

/// Why a text is not understood.
pub type Refusal = (Option<Place>, String);

impl Node {
    /// A map without keys.
    #[must_use]
    pub fn empty_map() -> Self {
        Self {
            place: Place { line: 1, column: 1 },
            value: Value::Map(vec![]),
        }
    }

    /// Reads `text`; `None` if there is nothing but comments in it.
    ///
    /// # Errors
    /// The first thing that is no YAML, or that configurations do not use.
    pub fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        refuse_tabs(text)?;
        let mut events = Events(Parser::new_from_str(text));
        let mut root = None;
        while let Some((event, span)) = events.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_none() => {}
                Event::DocumentStart(..) => {
                    let what = "a second document begins: a configuration is one".to_owned();
                    return Err((Some(place(&span.start)), what));
                }
                event => root = Some(events.node(event, span, 0)?),
            }
        }
        Ok(root.filter(|root| !root.is_nothing()))
    }

    /// Whether nothing was written where a value could stand.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// What it is, for a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "keys and values",
            Value::Scalar { .. } if self.is_nothing() => "nothing",
            Value::Scalar { quoted: true, .. } => "text",
            Value::Scalar { text, .. } if text.parse::<f64>().is_ok() => "a number",
            Value::Scalar { text, .. } if yes_or_no(text).is_some() => "yes or no",
            Value::Scalar { .. } => "text",
        }
    }
}

/// Places do not count: a configuration is the same one when a comment above it grew.
impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.value {
            Value::Scalar { text, quoted } => (0, text, quoted).hash(state),
            Value::List(list) => (1, list).hash(state),
            Value::Map(map) => {
                (2, map.len()).hash(state);
                for (key, value) in map {
                    (&key.name, value).hash(state);
                }
            }
        }
    }
}

/// `yes` and `no` in YAML's older spellings too, as Netdata's files use them.
#[must_use]
pub fn yes_or_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

/// A tab at the beginning of a line is refused by YAML with words that do not say so.
fn refuse_tabs(text: &str) -> Result<(), Refusal> {
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        let blank = line[indent..].is_empty() || line[indent..].starts_with('#');
        if let Some(at) = line[..indent].find('\t').filter(|_| !blank) {
            let place = Place {
                line: index + 1,
                column: at + 1,
            };
            let what = "a tab indents this line: YAML wants spaces".to_owned();
            return Err((Some(place), what));
        }
    }
    Ok(())
}

struct Events<'a>(Parser<'a, granit_parser::StrInput<'a>>);

impl<'a> Events<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, Refusal> {
        self.0.next().transpose().map_err(|error| {
            let what = format!("no YAML: {}", error.info());
            (Some(place(error.marker())), what)
        })
    }

    /// What comes next within a list or map.
    fn inner(&mut self) -> Result<(Event<'a>, Span), Refusal> {
        self.next()?
            .ok_or_else(|| (None, "no YAML: it ends within a value".to_owned()))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Refusal> {
        let at = place(&span.start);
        let refuse = |what: &str| Err((Some(at), what.to_owned()));
        if depth > MAX_DEPTH {
            return refuse("nested too deeply");
        }
        let value = match event {
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, _, Some(_))
            | Event::MappingStart(_, _, Some(_)) => return refuse("tags (!) are not used here"),
            Event::Alias(_) => return refuse("anchors (& and *) are not used here"),
            Event::Scalar(text, style, _, None) => Value::Scalar {
                text: text.into_owned(),
                quoted: style != ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => {
                let mut list = vec![];
                loop {
                    match self.inner()? {
                        (Event::SequenceEnd, _) => break Value::List(list),
                        (event, span) => list.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => self.map(depth)?,
            _ => return refuse("no YAML: a value is missing"),
        };
        Ok(Node { place: at, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Refusal> {
        let mut map: Vec<(Key, Node)> = vec![];
        loop {
            let (event, span) = self.inner()?;
            let key_place = place(&span.start);
            let name = match event {
                Event::MappingEnd => return Ok(Value::Map(map)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err((Some(key_place), "a key has to be a word".to_owned())),
            };
            if let Some((first, _)) = map.iter().find(|(key, _)| key.name == name) {
                let what = format!(
                    "key {} stands here a second time, first in line {}",
                    super::problem::shown(&name),
                    first.place.line
                );
                return Err((Some(key_place), what));
            }
            let (event, span) = self.inner()?;
            let mut node = self.node(event, span, depth + 1)?;
            if node.is_nothing() {
                // Where nothing is written the parser points at whatever comes next.
                node.place = key_place;
            }
            let key = Key {
                place: key_place,
                name,
            };
            map.push((key, node));
        }
    }
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (usize, usize, String) {
        let (place, what) = Node::parse(text).unwrap_err();
        let place = place.unwrap();
        (place.line, place.column, what)
    }

    #[test]
    fn everything_knows_where_it_stands() {
        let root = Node::parse("# first\njobs:\n  - name: a\n    url: 'x'\n")
            .unwrap()
            .unwrap();
        let Value::Map(map) = &root.value else {
            panic!()
        };
        let Value::List(jobs) = &map[0].1.value else {
            panic!()
        };
        let Value::Map(job) = &jobs[0].value else {
            panic!()
        };
        assert_eq!(job[1].0.place, Place { line: 4, column: 5 });
        assert_eq!(
            job[1].1.place,
            Place {
                line: 4,
                column: 10
            }
        );
    }

    #[test]
    fn comments_alone_are_nothing() {
        assert!(
            Node::parse("# enabled: no\n\n---\n  # x\n")
                .unwrap()
                .is_none()
        );
        assert!(Node::parse("").unwrap().is_none());
    }

    #[test]
    fn what_could_grow_or_surprise_is_refused_where_it_stands() {
        assert_eq!(refusal("a: &x 1\nb: *x\n").0, 2);
        assert_eq!(refusal("a: !!python x\n").0, 1);
        assert_eq!(refusal("a: 1\n---\nb: 2\n").0, 2);
        assert_eq!(refusal("a: 1\nb: 2\na: 3\n").0, 3);
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert_eq!(refusal(&deep).2, "nested too deeply");
    }

    #[test]
    fn a_tab_is_called_a_tab() {
        let (line, column, what) = refusal("jobs:\n\t- name: a\n");
        assert_eq!((line, column), (2, 1));
        assert!(what.contains("tab"), "{what}");
        assert!(Node::parse("a: 1\n\t# only a comment\n").is_ok());
    }

    #[test]
    fn a_comment_does_not_change_what_is_configured() {
        let hash = |text: &str| {
            let mut hasher = std::collections::hash_map::DefaultHasher::new();
            Node::parse(text).unwrap().unwrap().hash(&mut hasher);
            hasher.finish()
        };
        assert_eq!(hash("a: 1\n"), hash("# more\n\na:   1\n"));
        assert_ne!(hash("a: 1\n"), hash("a: 2\n"));
    }
}
