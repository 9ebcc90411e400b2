//! What was decided, by which statement, and why.

use std::fmt;

use super::keys::KeyKind;
use crate::arn::PrincipalArn;
use crate::text::shown;

/// Most failed conditions that a message tells.
const MAX_TOLD: usize = 8;

/// Most values of a condition that a message tells, and that a decision keeps of a request.
const MAX_TOLD_VALUES: usize = 4;

/// What a request has for a condition key, as far as a message shows it: a request may be a
/// megabyte, and a policy may ask for it in hundreds of conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Got {
    /// At most four values, each at most as long as a message shows it.
    pub first: Vec<String>,
    /// How many there are.
    pub count: usize,
}

impl Got {
    /// Keeps what is shown of `values`.
    pub(super) fn of(values: Option<&[String]>) -> Self {
        let values = values.unwrap_or_default();
        let first = values.iter().take(MAX_TOLD_VALUES);
        Self {
            first: first.map(|value| shown(value)).collect(),
            count: values.len(),
        }
    }
}

impl fmt::Display for Got {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&told(&self.first, self.count))
    }
}

/// Which policy a statement stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySource {
    /// The key's policy.
    Key,
    /// The caller's identity policy at this index.
    Identity(usize),
}

/// Names a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRef {
    /// The policy it stands in.
    pub source: PolicySource,
    /// Its place among the policy's statements, from 0.
    pub index: usize,
    /// Its `Sid`.
    pub sid: Option<String>,
}

impl fmt::Display for StatementRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.index)?;
        if let Some(sid) = &self.sid {
            write!(f, " \"{}\"", shown(sid))?;
        }
        match self.source {
            PolicySource::Key => f.write_str(" of the key policy"),
            PolicySource::Identity(index) => write!(f, " of identity policy {index}"),
        }
    }
}

/// Why a condition did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// The request's value is another one.
    Unmatched,
    /// The request does not have the key.
    Missing,
    /// It asks for an attestation without pinning the root, while more than one is trusted.
    RootNotPinned,
    /// A policy variable in it has no value in this request.
    VariableWithoutValue,
    /// The request's value is not of the operator's type, e.g. a word for a number.
    WrongType,
    /// Two names of the encryption context differ by case alone.
    Ambiguous,
    /// Policy and request are so long that a decision would take too long.
    TooCostly,
}

/// A condition that kept an Allow statement from allowing. Reported only for statements whose
/// principal, action and resource matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionFailure {
    /// The statement it stands in.
    pub statement: StatementRef,
    /// Its operator as written, e.g. `StringEqualsIgnoreCase`.
    pub operator: String,
    /// Its key as written.
    pub key: String,
    /// The policy's values.
    pub expected: Vec<String>,
    /// The request's values, none when it has not got the key.
    pub got: Got,
    /// Why it did not hold.
    pub reason: FailureReason,
    /// Whether every failed condition of its statement is about attestation: then the caller,
    /// who may do everything else the statement asks, is told what was expected.
    pub only_attestation_failed: bool,
}

impl ConditionFailure {
    /// Whether it is about the recipient's attestation.
    pub fn is_attestation(&self) -> bool {
        KeyKind::of(&self.key).is_attestation()
    }

    fn is_encryption_context(&self) -> bool {
        let key = self.key.to_ascii_lowercase();
        key.starts_with("kms:encryptioncontext")
    }
}

impl fmt::Display for ConditionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {}: expected {}",
            shown(&self.operator),
            shown(&self.key),
            told(&self.expected, self.expected.len())
        )?;
        match self.reason {
            FailureReason::Unmatched => write!(f, ", got {}", self.got),
            FailureReason::Missing if self.is_attestation() => {
                f.write_str(", got no attestation document that has it")
            }
            FailureReason::Missing => f.write_str(", got none"),
            FailureReason::RootNotPinned => f.write_str(
                ", which counts only beside StringEquals of \
                 anchorhold:RecipientAttestation:RootSha256, since more than one root is trusted",
            ),
            FailureReason::VariableWithoutValue => {
                f.write_str(", whose policy variable has no value in this request")
            }
            FailureReason::WrongType => write!(f, ", got {} of another type", self.got),
            FailureReason::TooCostly => f.write_str(", got more than can be compared"),
            FailureReason::Ambiguous => {
                f.write_str(", got names in the encryption context that differ by case alone")
            }
        }
    }
}

/// A list of `count` values, of which `values` are the first, as a message shows it.
fn told(values: &[String], count: usize) -> String {
    let mut out = values
        .iter()
        .take(MAX_TOLD_VALUES)
        .map(|value| shown(value))
        .collect::<Vec<_>>();
    if count > MAX_TOLD_VALUES {
        out.push(format!("{} more", count - MAX_TOLD_VALUES));
    }
    out.join(" or ")
}

/// Whose permission is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingAllow {
    /// No key policy statement allows.
    KeyPolicy,
    /// No identity policy statement allows.
    IdentityPolicy,
}

/// Nothing denies, and nothing allows enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImplicitDeny {
    /// Whose permission is missing.
    pub missing: MissingAllow,
    /// Conditions that stood in the way; for the audit trail.
    pub failures: Vec<ConditionFailure>,
}

impl ImplicitDeny {
    /// The failures that the caller may be told.
    fn told(&self) -> impl Iterator<Item = &ConditionFailure> {
        self.failures
            .iter()
            .filter(|failure| failure.only_attestation_failed)
    }
}

/// A condition of a Deny statement that denied: it holds, or nothing can be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenyingCondition {
    /// Its operator as written.
    pub operator: String,
    /// Its key as written.
    pub key: String,
    /// The policy's values.
    pub denied: Vec<String>,
    /// The request's values.
    pub got: Got,
}

impl fmt::Display for DenyingCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let denied = told(&self.denied, self.denied.len());
        let (operator, key) = (shown(&self.operator), shown(&self.key));
        write!(f, "{operator} of {key}: denied {denied}")?;
        match self.got.count {
            0 if KeyKind::of(&self.key).is_attestation() => {
                f.write_str(", got no attestation document that has it")
            }
            0 => f.write_str(", got none"),
            _ => write!(f, ", got {}", self.got),
        }
    }
}

/// A statement denies, whatever others allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplicitDeny {
    /// The statement.
    pub statement: StatementRef,
    /// Its conditions.
    pub conditions: Vec<DenyingCondition>,
}

impl ExplicitDeny {
    /// The conditions that the caller may be told: all, where all are about attestation.
    fn told(&self) -> &[DenyingCondition] {
        let attestation =
            |condition: &DenyingCondition| KeyKind::of(&condition.key).is_attestation();
        if self.conditions.iter().all(attestation) {
            &self.conditions
        } else {
            &[]
        }
    }
}

/// The outcome of an authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Allowed by these statements: one of the key policy, one of an identity policy, or both.
    Allow(Vec<StatementRef>),
    /// Denied by this statement.
    ExplicitDeny(ExplicitDeny),
    /// Not allowed by enough statements.
    ImplicitDeny(ImplicitDeny),
}

impl Decision {
    /// Whether the call is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allow(_))
    }

    /// A stable name of what decided: `policy.allowed`, `policy.explicit-deny`, and for implicit
    /// denies what stood in the way: `policy.attestation`, `policy.encryption-context`,
    /// `policy.condition`, or `policy.no-allow` when no statement was about the call.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Allow(_) => "policy.allowed",
            Self::ExplicitDeny(_) => "policy.explicit-deny",
            Self::ImplicitDeny(deny) if deny.told().next().is_some() => "policy.attestation",
            Self::ImplicitDeny(deny) if deny.failures.is_empty() => "policy.no-allow",
            Self::ImplicitDeny(deny)
                if deny
                    .failures
                    .iter()
                    .all(ConditionFailure::is_encryption_context) =>
            {
                "policy.encryption-context"
            }
            Self::ImplicitDeny(_) => "policy.condition",
        }
    }
}

impl fmt::Display for Decision {
    /// The whole reason, for the audit trail.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(statements) => {
                let names: Vec<String> = statements.iter().map(StatementRef::to_string).collect();
                write!(f, "allowed by {}", names.join(" and "))
            }
            Self::ExplicitDeny(deny) => {
                write!(f, "denied by {}", deny.statement)?;
                for condition in &deny.conditions {
                    write!(f, "; {condition}")?;
                }
                Ok(())
            }
            Self::ImplicitDeny(deny) => {
                f.write_str(match deny.missing {
                    MissingAllow::KeyPolicy => "no statement of the key policy allows",
                    MissingAllow::IdentityPolicy => "no identity policy allows",
                })?;
                for failure in &deny.failures {
                    write!(f, "; {}: {failure}", failure.statement)?;
                }
                Ok(())
            }
        }
    }
}

/// A decision that refuses, with what was asked: the AccessDeniedException. `Display` is the
/// wire's message, in AWS's words; where a statement lacked nothing but the attestation, or denied
/// for nothing else, it also says what was expected or denied and what came. [`Refusal::decision`] says everything, for the audit
/// trail.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Who asked.
    pub principal: PrincipalArn,
    /// For which action.
    pub action: String,
    /// On what.
    pub resource: String,
    /// What was decided.
    pub decision: Decision,
}

impl Refusal {
    /// A stable name of the rule that refused; see [`Decision::rule`].
    pub fn rule(&self) -> &'static str {
        self.decision.rule()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            principal,
            action,
            resource,
            decision,
        } = self;
        write!(
            f,
            "User: {principal} is not authorized to perform: {action} on resource: {resource}"
        )?;
        match decision {
            Decision::Allow(_) => Ok(()),
            Decision::ExplicitDeny(deny) => {
                let kind = match deny.statement.source {
                    PolicySource::Key => "a resource-based",
                    PolicySource::Identity(_) => "an identity-based",
                };
                write!(f, " with an explicit deny in {kind} policy")?;
                for condition in deny.told().iter().take(MAX_TOLD) {
                    write!(f, "; {condition}")?;
                }
                Ok(())
            }
            Decision::ImplicitDeny(deny) => {
                let kind = match deny.missing {
                    MissingAllow::KeyPolicy => "resource-based",
                    MissingAllow::IdentityPolicy => "identity-based",
                };
                write!(f, " because no {kind} policy allows the {action} action")?;
                for failure in deny.told().take(MAX_TOLD) {
                    write!(f, "; {failure}")?;
                }
                Ok(())
            }
        }
    }
}
