//! A tree to a module's options, through serde, with errors that know their place and name their key.
//! Text is never repeated in them: it may be a secret in the wrong place.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::problem::{Place, did_you_mean, shown};
use super::yaml::{Key, Node, Value, yes_or_no};

/// Why a value is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where; `None` until it is known.
    pub place: Option<Place>,
    /// Keys that lead to it, the innermost first.
    pub keys: Vec<String>,
    /// What is wrong.
    pub what: String,
    /// A key is missing, rather than wrong.
    pub missing: bool,
}

impl Fault {
    fn new(what: String) -> Self {
        Self {
            place: None,
            keys: vec![],
            what,
            missing: false,
        }
    }

    fn within(mut self, key: &str, place: Place) -> Self {
        self.place.get_or_insert(place);
        self.keys.push(key.to_owned());
        self
    }

    /// The message: `slo.ttft: expected a number, found text`.
    #[must_use]
    pub fn message(&self) -> String {
        if self.keys.is_empty() {
            return self.what.clone();
        }
        let path: Vec<_> = self.keys.iter().rev().map(String::as_str).collect();
        format!("{}: {}", path.join("."), self.what)
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            Unexpected::Bool(_) => "yes or no",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
            Unexpected::Seq => "a list",
            Unexpected::Map => "keys and values",
            Unexpected::Unit | Unexpected::Option => "nothing",
            _ => "text",
        };
        Self::new(format!("expected {}, found {found}", plain(expected)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = plain(expected);
        Self::new(match found {
            Unexpected::Unsigned(n) => format!("must be {expected}, not {n}"),
            Unexpected::Signed(n) => format!("must be {expected}, not {n}"),
            Unexpected::Float(n) => format!("must be {expected}, not {n}"),
            _ => format!("must be {expected}"),
        })
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}", known.join(", ")))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::new(unknown_key(name, known))
    }

    fn missing_field(name: &'static str) -> Self {
        Self {
            missing: true,
            ..Self::new(format!("{name} is missing"))
        }
    }
}

/// Says that `name` is no key here, and which of `known` it was perhaps meant to be.
#[must_use]
pub fn unknown_key(name: &str, known: &[&str]) -> String {
    let hint = did_you_mean(name, known.iter().copied());
    format!("unknown key {}{hint}", shown(name))
}

/// Rust's names of types in an operator's words.
fn plain(expected: &dyn de::Expected) -> String {
    let text = expected.to_string();
    let words = match text.as_str() {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "a nonzero u8" => "a whole number from 1 to 255",
        "a nonzero u16" => "a whole number from 1 to 65535",
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number, 1 or more",
        "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "yes or no",
        "a string" => "text",
        "a sequence" => "a list",
        "a map" => "keys and values",
        text if text.starts_with("struct ") => "keys and values",
        text => text,
    };
    words.to_owned()
}

/// Hands a node to serde.
#[derive(Clone, Copy)]
pub struct NodeDeserializer<'a>(pub &'a Node);

impl<'a> NodeDeserializer<'a> {
    fn found(self) -> Unexpected<'a> {
        match self.0.kind() {
            "a list" => Unexpected::Seq,
            "keys and values" => Unexpected::Map,
            "nothing" => Unexpected::Unit,
            "a number" => Unexpected::Unsigned(0),
            "yes or no" => Unexpected::Bool(true),
            _ => Unexpected::Str(""),
        }
    }

    /// A plain scalar: one that may be a number or yes or no.
    fn plain(self) -> Option<&'a str> {
        match &self.0.value {
            Value::Scalar {
                text,
                quoted: false,
            } => Some(text),
            _ => None,
        }
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.plain().unwrap_or_default();
        if let Ok(number) = text.parse::<u64>() {
            visitor.visit_u64(number)
        } else if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let Some(number) = text.parse().ok().filter(|number: &f64| number.is_finite()) {
            visitor.visit_f64(number)
        } else {
            Err(de::Error::invalid_type(self.found(), &visitor))
        }
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = Fault;

    numbers!(deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8
        deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::List(list) => visitor.visit_seq(ListAccess(list.iter())),
            Value::Map(map) => visitor.visit_map(MapAccess {
                rest: map.iter(),
                value: None,
            }),
            Value::Scalar { .. } if self.0.is_nothing() => visitor.visit_unit(),
            Value::Scalar { text, quoted } => match yes_or_no(text).filter(|_| !quoted) {
                Some(value) => visitor.visit_bool(value),
                None if !quoted && text.parse::<f64>().is_ok() => self.number(visitor),
                None => visitor.visit_borrowed_str(text),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.plain().and_then(yes_or_no) {
            Some(value) => visitor.visit_bool(value),
            None => Err(de::Error::invalid_type(self.found(), &visitor)),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            // A name may be 1, and a label yes.
            Value::Scalar { text, .. } if !self.0.is_nothing() => visitor.visit_borrowed_str(text),
            _ => Err(de::Error::invalid_type(self.found(), &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.0.is_nothing() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Scalar { text, .. } => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => Err(de::Error::unknown_variant("", known)),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

struct ListAccess<'a>(std::slice::Iter<'a, Node>);

impl<'de> de::SeqAccess<'de> for ListAccess<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.0.next() else {
            return Ok(None);
        };
        let value = seed.deserialize(NodeDeserializer(node));
        value.map(Some).map_err(|mut fault| {
            fault.place.get_or_insert(node.place);
            fault
        })
    }
}

struct MapAccess<'a> {
    rest: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a (Key, Node)>,
}

impl<'de> de::MapAccess<'de> for MapAccess<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        // A key with nothing behind it is as good as absent: the lines below it were commented out.
        let Some(entry) = self.rest.find(|(_, node)| !node.is_nothing()) else {
            return Ok(None);
        };
        self.value = Some(entry);
        let key = seed.deserialize(entry.0.name.as_str().into_deserializer());
        key.map(Some).map_err(|mut fault: Fault| {
            fault.place.get_or_insert(entry.0.place);
            fault
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        let value = seed.deserialize(NodeDeserializer(node));
        value.map_err(|fault| fault.within(&key.name, node.place))
    }
}
