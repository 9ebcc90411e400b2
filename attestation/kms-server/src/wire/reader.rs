//! Members of a JSON object, with AWS's words for what is wrong with them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anchorhold_kms_core::{Exception, KmsError};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};
use zeroize::{Zeroize, Zeroizing};

/// Characters of a caller's value that are repeated in a message.
const MAX_ECHO: usize = 128;
/// Violated constraints that a message tells; no operation has more members.
const MAX_VIOLATIONS: usize = 16;

/// The members of a request, taken out one by one. Violated constraints are
/// gathered, so that a caller hears of all of them at once, as with AWS.
pub(super) struct Reader {
    members: Map<String, Value>,
    /// Path of the object in front of a member's name: empty, or `recipient.`.
    path: &'static str,
    violations: Vec<String>,
}

impl Reader {
    /// Parses a body. At most 128 levels deep, `serde_json`'s own bound.
    pub(super) fn from_body(body: &[u8]) -> Result<Self, KmsError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::new(members, "")),
            Ok(_) => Err(serialization("Start of structure or map expected.")),
            Err(_) => Err(serialization("The request's body is not valid JSON.")),
        }
    }

    fn new(members: Map<String, Value>, path: &'static str) -> Self {
        Self {
            members,
            path,
            violations: Vec::new(),
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// `ValidationException` listing every violated constraint.
    pub(super) fn finish(self) -> Result<(), KmsError> {
        let count = self.violations.len();
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "error" } else { "errors" };
        Err(KmsError::validation(
            "request.constraint",
            format!(
                "{count} validation {plural} detected: {}",
                self.violations.join("; ")
            ),
        ))
    }

    /// A string of so many characters.
    pub(super) fn string(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
    ) -> Result<Option<String>, KmsError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        self.check_length(name, text.chars().count(), length, Some(&text));
        Ok(Some(text))
    }

    /// A string that must be there. The empty string stands for an absent one until
    /// [`Reader::finish`] refuses.
    pub(super) fn required_string(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
    ) -> Result<String, KmsError> {
        match self.string(name, length)? {
            Some(text) => Ok(text),
            None => {
                self.absent(name);
                Ok(String::new())
            }
        }
    }

    /// A string out of an enumeration.
    pub(super) fn choice(
        &mut self,
        name: &'static str,
        choices: &[&'static str],
    ) -> Result<Option<&'static str>, KmsError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let known = choices.iter().find(|choice| **choice == text).copied();
        if known.is_none() {
            let set = choices.join(", ");
            let constraint = format!("Member must satisfy enum value set: [{set}]");
            self.violate(name, Some(&text), &constraint);
        }
        Ok(known)
    }

    /// A whole number within bounds.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, KmsError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Some(number) = value.as_i64() else {
            return Err(wrong_type(&value, "an Integer"));
        };
        let shown = number.to_string();
        if number < *range.start() {
            let constraint = format!(
                "Member must have value greater than or equal to {}",
                range.start()
            );
            self.violate(name, Some(&shown), &constraint);
        } else if number > *range.end() {
            let constraint = format!(
                "Member must have value less than or equal to {}",
                range.end()
            );
            self.violate(name, Some(&shown), &constraint);
        }
        Ok(Some(number))
    }

    /// A boolean, `false` when absent.
    pub(super) fn boolean(&mut self, name: &'static str) -> Result<bool, KmsError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => Err(wrong_type(&other, "a Boolean")),
        }
    }

    /// Bytes in base64. Neither they nor their encoding stay in memory behind us.
    pub(super) fn blob(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, KmsError> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let text = Zeroizing::new(text);
        let bytes = BASE64_STANDARD
            .decode(text.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| serialization("A blob member is not valid base64."))?;
        self.check_length(name, bytes.len(), length, None);
        Ok(Some(bytes))
    }

    /// Bytes that must be there; empty ones stand for absent ones until [`Reader::finish`].
    pub(super) fn required_blob(
        &mut self,
        name: &'static str,
        length: RangeInclusive<usize>,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        match self.blob(name, length)? {
            Some(bytes) => Ok(bytes),
            None => {
                self.absent(name);
                Ok(Zeroizing::default())
            }
        }
    }

    /// A map of strings; empty when absent.
    pub(super) fn string_map(
        &mut self,
        name: &'static str,
    ) -> Result<BTreeMap<String, String>, KmsError> {
        match self.take(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(members)) => members
                .into_iter()
                .map(|(key, value)| Ok((key, as_text(value)?)))
                .collect(),
            Some(other) => Err(wrong_type(&other, "a Map")),
        }
    }

    /// A list of strings of so many members of so many characters; empty when absent.
    pub(super) fn string_list(
        &mut self,
        name: &'static str,
        members: RangeInclusive<usize>,
        length: RangeInclusive<usize>,
    ) -> Result<Vec<String>, KmsError> {
        let list = match self.take(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(other) => return Err(wrong_type(&other, "a List")),
        };
        // Of a list that is too long, no member is looked at: there may be a megabyte of them.
        if !self.check_length(name, list.len(), members, None) {
            return Ok(Vec::new());
        }
        let list: Vec<String> = list.into_iter().map(as_text).collect::<Result<_, _>>()?;
        for text in &list {
            self.check_length(name, text.chars().count(), length.clone(), Some(text));
        }
        Ok(list)
    }

    /// Whether a member of any type is there and is not an empty list.
    pub(super) fn is_given(&mut self, name: &'static str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        }
    }

    /// A nested object, read by `read`; its violations count as this object's.
    pub(super) fn structure<T>(
        &mut self,
        name: &'static str,
        path: &'static str,
        read: impl FnOnce(&mut Self) -> Result<T, KmsError>,
    ) -> Result<Option<T>, KmsError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => {
                let mut nested = Self::new(members, path);
                let value = read(&mut nested)?;
                self.violations.append(&mut nested.violations);
                self.violations.truncate(MAX_VIOLATIONS);
                Ok(Some(value))
            }
            Some(other) => Err(wrong_type(&other, "a Structure")),
        }
    }

    /// Records that `name` is absent and must not be.
    pub(super) fn absent(&mut self, name: &'static str) {
        self.violate_null(name, "Member must not be null");
    }

    /// Records that a pattern of the API model is not met.
    pub(super) fn violate_pattern(
        &mut self,
        name: &'static str,
        value: Option<&str>,
        pattern: &str,
    ) {
        let constraint = format!("Member must satisfy regular expression pattern: {pattern}");
        self.violate(name, value, &constraint);
    }

    /// Whether a length is within bounds; else the violation is recorded.
    fn check_length(
        &mut self,
        name: &'static str,
        got: usize,
        length: RangeInclusive<usize>,
        shown: Option<&str>,
    ) -> bool {
        let constraint = if got < *length.start() {
            format!(
                "Member must have length greater than or equal to {}",
                length.start()
            )
        } else if got > *length.end() {
            format!(
                "Member must have length less than or equal to {}",
                length.end()
            )
        } else {
            return true;
        };
        self.violate(name, shown, &constraint);
        false
    }

    /// `value` is left out where it may be a secret.
    fn violate(&mut self, name: &'static str, value: Option<&str>, constraint: &str) {
        let value = value.map_or_else(String::new, |value| format!(" '{}'", echo(value)));
        self.push_violation(&format!("Value{value}"), name, constraint);
    }

    fn violate_null(&mut self, name: &'static str, constraint: &str) {
        self.push_violation("Value null", name, constraint);
    }

    /// Beyond the bound, violations are not recorded: the request is refused as it is.
    fn push_violation(&mut self, value: &str, name: &str, constraint: &str) {
        if self.violations.len() >= MAX_VIOLATIONS {
            return;
        }
        let path = self.path;
        let name = lower_camel(name);
        self.violations.push(format!(
            "{value} at '{path}{name}' failed to satisfy constraint: {constraint}"
        ));
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, KmsError> {
        self.take(name).map(as_text).transpose()
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }
}

impl Drop for Reader {
    /// Members that nobody asked for may hold what their sender thinks is secret.
    fn drop(&mut self) {
        for (_, value) in std::mem::take(&mut self.members) {
            if let Value::String(mut text) = value {
                text.zeroize();
            }
        }
    }
}

fn as_text(value: Value) -> Result<String, KmsError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(&other, "a String")),
    }
}

/// `SerializationException`.
pub(super) fn serialization(message: &'static str) -> KmsError {
    KmsError::other(Exception::Serialization, "request.serialization", message)
}

fn wrong_type(value: &Value, wanted: &str) -> KmsError {
    let token = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(_) => "BOOLEAN_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    };
    KmsError::other(
        Exception::Serialization,
        "request.serialization",
        format!("{token} can not be converted to {wanted}"),
    )
}

/// A caller's value for a message: short, one line.
fn echo(value: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    value.chars().take(MAX_ECHO).map(clean).collect()
}

/// `KeyId` as AWS's messages write it: `keyId`.
fn lower_camel(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(characters).collect()
    })
}
