//! JSON that keeps what a decision must not lose: a key that stands twice, and how deep it goes.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::PolicyError;

/// Deepest nesting of a policy: document, statements, statement, Condition, operator, values are
/// six levels.
pub(super) const MAX_DEPTH: usize = 6;

/// A JSON value. Objects keep their members in order, twice where they stand twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads one value and nothing after it.
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        let value: Self = serde_json::from_str(text).map_err(|error| PolicyError::Json {
            line: error.line(),
            column: error.column(),
        })?;
        value.check(0)?;
        Ok(value)
    }

    /// Depth and duplicate members. serde_json's own limit of 128 levels bounds the recursion.
    fn check(&self, depth: usize) -> Result<(), PolicyError> {
        match self {
            Self::Array(_) | Self::Object(_) if depth >= MAX_DEPTH => {
                Err(PolicyError::TooDeep { max: MAX_DEPTH })
            }
            Self::Array(items) => items.iter().try_for_each(|item| item.check(depth + 1)),
            Self::Object(members) => {
                let mut names: Vec<&str> = members.iter().map(|(name, _)| name.as_str()).collect();
                names.sort_unstable();
                if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(PolicyError::DuplicateKey {
                        key: pair[0].to_owned(),
                    });
                }
                members
                    .iter()
                    .try_for_each(|(_, value)| value.check(depth + 1))
            }
            _ => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element()? {
            out.push(item);
        }
        Ok(Json::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut out = Vec::new();
        while let Some(member) = members.next_entry()? {
            out.push(member);
        }
        Ok(Json::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":[{"b":{"c":1,"d":2,"c":3}}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            let error = Json::parse(text).unwrap_err();
            assert_eq!(error.rule(), "policy.duplicate-key", "{text}");
        }
        assert!(Json::parse(r#"{"a":{"b":1},"b":{"a":1},"A":1}"#).is_ok());
    }

    #[test]
    fn nesting_is_bounded_before_and_after_the_parser() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Json::parse(&nested(6)).is_ok());
        assert_eq!(
            Json::parse(&nested(7)).unwrap_err().rule(),
            "policy.nesting"
        );
        assert_eq!(
            Json::parse(&nested(10_000)).unwrap_err().rule(),
            "policy.json"
        );
    }

    #[test]
    fn what_follows_the_value_is_refused() {
        for text in ["", "{} {}", "{}x", "{", "{\"a\":}", "{'a':1}", "\u{feff}{}"] {
            assert_eq!(
                Json::parse(text).unwrap_err().rule(),
                "policy.json",
                "{text:?}"
            );
        }
    }
}
