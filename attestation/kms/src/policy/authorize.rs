//! The decision.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>,
//! <https://docs.aws.amazon.com/kms/latest/developerguide/policy-evaluation.html>.

use std::fmt;

use super::budget::Budget;
use super::condition::{Condition, Truth};
use super::decision::MissingAllow;
use super::keys::KeyKind;
use super::operator::{Quantifier, Test};
use super::principal::Meant;
use super::statement::{Effect, Resources, Statement};
use super::template::Template;
use super::wildcard;
use super::{
    ConditionFailure, Context, Decision, DenyingCondition, ExplicitDeny, FailureReason, Got,
    IdentityPolicy, ImplicitDeny, KeyPolicy, PolicySource, Refusal, StatementRef,
};
use crate::arn::{AccountId, AliasArn, KeyArn, PrincipalArn};
use crate::error::KmsError;
use crate::operation::Operation;

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A key.
    Key(KeyArn),
    /// An alias: CreateAlias, UpdateAlias and DeleteAlias need permission on alias and key.
    Alias(AliasArn),
    /// The account: CreateKey, ListKeys, ListAliases, GenerateRandom, GetAttestationNonce.
    Account(AccountId),
}

impl Resource {
    /// The account that owns it.
    pub fn account(&self) -> &AccountId {
        match self {
            Self::Key(arn) => arn.account(),
            Self::Alias(arn) => arn.account(),
            Self::Account(account) => account,
        }
    }
}

impl fmt::Display for Resource {
    /// The ARN that a policy's Resource is compared with; `*` for the account.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(arn) => arn.fmt(f),
            Self::Alias(arn) => arn.fmt(f),
            Self::Account(_) => f.write_str("*"),
        }
    }
}

/// What is to be decided.
#[derive(Debug, Clone)]
pub struct AuthorizationRequest<'a> {
    /// Who calls; the server has checked it.
    pub principal: &'a PrincipalArn,
    /// What for.
    pub operation: Operation,
    /// On what.
    pub resource: Resource,
    /// The request's condition keys.
    pub context: &'a Context,
    /// How many attestation roots this KMS trusts: with more than one, an attestation condition
    /// counts only where the root is pinned.
    pub trusted_roots: usize,
}

impl AuthorizationRequest<'_> {
    /// The decision as a result.
    ///
    /// # Errors
    /// `AccessDeniedException` unless `decision` allows.
    pub fn enforce(&self, decision: Decision) -> Result<Decision, KmsError> {
        if decision.is_allowed() {
            return Ok(decision);
        }
        Err(KmsError::AccessDenied(Box::new(Refusal {
            principal: self.principal.clone(),
            action: self.operation.action().to_owned(),
            resource: self.resource.to_string(),
            decision,
        })))
    }
}

/// Decides a call. `key_policy` is the policy of the key in `resource`, and `None` exactly when
/// the resource is not a key (a key without its policy is denied); `identity_policies` are those
/// attached to the caller.
///
/// Establishes what the policies say about this request. Does not establish who the caller is,
/// nor whether the key's state permits the operation.
pub fn authorize(
    key_policy: Option<&KeyPolicy>,
    identity_policies: &[IdentityPolicy],
    request: &AuthorizationRequest<'_>,
) -> Decision {
    let key_statements: &[Statement] = key_policy.map_or(&[], |policy| &policy.statements);
    let statements = || {
        let of_key = key_statements
            .iter()
            .enumerate()
            .map(|at| (PolicySource::Key, at));
        let of_identity = identity_policies
            .iter()
            .enumerate()
            .flat_map(|(index, policy)| {
                let at = policy.statements.iter().enumerate();
                at.map(move |at| (PolicySource::Identity(index), at))
            });
        of_key.chain(of_identity)
    };

    let budget = Budget::new();
    for (source, (index, statement)) in statements() {
        if statement.effect == Effect::Deny && denies(statement, request, &budget) {
            return Decision::ExplicitDeny(ExplicitDeny {
                statement: reference(source, index, statement),
                conditions: denying(statement, request),
            });
        }
    }
    let mut by_key: Option<(Meant, StatementRef)> = None;
    let mut by_identity: Option<StatementRef> = None;
    let mut failures = Vec::new();
    for (source, (index, statement)) in statements() {
        if statement.effect != Effect::Allow {
            continue;
        }
        let at = || reference(source, index, statement);
        match (
            allows(statement, request, &budget, at(), &mut failures),
            source,
        ) {
            (Some(meant), PolicySource::Key) => {
                if by_key.as_ref().is_none_or(|(best, _)| *best < meant) {
                    by_key = Some((meant, at()));
                }
            }
            (Some(_), PolicySource::Identity(_)) => {
                by_identity.get_or_insert_with(at);
            }
            (None, _) => {}
        }
    }
    combine(request, by_key, by_identity, failures)
}

/// Puts the permissions of both sides together.
fn combine(
    request: &AuthorizationRequest<'_>,
    by_key: Option<(Meant, StatementRef)>,
    by_identity: Option<StatementRef>,
    failures: Vec<ConditionFailure>,
) -> Decision {
    let implicit = |missing| Decision::ImplicitDeny(ImplicitDeny { missing, failures });
    let own_account = request.principal.account() == request.resource.account();
    if !matches!(request.resource, Resource::Key(_)) {
        return match by_identity {
            Some(statement) if own_account => Decision::Allow(vec![statement]),
            _ => implicit(MissingAllow::IdentityPolicy),
        };
    }
    match (by_key, by_identity) {
        (Some((Meant::Directly, statement)), _) if own_account => Decision::Allow(vec![statement]),
        (Some((_, of_key)), Some(of_identity)) => Decision::Allow(vec![of_key, of_identity]),
        (Some(_), None) => implicit(MissingAllow::IdentityPolicy),
        (None, _) => implicit(MissingAllow::KeyPolicy),
    }
}

/// Whether a Deny statement denies: nothing about it is certainly false.
fn denies(statement: &Statement, request: &AuthorizationRequest<'_>, budget: &Budget) -> bool {
    // A resource whose variable has no value is undecided, which denies.
    concerns(statement, request, true).is_some()
        && !truths(statement, request, budget).any(|(_, truth)| matches!(truth, Truth::False(_)))
}

/// The conditions of a statement that denied, for the refusal.
fn denying(statement: &Statement, request: &AuthorizationRequest<'_>) -> Vec<DenyingCondition> {
    let said = |condition: &Condition| DenyingCondition {
        operator: condition.operator.name.clone(),
        key: condition.key.clone(),
        denied: condition.values.iter().map(|value| value.text()).collect(),
        got: Got::of(request.context.values(&condition.key)),
    };
    statement.conditions.iter().map(said).collect()
}

/// How an Allow statement allows: everything about it is certainly true. Otherwise, when it is
/// about the call, its failed conditions go to `failures`.
fn allows(
    statement: &Statement,
    request: &AuthorizationRequest<'_>,
    budget: &Budget,
    at: StatementRef,
    failures: &mut Vec<ConditionFailure>,
) -> Option<Meant> {
    let meant = concerns(statement, request, false)?;
    let failed: Vec<(&Condition, FailureReason)> = truths(statement, request, budget)
        .filter_map(|(condition, truth)| match truth {
            Truth::True => None,
            Truth::False(reason) | Truth::Undecided(reason) => Some((condition, reason)),
        })
        .collect();
    if failed.is_empty() {
        return Some(meant);
    }
    let only_attestation_failed = failed
        .iter()
        .all(|(condition, _)| KeyKind::of(&condition.key).is_attestation());
    failures.extend(
        failed
            .into_iter()
            .map(|(condition, reason)| ConditionFailure {
                statement: at.clone(),
                operator: condition.operator.name.clone(),
                key: condition.key.clone(),
                expected: condition.values.iter().map(|value| value.text()).collect(),
                got: Got::of(request.context.values(&condition.key)),
                reason,
                only_attestation_failed,
            }),
    );
    None
}

/// Whether principal, action and resource of the statement are the request's.
fn concerns(
    statement: &Statement,
    request: &AuthorizationRequest<'_>,
    undecided: bool,
) -> Option<Meant> {
    let meant = match &statement.principals {
        Some(principals) => principals.mean(request.principal)?,
        None => Meant::Directly,
    };
    let actions = statement.actions.as_ref()?;
    let resources = statement.resources.as_ref()?;
    let concerns = actions.cover(request.operation.action())
        && covers(
            resources,
            &request.resource.to_string(),
            request.context,
            undecided,
        );
    concerns.then_some(meant)
}

/// Whether the statement's resources are the request's; `undecided` when that cannot be said.
fn covers(resources: &Resources, resource: &str, context: &Context, undecided: bool) -> bool {
    let one = |template: &Template| {
        template
            .resolve(context)
            .ok()
            .map(|pattern| wildcard::matches(&pattern, resource))
    };
    let any = |templates: &[Template]| {
        let outcomes: Vec<Option<bool>> = templates.iter().map(one).collect();
        match outcomes.contains(&Some(true)) {
            true => Some(true),
            false if outcomes.contains(&None) => None,
            false => Some(false),
        }
    };
    match resources {
        Resources::These(templates) => any(templates),
        Resources::AllBut(templates) => any(templates).map(|covered| !covered),
    }
    .unwrap_or(undecided)
}

/// The truth of each condition. Where more than one root is trusted and the statement does not pin
/// one, its attestation conditions are undecided: PCRs say nothing without who vouches for them.
fn truths<'a>(
    statement: &'a Statement,
    request: &'a AuthorizationRequest<'_>,
    budget: &'a Budget,
) -> impl Iterator<Item = (&'a Condition, Truth)> {
    let unpinned = request.trusted_roots > 1 && statement.lacks_root();
    statement.conditions.iter().map(move |condition| {
        let truth = if unpinned && KeyKind::of(&condition.key).is_attestation() {
            Truth::Undecided(FailureReason::RootNotPinned)
        } else {
            condition.evaluate(request.context, budget)
        };
        (condition, truth)
    })
}

impl Statement {
    /// Whether it asks for an attestation and does not pin the root.
    ///
    /// A Deny that asks about the root alone is whole in itself: "deny unless under this root".
    pub(super) fn lacks_root(&self) -> bool {
        let kinds = || {
            self.conditions
                .iter()
                .map(|condition| KeyKind::of(&condition.key))
        };
        let asks = match self.effect {
            Effect::Allow => kinds().any(KeyKind::is_attestation),
            Effect::Deny => kinds().any(|kind| kind.is_attestation() && kind != KeyKind::Root),
        };
        asks && !self.conditions.iter().any(Condition::pins_root)
    }
}

impl Condition {
    /// Whether it holds only under the roots it names: StringEquals, with or without case, of
    /// whole hashes, and nothing that lets an absent key pass.
    pub(super) fn pins_root(&self) -> bool {
        let operator = &self.operator;
        let whole_hash =
            |text: String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        KeyKind::of(&self.key) == KeyKind::Root
            && matches!(
                operator.test,
                Test::StringEquals | Test::StringEqualsIgnoreCase
            )
            && !operator.negated
            && !operator.if_exists
            && operator.quantifier != Quantifier::ForAll
            && self.values.iter().all(|value| whole_hash(value.text()))
    }
}

fn reference(source: PolicySource, index: usize, statement: &Statement) -> StatementRef {
    StatementRef {
        source,
        index,
        sid: statement.sid.clone(),
    }
}
