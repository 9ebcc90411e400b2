//! Values of a policy in which variables and wildcards may stand.
//!
//! Variables (version 2012-10-17 only): `${aws:PrincipalArn}`, `${aws:PrincipalAccount}`,
//! `${aws:username}`, `${aws:RequestedRegion}` and `${kms:CallerAccount}`: what the caller cannot
//! choose. Others are refused, since a value the caller chooses would be compared with itself.
//! `${*}`, `${?}` and `${$}` stand for the characters themselves. What a variable brings in is
//! literal: a `*` in it is no wildcard.

use super::wildcard::Token;
use super::{Context, PolicyError};

/// Variables that a policy may use.
const VARIABLES: [&str; 5] = [
    "aws:PrincipalArn",
    "aws:PrincipalAccount",
    "aws:username",
    "aws:RequestedRegion",
    "kms:CallerAccount",
];

/// The version of the policy language: variables exist in the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// 2008-10-17, and whatever gives no version.
    V2008,
    /// 2012-10-17.
    V2012,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Literal(Token),
    Variable(&'static str),
}

/// A value as it was written, with its variables found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

/// A variable has no single value in this request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoValue;

impl Template {
    /// `*`.
    pub(super) fn every() -> Self {
        Self {
            text: "*".to_owned(),
            parts: vec![Part::Literal(Token::Many)],
        }
    }

    /// Reads a value in which `*` and `?` are wildcards.
    pub(super) fn pattern(text: &str, version: Version) -> Result<Self, PolicyError> {
        Self::read(text, version, true)
    }

    /// Reads a value in which `*` and `?` are themselves.
    pub(super) fn literal(text: &str, version: Version) -> Result<Self, PolicyError> {
        Self::read(text, version, false)
    }

    fn read(text: &str, version: Version, wildcards: bool) -> Result<Self, PolicyError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let after = rest.get(c.len_utf8()..).unwrap_or_default();
            if version == Version::V2012
                && let Some(body) = rest.strip_prefix("${")
            {
                let (name, after) = body.split_once('}').ok_or_else(|| PolicyError::Variable {
                    got: rest.to_owned(),
                })?;
                parts.push(variable(name)?);
                rest = after;
                continue;
            }
            parts.push(Part::Literal(match c {
                '*' if wildcards => Token::Many,
                '?' if wildcards => Token::One,
                c => Token::Char(c),
            }));
            rest = after;
        }
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// The value as it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds neither wildcard nor variable.
    pub(super) fn is_fixed(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Literal(Token::Char(_))))
    }

    /// Whether it holds a variable.
    pub(super) fn has_variable(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Variable(_)))
    }

    /// The pattern of this request.
    pub(super) fn resolve(&self, context: &Context) -> Result<Vec<Token>, NoValue> {
        let mut tokens = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            match part {
                Part::Literal(token) => tokens.push(*token),
                Part::Variable(name) => match context.values(name) {
                    Some([value]) => tokens.extend(value.chars().map(Token::Char)),
                    _ => return Err(NoValue),
                },
            }
        }
        Ok(tokens)
    }
}

/// What stands between `${` and `}`.
fn variable(name: &str) -> Result<Part, PolicyError> {
    match name {
        "*" => return Ok(Part::Literal(Token::Char('*'))),
        "?" => return Ok(Part::Literal(Token::Char('?'))),
        "$" => return Ok(Part::Literal(Token::Char('$'))),
        _ => {}
    }
    VARIABLES
        .into_iter()
        .find(|known| known.eq_ignore_ascii_case(name))
        .map(Part::Variable)
        .ok_or_else(|| PolicyError::Variable {
            got: name.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::policy::wildcard;

    fn context() -> Context {
        let alice = "arn:aws:iam::111122223333:user/Alice"
            .parse()
            .expect("a principal");
        let region = "eu-central-1".parse().expect("a region");
        Context::new(&alice, &region, SystemTime::UNIX_EPOCH)
    }

    /// No principal's name may hold a wildcard; should one ever, it is no wildcard here.
    #[test]
    fn what_a_variable_brings_in_is_literal() {
        let context = context().with("aws:username", "*".to_owned());
        let template = Template::pattern("${aws:username}-?", Version::V2012).expect("a pattern");
        let pattern = template.resolve(&context).expect("a value");
        assert!(!wildcard::matches(&pattern, "anything-x"));
        assert!(wildcard::matches(&pattern, "*-x"));
    }

    #[test]
    fn fixed_values_hold_neither_wildcard_nor_variable() {
        for (text, fixed, variable) in [
            ("a1b2", true, false),
            ("a*", false, false),
            ("a?", false, false),
            ("${*}", true, false),
            ("${aws:username}", false, true),
        ] {
            let template = Template::pattern(text, Version::V2012).expect("a pattern");
            assert_eq!(
                (template.is_fixed(), template.has_variable()),
                (fixed, variable),
                "{text}"
            );
        }
    }
}
