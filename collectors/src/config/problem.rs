//! What is wrong with a configuration, on one line: where, of which job, which key, and what to write
//! instead. Values stand in it only where they can be no secret.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Longest name repeated in a message.
const MAX_NAME: usize = 40;

/// A place in a file. Both count from 1; a tab is one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in.
    pub file: Arc<Path>,
    /// Where in it; `None` if the file could not be read at all.
    pub place: Option<Place>,
    /// The job it stops; `None` if it stops the module.
    pub job: Option<String>,
    /// What is wrong, the key first.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}:")?;
        }
        if let Some(job) = &self.job {
            write!(f, " job {}:", shown(job))?;
        }
        write!(f, " {}", self.what)
    }
}

/// Collects the mistakes of one file.
#[derive(Debug)]
pub struct Problems {
    file: Arc<Path>,
    list: Vec<Problem>,
}

impl Problems {
    /// None so far, in `file`.
    #[must_use]
    pub fn of(file: PathBuf) -> Self {
        Self {
            file: file.into(),
            list: vec![],
        }
    }

    /// Adds one.
    pub fn add(&mut self, place: impl Into<Option<Place>>, job: Option<&str>, what: String) {
        self.list.push(Problem {
            file: Arc::clone(&self.file),
            place: place.into(),
            job: job.map(str::to_owned),
            what,
        });
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// All of them, in the order of the file.
    #[must_use]
    pub fn into_list(mut self) -> Vec<Problem> {
        self.list.sort_by_key(|problem| problem.place);
        self.list
    }
}

/// A name as it is written in a message: in quotes, cut, and left out if it does not look like a name.
#[must_use]
pub fn shown(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || " ._:/@[]-".contains(c);
    if name.is_empty() || !name.chars().all(fits) {
        return "of this name".to_owned();
    }
    let mut text: String = name.chars().take(MAX_NAME).collect();
    if text.len() < name.len() {
        text.push('…');
    }
    format!("\"{text}\"")
}

/// The known word that `word` was perhaps meant to be, as the end of a message.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let word = word.to_ascii_lowercase();
    let near = known.into_iter().filter_map(|name| {
        let begins = word.len() >= 3 && (name.starts_with(&word) || word.starts_with(name));
        let alike = strsim::jaro_winkler(&word, name);
        let one_off = word.len() >= 3 && strsim::osa_distance(&word, name) == 1;
        (begins || one_off || alike > 0.84).then_some((alike, name))
    });
    near.max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, name)| format!(": did you mean {name}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_known_word_is_suggested_and_a_far_one_is_not() {
        let known = ["update_every", "timeout", "api_key_file"];
        assert_eq!(
            did_you_mean("updat_every", known),
            ": did you mean update_every?"
        );
        assert_eq!(
            did_you_mean("api_key", known),
            ": did you mean api_key_file?"
        );
        assert_eq!(did_you_mean("colour", known), "");
    }

    #[test]
    fn what_does_not_look_like_a_name_is_not_repeated() {
        assert_eq!(shown("127.0.0.1:30000"), "\"127.0.0.1:30000\"");
        assert_eq!(shown("a\nDISABLE"), "of this name");
        assert_eq!(shown(&"x".repeat(50)), format!("\"{}…\"", "x".repeat(40)));
    }
}
