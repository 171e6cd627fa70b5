//! JSON without repeated keys. A parser that ignores repetitions would judge by another document
//! than the reader sees.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value. Numbers, booleans and null occur in no policy document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StrictJson {
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    Text(String),
    /// A number, boolean or null.
    Other,
}

impl StrictJson {
    /// Returns the name of the kind of value, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Object(_) => "an object",
            Self::Array(_) => "an array",
            Self::Text(_) => "a string",
            Self::Other => "a number, a boolean or null",
        }
    }
}

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictJsonVisitor)
    }
}

struct StrictJsonVisitor;

impl<'de> Visitor<'de> for StrictJsonVisitor {
    type Value = StrictJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<StrictJson, E> {
        Ok(StrictJson::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<StrictJson, E> {
        Ok(StrictJson::Other)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<StrictJson, E> {
        Ok(StrictJson::Other)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<StrictJson, E> {
        Ok(StrictJson::Other)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<StrictJson, E> {
        Ok(StrictJson::Other)
    }

    fn visit_unit<E: Error>(self) -> Result<StrictJson, E> {
        Ok(StrictJson::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<StrictJson, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(StrictJson::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<StrictJson, A::Error> {
        let mut all: Vec<(String, StrictJson)> = Vec::new();
        while let Some((key, value)) = entries.next_entry()? {
            if all.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format_args!("the key {key:?} is repeated")));
            }
            all.push((key, value));
        }
        Ok(StrictJson::Object(all))
    }
}
