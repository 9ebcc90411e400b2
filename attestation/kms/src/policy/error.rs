//! Why a policy is not taken.

use std::fmt;

use super::Finding;
use crate::text::shown;

/// Why a policy is not taken. Messages name the statement by its place, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // Fields are what their message says.
pub enum PolicyError {
    /// Longer than the limit.
    #[error("the policy has {size} bytes; at most {max} are taken")]
    TooLarge { size: usize, max: usize },
    /// A character outside the API model's `PolicyType`.
    #[error(
        "a policy holds tab, line feed, carriage return and U+0020 to U+00FF only, not U+{got:04X}"
    )]
    Character { got: u32 },
    /// Not JSON.
    #[error("the policy is not valid JSON (line {line}, column {column})")]
    Json { line: usize, column: usize },
    /// Nested too deep.
    #[error("the policy nests deeper than {max} levels")]
    TooDeep { max: usize },
    /// A key stands twice in one object.
    #[error("the key \"{}\" stands twice in one object", shown(key))]
    DuplicateKey { key: String },
    /// Too many statements.
    #[error("the policy has {got} statements; at most {max} are taken")]
    Statements { got: usize, max: usize },
    /// A version other than the two there are.
    #[error(
        "Version must be \"2012-10-17\" or \"2008-10-17\", not \"{}\"",
        shown(got)
    )]
    Version { got: String },
    /// An element is missing.
    #[error("{at} has no {element}")]
    Missing { at: Place, element: &'static str },
    /// An element that is not known there.
    #[error("{at} has an unknown element \"{}\"", shown(element))]
    UnknownElement { at: Place, element: String },
    /// An element of the wrong JSON type, or empty.
    #[error("{at}: {element} must be {expected}")]
    WrongType {
        at: Place,
        element: String,
        expected: &'static str,
    },
    /// Two elements that exclude each other.
    #[error("{at} has both {first} and {second}")]
    Conflict {
        at: Place,
        first: &'static str,
        second: &'static str,
    },
    /// An effect other than Allow and Deny.
    #[error("{at}: Effect must be \"Allow\" or \"Deny\", not \"{}\"", shown(got))]
    Effect { at: Place, got: String },
    /// A principal of no known form, or with a wildcard.
    #[error(
        "Policy contains a statement with one or more invalid principals: {at} names \"{}\"; \
         expected an account id, \"*\", or the full ARN of an account, user, role or session",
        shown(got)
    )]
    Principal { at: Place, got: String },
    /// A principal in an identity policy.
    #[error("{at}: an identity policy names no principals")]
    PrincipalInIdentityPolicy { at: Place },
    /// NotPrincipal with Allow: IAM does not support it, and it would allow everyone else.
    #[error("{at}: NotPrincipal is for Effect \"Deny\" only")]
    NotPrincipalAllow { at: Place },
    /// An action that is not `service:name` or `*`.
    #[error(
        "{at}: \"{}\" is no action; expected \"service:action\" or \"*\"",
        shown(got)
    )]
    Action { at: Place, got: String },
    /// A condition operator that does not exist.
    #[error("{at}: \"{}\" is no condition operator", shown(got))]
    UnknownOperator { at: Place, got: String },
    /// A condition operator that exists and is not supported.
    #[error("{at}: the condition operator \"{}\" is not supported", shown(got))]
    UnsupportedOperator { at: Place, got: String },
    /// A value that its operator cannot compare.
    #[error(
        "{at}: {operator} of {}: \"{}\" is not {expected}",
        shown(key),
        shown(got)
    )]
    Value {
        at: Place,
        operator: String,
        key: String,
        got: String,
        expected: &'static str,
    },
    /// A variable that is not supported.
    #[error("the policy variable \"{}\" is not supported", shown(got))]
    Variable { got: String },
    /// Readable, and not to be accepted: see the findings.
    #[error("{}", listed(.0))]
    Refused(Vec<Finding>),
}

impl PolicyError {
    /// A stable name of the broken rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "policy.size",
            Self::Character { .. } => "policy.character",
            Self::Json { .. } => "policy.json",
            Self::TooDeep { .. } => "policy.nesting",
            Self::DuplicateKey { .. } => "policy.duplicate-key",
            Self::Statements { .. } => "policy.statements",
            Self::Version { .. } => "policy.version",
            Self::Missing { .. } => "policy.missing-element",
            Self::UnknownElement { .. } => "policy.unknown-element",
            Self::WrongType { .. } => "policy.element-type",
            Self::Conflict { .. } => "policy.element-conflict",
            Self::Effect { .. } => "policy.effect",
            Self::Principal { .. } => "policy.principal",
            Self::PrincipalInIdentityPolicy { .. } => "policy.principal-in-identity-policy",
            Self::NotPrincipalAllow { .. } => "policy.not-principal-allow",
            Self::Action { .. } => "policy.action",
            Self::UnknownOperator { .. } => "policy.unknown-operator",
            Self::UnsupportedOperator { .. } => "policy.unsupported-operator",
            Self::Value { .. } => "policy.value",
            Self::Variable { .. } => "policy.variable",
            Self::Refused(findings) => findings.first().map_or("policy.refused", Finding::rule),
        }
    }
}

/// Where in a policy something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Outside the statements.
    Document,
    /// In the statement of this index.
    Statement(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document => f.write_str("the policy"),
            Self::Statement(index) => write!(f, "statement {index}"),
        }
    }
}

fn listed(findings: &[Finding]) -> String {
    findings
        .iter()
        .map(Finding::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}
