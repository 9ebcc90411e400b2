//! What may be said about a policy.

use std::fmt;

use super::keys::{PRIOR_RELEASES, ROOT_SHA256, USER_DATA};
use crate::arn::PrincipalArn;
use crate::text::shown;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth saying; the policy is taken.
    Warning,
    /// The policy is refused.
    Error,
}

/// What was found. Keys, operators and values are as the policy writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Fields are what the message says.
#[non_exhaustive]
pub enum FindingKind {
    /// An attestation condition without a pinned root, while more than one is trusted. Error.
    RootNotPinned { trusted_roots: usize },
    /// An attestation condition of an identity policy that says nothing of the root.
    RootNotNamed,
    /// ForAllValues on a pair of the encryption context holds without any context: AWS's
    /// OverlyPermissiveCondition. Error.
    OverlyPermissiveCondition { key: String },
    /// An attestation value with `0x` before it never matches.
    HexPrefix { key: String, value: String },
    /// An attestation value of the wrong length, or not hex, never matches.
    HexLength {
        key: String,
        value: String,
        expected: usize,
    },
    /// Upper-case hex under an operator that minds case never matches: values are lower-case.
    UpperCaseHex { key: String, value: String },
    /// An all-zero PCR: what debug mode has, and an unused register.
    ZeroPcr { key: String },
    /// An Allow whose attestation condition also holds without any document.
    AbsencePasses { operator: String, key: String },
    /// A bound on releases without a contract: releases are counted for each user data by itself, and
    /// the policy leaves open which.
    CountWithoutContract,
    /// Decrypt is allowed without attestation, while other statements ask for it.
    DecryptWithoutAttestation,
    /// An attestation condition on an action that takes no Recipient: never fulfilled there.
    ActionTakesNoRecipient { action: String },
    /// A condition key that no request here has.
    UnknownConditionKey { key: String },
    /// `*` as principal with Allow and without a condition on who calls.
    AllowsEveryone,
    /// NotPrincipal exempts a user or role only if its account stands beside it.
    AccountNotExempted { principal: PrincipalArn },
    /// A statement without Action or Resource has no effect.
    NoEffect { missing: &'static str },
    /// An alias in Resource does not stand for its key.
    AliasResource { resource: String },
}

impl FindingKind {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Self::RootNotPinned { .. } | Self::OverlyPermissiveCondition { .. } => Severity::Error,
            _ => Severity::Warning,
        }
    }

    /// Its stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::RootNotPinned { .. } => "policy.root-not-pinned",
            Self::RootNotNamed => "policy.root-not-named",
            Self::OverlyPermissiveCondition { .. } => "policy.overly-permissive-condition",
            Self::HexPrefix { .. } => "policy.hex-prefix",
            Self::HexLength { .. } => "policy.hex-length",
            Self::UpperCaseHex { .. } => "policy.hex-upper-case",
            Self::ZeroPcr { .. } => "policy.zero-pcr",
            Self::AbsencePasses { .. } => "policy.absence-passes",
            Self::CountWithoutContract => "policy.count-without-contract",
            Self::DecryptWithoutAttestation => "policy.decrypt-without-attestation",
            Self::ActionTakesNoRecipient { .. } => "policy.action-takes-no-recipient",
            Self::UnknownConditionKey { .. } => "policy.unknown-condition-key",
            Self::AllowsEveryone => "policy.allows-everyone",
            Self::AccountNotExempted { .. } => "policy.account-not-exempted",
            Self::NoEffect { .. } => "policy.no-effect",
            Self::AliasResource { .. } => "policy.alias-resource",
        }
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RootNotPinned { trusted_roots } => write!(
                f,
                "it asks for an attestation without pinning the root, and this KMS trusts \
                 {trusted_roots} roots; add StringEquals of {ROOT_SHA256} to the same statement"
            ),
            Self::RootNotNamed => write!(
                f,
                "it asks for an attestation without naming the root; add StringEquals of \
                 {ROOT_SHA256} to the same statement, or deny where {ROOT_SHA256} is Null"
            ),
            Self::OverlyPermissiveCondition { key } => write!(
                f,
                "OverlyPermissiveCondition: ForAllValues of {} also holds without any encryption \
                 context",
                shown(key)
            ),
            Self::HexPrefix { key, value } => {
                write!(
                    f,
                    "{}: \"{}\" never matches; leave out 0x",
                    shown(key),
                    shown(value)
                )
            }
            Self::HexLength {
                key,
                value,
                expected,
            } => write!(
                f,
                "{}: \"{}\" never matches; expected {expected} hex digits",
                shown(key),
                shown(value)
            ),
            Self::UpperCaseHex { key, value } => write!(
                f,
                "{}: \"{}\" never matches; use lower case or StringEqualsIgnoreCase",
                shown(key),
                shown(value)
            ),
            Self::ZeroPcr { key } => {
                write!(
                    f,
                    "{}: all zeros is what debug mode and unused registers have",
                    shown(key)
                )
            }
            Self::AbsencePasses { operator, key } => write!(
                f,
                "{} of {} also holds without an attestation document; allow by a positive operator",
                shown(operator),
                shown(key)
            ),
            Self::CountWithoutContract => write!(
                f,
                "it bounds {PRIOR_RELEASES}, which counts for each user data by itself, and takes \
                 any; add StringEquals of {USER_DATA} to the same statement"
            ),
            Self::DecryptWithoutAttestation => f.write_str(
                "it allows kms:Decrypt without attestation, which defeats the statements that ask \
                 for it; leave kms:Decrypt out of it",
            ),
            Self::ActionTakesNoRecipient { action } => write!(
                f,
                "{} takes no Recipient, so that its attestation conditions never see a document",
                shown(action)
            ),
            Self::UnknownConditionKey { key } => {
                write!(f, "no request here has the condition key {}", shown(key))
            }
            Self::AllowsEveryone => {
                f.write_str("it allows everyone; add a condition on kms:CallerAccount or the like")
            }
            Self::AccountNotExempted { principal } => write!(
                f,
                "NotPrincipal exempts {principal} only if its account stands beside it"
            ),
            Self::NoEffect { missing } => write!(f, "without {missing} it has no effect"),
            Self::AliasResource { resource } => write!(
                f,
                "the alias {} does not stand for its key; use \"*\" for this key",
                shown(resource)
            ),
        }
    }
}

/// Something a policy's author should know. `Display` names the statement and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// The statement's place in the policy, from 0.
    pub statement: usize,
    /// The statement's `Sid`.
    pub sid: Option<String>,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }

    /// Its stable name.
    pub fn rule(&self) -> &'static str {
        self.kind.rule()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "statement {}", self.statement)?;
        if let Some(sid) = &self.sid {
            write!(f, " \"{}\"", shown(sid))?;
        }
        write!(f, ": {}", self.kind)
    }
}
