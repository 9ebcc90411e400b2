//! Elements of a policy's objects: which there are, and of what type.

use super::error::{Place, PolicyError};
use super::json::Json;

/// The values of two elements of which at most one may stand.
pub(super) fn exclusive<'a>(
    members: &'a [(String, Json)],
    at: Place,
    first: &'static str,
    second: &'static str,
) -> Result<(Option<&'a Json>, Option<&'a Json>), PolicyError> {
    match (member(members, first), member(members, second)) {
        (Some(_), Some(_)) => Err(PolicyError::Conflict { at, first, second }),
        found => Ok(found),
    }
}

/// The value of the member of this name; names stand once.
pub(super) fn member<'a>(members: &'a [(String, Json)], name: &str) -> Option<&'a Json> {
    members
        .iter()
        .find(|(own, _)| own == name)
        .map(|(_, value)| value)
}

/// The text under this name, if there is one.
pub(super) fn text_member<'a>(
    members: &'a [(String, Json)],
    name: &str,
    at: Place,
) -> Result<Option<&'a str>, PolicyError> {
    match member(members, name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(wrong_type(at, name, "a string")),
    }
}

/// A string, or a non-empty array of strings. An empty one would turn NotAction into "everything".
pub(super) fn one_or_more<'a>(
    value: &'a Json,
    at: Place,
    element: &str,
) -> Result<Vec<&'a str>, PolicyError> {
    let items = match value {
        Json::Array(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    let text = |item: &'a Json| match item {
        Json::Text(text) => Some(text.as_str()),
        _ => None,
    };
    items
        .iter()
        .map(text)
        .collect::<Option<Vec<_>>>()
        .filter(|texts| !texts.is_empty())
        .ok_or_else(|| wrong_type(at, element, "a string or a non-empty array of strings"))
}

/// An element of the wrong JSON type.
pub(super) fn wrong_type(at: Place, element: &str, expected: &'static str) -> PolicyError {
    PolicyError::WrongType {
        at,
        element: element.to_owned(),
        expected,
    }
}
