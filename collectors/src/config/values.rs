//! Types of single values, for options of every module: each says in its error what it wants, and repeats
//! only numbers.

use std::fmt;
use std::path::{Path, PathBuf};

use regex::{Regex, RegexBuilder};
use serde::de::{self, Deserializer, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use ureq::http::Uri;

/// Longest regular expression.
const MAX_PATTERN: usize = 1000;
/// Most expressions in one list.
const MAX_PATTERNS: usize = 100;
/// Size of a compiled expression.
const MAX_COMPILED: usize = 1024 * 1024;
/// Longest URL.
const MAX_URL: usize = 2000;

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whole<const MIN: u32, const MAX: u32>(u32);

/// Seconds, from 1 to a day.
pub type Seconds = Whole<1, 86_400>;

impl<const MIN: u32, const MAX: u32> Whole<MIN, MAX> {
    /// A value known beforehand.
    ///
    /// # Panics
    /// If it is out of range; in a constant that shows when it is compiled.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        assert!(number >= MIN && number <= MAX);
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Whole<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Range<const MIN: u32, const MAX: u32>;
        impl<const MIN: u32, const MAX: u32> Visitor<'_> for Range<MIN, MAX> {
            type Value = u32;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a whole number from {MIN} to {MAX}")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<u32, E> {
                let fits = u32::try_from(number).ok();
                fits.filter(|number| (MIN..=MAX).contains(number))
                    .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<u32, E> {
                Err(E::invalid_value(Unexpected::Signed(number), &self))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<u32, E> {
                Err(E::invalid_value(Unexpected::Float(number), &self))
            }
        }
        deserializer.deserialize_u32(Range::<MIN, MAX>).map(Self)
    }
}

/// Regular expressions, one or a list; each has to match the whole of a text.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// As written.
    texts: Vec<String>,
    /// Matching the whole of a text.
    whole: Vec<Regex>,
}

impl Patterns {
    /// Whether one of them matches one of `texts`.
    #[must_use]
    pub fn match_any(&self, texts: &[&str]) -> bool {
        let matches = |pattern: &Regex| texts.iter().any(|text| pattern.is_match(text));
        self.whole.iter().any(matches)
    }

    fn add<E: de::Error>(&mut self, text: &str) -> Result<(), E> {
        if text.len() > MAX_PATTERN {
            return Err(E::custom(format!(
                "a regular expression may have {MAX_PATTERN} bytes"
            )));
        }
        if self.texts.len() == MAX_PATTERNS {
            return Err(E::custom(format!(
                "there may be {MAX_PATTERNS} regular expressions"
            )));
        }
        let whole = RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(MAX_COMPILED)
            .build();
        // Compiled alone first: `)|(` is no expression, and its place in ours would mislead.
        let alone = RegexBuilder::new(text).size_limit(MAX_COMPILED).build();
        let pattern = alone.and(whole).map_err(|error| {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default();
            E::custom(format!(
                "no regular expression: {}",
                why.trim_start_matches("error: ")
            ))
        })?;
        self.whole.push(pattern);
        self.texts.push(text.to_owned());
        Ok(())
    }
}

/// A module's keys `include` and `exclude`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// What is let through; everything if there is no pattern.
    pub include: Patterns,
    /// What is not, whatever `include` says.
    pub exclude: Patterns,
}

impl Selection {
    /// Whether something that goes by any of `texts` is let through.
    #[must_use]
    pub fn lets_through(&self, texts: &[&str]) -> bool {
        let included = self.include.texts.is_empty() || self.include.match_any(texts);
        included && !self.exclude.match_any(texts)
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for Patterns {}

/// As the list that it is read from: a helper process is told of it.
impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.texts)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Patterns;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a regular expression or a list of them")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Patterns, E> {
                let mut patterns = Patterns::default();
                patterns.add(text)?;
                Ok(patterns)
            }
            // GPUs go by their index too: `exclude: 3`.
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Patterns, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Patterns, A::Error> {
                struct One(Patterns);
                impl<'de> de::DeserializeSeed<'de> for &mut One {
                    type Value = ();
                    fn deserialize<D: Deserializer<'de>>(self, one: D) -> Result<(), D::Error> {
                        let text = String::deserialize(one)?;
                        self.0.add(&text)
                    }
                }
                // Inside the element, so that a mistake has the element's place.
                let mut all = One(Patterns::default());
                while list.next_element_seed(&mut all)?.is_some() {}
                Ok(all.0)
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// The URL of an HTTP endpoint. Holds no password: those are read from files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(Uri);

impl Url {
    /// Whether it is `https`.
    #[must_use]
    pub fn tls(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Host name or address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Port, the scheme's own where none is written.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = if self.tls() { 443 } else { 80 };
        self.0.port_u16().unwrap_or(usual)
    }

    /// Path and query; `/` where none is written.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path_and_query().map_or("/", |path| path.as_str())
    }

    /// As the client wants it.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_URL {
            return Err("a URL may have 2000 bytes");
        }
        let uri: Uri = text
            .parse()
            .map_err(|_| "no URL: expected http://host:port/path")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("a URL begins with http:// or https://");
        }
        let authority = uri.authority().map(ureq::http::uri::Authority::as_str);
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err("a URL holds no user and no password here: put them into a file");
        }
        let port = authority
            .and_then(|authority| authority.rsplit_once("]:").or(authority.rsplit_once(':')));
        let bad_port = port.is_some_and(|(host, port)| {
            !host.contains("::")
                && port
                    .parse()
                    .is_ok_and(|port: u32| port == 0 || port > 65535)
        });
        if uri.host().is_none_or(str::is_empty) || bad_port {
            return Err("no URL: expected http://host:port/path");
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// The absolute path of a file, a secret's for example (`api_key_file`). What stands there instead is not
/// repeated: it may be the secret itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePath(PathBuf);

impl FilePath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let path = PathBuf::from(String::deserialize(deserializer)?);
        if path.is_absolute() {
            Ok(Self(path))
        } else {
            Err(de::Error::custom(
                "expected the absolute path of a file; a secret goes into the file, not here",
            ))
        }
    }
}
