//! What is wrong with a policy although it can be read.

use std::ops::RangeInclusive;

use super::condition::{Condition, Expected};
use super::error::PolicyError;
use super::keys::KeyKind;
use super::operator::{Quantifier, Test};
use super::principal::{Named, Principals};
use super::statement::{Actions, Effect, Statement};
use super::{
    AuthorizationRequest, Finding, FindingKind, IdentityPolicy, KeyPolicy, Severity, authorize,
};
use crate::arn::{PrincipalArn, PrincipalKind};
use crate::error::KmsError;
use crate::operation::Operation;

/// Everything worth saying about `policy` on a KMS that trusts `trusted_roots` attestation roots.
pub fn lint(policy: &KeyPolicy, trusted_roots: usize) -> Vec<Finding> {
    let attested = policy
        .statements
        .iter()
        .any(Statement::asks_for_attestation);
    let contracts = some_allow_names_contracts(&policy.statements);
    let mut findings = Vec::new();
    for (index, statement) in policy.statements.iter().enumerate() {
        let mut kinds = Vec::new();
        if trusted_roots > 1 && statement.lacks_root() {
            kinds.push(FindingKind::RootNotPinned { trusted_roots });
        }
        lint_count(statement, contracts, &mut kinds);
        lint_statement(statement, attested, &mut kinds);
        for condition in &statement.conditions {
            lint_condition(statement.effect, condition, &mut kinds);
        }
        findings.extend(kinds.into_iter().map(|kind| Finding {
            kind,
            statement: index,
            sid: statement.sid.clone(),
        }));
    }
    findings
}

/// What is worth saying about an identity policy where it is not known which roots are trusted: its
/// attestation conditions count on a KMS of one root only unless they pin it, and there they take
/// whatever that root vouches for.
pub fn lint_identity(policy: &IdentityPolicy) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, statement) in policy.statements.iter().enumerate() {
        let mut kinds = Vec::new();
        if statement.lacks_root() {
            kinds.push(FindingKind::RootNotNamed);
        }
        // What the key's policy allows is not known here, and may name the contract.
        lint_count(statement, true, &mut kinds);
        for condition in &statement.conditions {
            lint_condition(statement.effect, condition, &mut kinds);
        }
        findings.extend(kinds.into_iter().map(|kind| Finding {
            kind,
            statement: index,
            sid: statement.sid.clone(),
        }));
    }
    findings
}

/// Reads a policy that is about to be put: refuses what cannot be read and what has a finding of
/// severity error, and returns the warnings beside it.
///
/// # Errors
/// `MalformedPolicyDocumentException`, `LimitExceededException` beyond 32,768 bytes.
pub fn admit(text: &str, trusted_roots: usize) -> Result<(KeyPolicy, Vec<Finding>), KmsError> {
    let policy = KeyPolicy::parse(text)?;
    let (errors, warnings): (Vec<_>, Vec<_>) = lint(&policy, trusted_roots)
        .into_iter()
        .partition(|finding| finding.severity() == Severity::Error);
    if errors.is_empty() {
        Ok((policy, warnings))
    } else {
        Err(PolicyError::Refused(errors).into())
    }
}

/// The lockout check of CreateKey and PutKeyPolicy: under `policy` the caller must still be able
/// to put a key policy. `request` is the present one, about the key (CreateKey: the one that would
/// be made); its operation is not looked at. Not to be called when the request says
/// BypassPolicyLockoutSafetyCheck.
///
/// # Errors
/// `MalformedPolicyDocumentException` in AWS's words.
pub fn lockout_check(
    policy: &KeyPolicy,
    identity_policies: &[IdentityPolicy],
    request: &AuthorizationRequest<'_>,
) -> Result<(), KmsError> {
    let later = AuthorizationRequest {
        operation: Operation::PutKeyPolicy,
        ..request.clone()
    };
    match authorize(Some(policy), identity_policies, &later).is_allowed() {
        true => Ok(()),
        false => Err(KmsError::PolicyLockout),
    }
}

impl Statement {
    fn asks_for_attestation(&self) -> bool {
        self.conditions
            .iter()
            .any(|condition| KeyKind::of(&condition.key).is_attestation())
    }

    /// Whether it takes certain user data and no other.
    fn names_contracts(&self) -> bool {
        self.conditions.iter().any(|condition| {
            let operator = &condition.operator;
            let fixed = |value: &Expected| match value {
                Expected::Text(template) => template.is_fixed(),
                _ => false,
            };
            KeyKind::of(&condition.key) == KeyKind::UserData
                && !operator.negated
                && !operator.holds_without_value()
                && condition.values.iter().all(fixed)
        })
    }

    /// Whether it is about `action`, on whatever resource.
    fn is_about(&self, action: &str) -> bool {
        self.resources.is_some()
            && self
                .actions
                .as_ref()
                .is_some_and(|actions| actions.cover(action))
    }
}

fn some_allow_names_contracts(statements: &[Statement]) -> bool {
    statements
        .iter()
        .any(|statement| statement.effect == Effect::Allow && statement.names_contracts())
}

/// A Deny beyond a count leaves it to the statements that allow to name the contract.
fn lint_count(statement: &Statement, contracts: bool, kinds: &mut Vec<FindingKind>) {
    let bounds = |condition: &Condition| KeyKind::of(&condition.key) == KeyKind::PriorReleases;
    let elsewhere = statement.effect == Effect::Deny && contracts;
    if statement.conditions.iter().any(bounds) && !statement.names_contracts() && !elsewhere {
        kinds.push(FindingKind::CountWithoutContract);
    }
}

fn lint_statement(statement: &Statement, attested: bool, kinds: &mut Vec<FindingKind>) {
    for (absent, missing) in [
        (statement.actions.is_none(), "Action"),
        (statement.resources.is_none(), "Resource"),
    ] {
        if absent {
            kinds.push(FindingKind::NoEffect { missing });
        }
    }
    let resources = statement
        .resources
        .as_ref()
        .map_or(&[][..], |resources| resources.templates());
    for resource in resources {
        if resource.text().contains(":alias/") {
            kinds.push(FindingKind::AliasResource {
                resource: resource.text().to_owned(),
            });
        }
    }
    lint_principals(statement, kinds);
    let asks = statement.asks_for_attestation();
    if statement.effect == Effect::Allow
        && attested
        && !asks
        && statement.is_about(Operation::Decrypt.action())
    {
        kinds.push(FindingKind::DecryptWithoutAttestation);
    }
    if let (true, Some(Actions::These(patterns))) = (asks, &statement.actions) {
        let takes = |operation: &Operation| operation.takes_recipient();
        for pattern in patterns {
            if !Operation::ALL
                .iter()
                .filter(|o| takes(o))
                .any(|o| pattern.matches(o.action()))
            {
                kinds.push(FindingKind::ActionTakesNoRecipient {
                    action: pattern.text.clone(),
                });
            }
        }
    }
}

fn lint_principals(statement: &Statement, kinds: &mut Vec<FindingKind>) {
    match &statement.principals {
        Some(Principals::These(named))
            if statement.effect == Effect::Allow
                && named.contains(&Named::Everyone)
                && !statement.conditions.iter().any(names_the_caller) =>
        {
            kinds.push(FindingKind::AllowsEveryone);
        }
        Some(Principals::AllBut(named)) => {
            for arn in named.iter().filter_map(Named::arn) {
                let account = PrincipalArn::root(arn.account());
                if arn.kind() != PrincipalKind::Root
                    && !named.iter().any(|one| one.arn() == Some(&account))
                {
                    kinds.push(FindingKind::AccountNotExempted {
                        principal: arn.clone(),
                    });
                }
            }
        }
        _ => {}
    }
}

/// Whether a condition asks who calls, so that `*` does not mean everyone.
fn names_the_caller(condition: &Condition) -> bool {
    let key = condition.key.to_ascii_lowercase();
    !condition.operator.negated
        && !condition.operator.if_exists
        && matches!(
            key.as_str(),
            "kms:calleraccount" | "aws:principalarn" | "aws:principalaccount"
        )
}

fn lint_condition(effect: Effect, condition: &Condition, kinds: &mut Vec<FindingKind>) {
    let (key, kind) = (|| condition.key.clone(), KeyKind::of(&condition.key));
    match kind {
        KeyKind::Unknown | KeyKind::OtherAttestation => {
            kinds.push(FindingKind::UnknownConditionKey { key: key() });
        }
        KeyKind::EncryptionContext if condition.operator.quantifier == Quantifier::ForAll => {
            kinds.push(FindingKind::OverlyPermissiveCondition { key: key() });
        }
        _ => {}
    }
    if !kind.is_attestation() {
        return;
    }
    if effect == Effect::Allow && passes_without_document(condition) {
        let operator = condition.operator.name.clone();
        kinds.push(FindingKind::AbsencePasses {
            operator,
            key: key(),
        });
    }
    if let Some(digits) = kind.hex_digits() {
        for value in &condition.values {
            kinds.extend(lint_hash(condition, value, &digits));
        }
    }
}

fn passes_without_document(condition: &Condition) -> bool {
    match condition.operator.test {
        Test::Null => condition.values.contains(&Expected::Absent(true)),
        _ => condition.operator.holds_without_value(),
    }
}

/// What is wrong with a hash that a policy compares with a register or a root.
fn lint_hash(
    condition: &Condition,
    value: &Expected,
    digits: &RangeInclusive<usize>,
) -> Option<FindingKind> {
    let (key, text) = (condition.key.clone(), value.text());
    let Expected::Text(template) = value else {
        return None;
    };
    if text.starts_with("0x") || text.starts_with("0X") {
        return Some(FindingKind::HexPrefix { key, value: text });
    }
    // A pattern or a variable may match a hash without being one.
    if !template.is_fixed() {
        return None;
    }
    let is_hex = text.len() % 2 == 0 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex || !digits.contains(&text.len()) {
        return Some(FindingKind::HexLength {
            key,
            value: text,
            expected: *digits.end(),
        });
    }
    if condition.operator.test != Test::StringEqualsIgnoreCase
        && text.bytes().any(|b| b.is_ascii_uppercase())
    {
        return Some(FindingKind::UpperCaseHex { key, value: text });
    }
    let is_hash = digits.start() == digits.end();
    (is_hash && text.bytes().all(|b| b == b'0')).then_some(FindingKind::ZeroPcr { key })
}
