//! Key policies.

use anchorhold_kms_core::arn::{KeyArn, KeyRef, PrincipalArn, PrincipalKind};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{
    AuthorizationRequest, Context, Finding, KeyPolicy, Resource, admit, lockout_check,
};
use anchorhold_kms_core::{Exception, KmsError};

use super::access::stored;
use super::{Call, Decided, Service};
use crate::audit::event::cut;
use crate::store::{Change, Expectation};
use crate::wire::{
    AnswerBody, GetKeyPolicyOutput, ListKeyPoliciesOutput, PutKeyPolicy, PutKeyPolicyOutput,
};

/// The name of a key's only policy.
const DEFAULT: &str = "default";

/// The most findings that are told of one policy: more is one mistake made often.
const MAX_WARNINGS: usize = 32;
/// The most bytes of one: its statement's `Sid` can have any length.
const MAX_WARNING: usize = 1024;

/// A policy that may be put.
pub(super) struct Admitted {
    /// What its author should know.
    pub(super) warnings: Vec<String>,
    /// The users that it names exist.
    pub(super) expectations: Vec<Expectation>,
}

impl Service {
    pub(super) async fn get_key_policy(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
    ) -> Result<Decided, KmsError> {
        let found = self.managed(call, Operation::GetKeyPolicy, key).await?;
        let output = GetKeyPolicyOutput {
            policy: found.key.policy.clone(),
            policy_name: DEFAULT,
        };
        Ok(Decided::answer(AnswerBody::new(&output), found.grounds()))
    }

    pub(super) async fn list_key_policies(
        &self,
        call: &mut Call<'_>,
        key: &KeyRef,
    ) -> Result<Decided, KmsError> {
        let found = self.managed(call, Operation::ListKeyPolicies, key).await?;
        let output = ListKeyPoliciesOutput {
            policy_names: [DEFAULT],
            truncated: false,
        };
        Ok(Decided::answer(AnswerBody::new(&output), found.grounds()))
    }

    pub(super) async fn put_key_policy(
        &self,
        call: &mut Call<'_>,
        input: &PutKeyPolicy,
    ) -> Result<Decided, KmsError> {
        let operation = Operation::PutKeyPolicy;
        let found = self.find(call, &input.key).await?;
        let context = self
            .key_context(call, &found)
            .bypass_policy_lockout_safety_check(input.bypass_lockout_check);
        self.authorize_key(call, operation, &found.key, context)?;
        found.key.metadata.permits(operation)?;
        let arn = &found.key.metadata.arn;
        let later = self.context(call).key(&found.key.metadata);
        let lockout = (!input.bypass_lockout_check).then_some(later);
        let admitted = self.admit_policy(call, arn, &input.policy, lockout).await?;
        let mut expectations = found.grounds();
        expectations.extend(admitted.expectations);
        let body = if admitted.warnings.is_empty() {
            AnswerBody::empty()
        } else {
            AnswerBody::new(&PutKeyPolicyOutput {
                warnings: admitted.warnings,
            })
        };
        Ok(Decided {
            body,
            changes: vec![Change::SetPolicy {
                key: found.key.id(),
                policy: input.policy.clone(),
            }],
            expectations,
        })
    }

    /// Reads a policy that is to hang on the key `arn`: well formed, its users known, and, where
    /// `lockout` has the condition keys of a later call on that key, its caller not locked out.
    pub(super) async fn admit_policy(
        &self,
        call: &mut Call<'_>,
        arn: &KeyArn,
        text: &str,
        lockout: Option<Context>,
    ) -> Result<Admitted, KmsError> {
        let (policy, findings) = admit(text, self.trusted_roots())?;
        let expectations = self.known_users(&policy).await?;
        if let Some(context) = lockout {
            // What PutKeyPolicy would be asked with, by a caller who does not ask to bypass.
            let context = context.bypass_policy_lockout_safety_check(false);
            let request = AuthorizationRequest {
                principal: &call.caller.arn,
                operation: Operation::PutKeyPolicy,
                resource: Resource::Key(arn.clone()),
                context: &context,
                trusted_roots: self.trusted_roots(),
            };
            lockout_check(&policy, &call.caller.policies, &request)?;
        }
        let warnings = told(&findings);
        if !warnings.is_empty() {
            call.trail
                .additional
                .insert("policyWarnings".to_owned(), warnings.clone().into());
        }
        Ok(Admitted {
            warnings,
            expectations,
        })
    }

    /// The users that a policy names have to exist, as with AWS: a mistyped name would
    /// otherwise be taken for a grant. Principals of other accounts cannot be looked up.
    async fn known_users(&self, policy: &KeyPolicy) -> Result<Vec<Expectation>, KmsError> {
        let mut expectations = Vec::new();
        for principal in policy.principals() {
            if *principal.account() != self.home().account
                || principal.kind() == PrincipalKind::Root
            {
                continue;
            }
            let unknown = || unknown_principal(principal);
            let user = principal.as_str().rsplit_once(":user/");
            let (_, name) = user.ok_or_else(unknown)?;
            let record = self.store.principal(name).await.map_err(stored)?;
            record.ok_or_else(unknown)?;
            expectations.push(Expectation::Principal(name.to_owned()));
        }
        Ok(expectations)
    }
}

/// What is said of findings: so many, and how many more there are. A policy within its 32 KiB can
/// have ten thousand, and answer and audit event have to stay within what their readers take.
fn told(findings: &[Finding]) -> Vec<String> {
    let said = |finding: &Finding| cut(&finding.to_string(), MAX_WARNING);
    let mut told: Vec<_> = findings.iter().take(MAX_WARNINGS).map(said).collect();
    let more = findings.len() - told.len();
    if more > 0 {
        told.push(format!("and {more} more of the kind"));
    }
    told
}

/// AWS's words, and which principal it is.
fn unknown_principal(principal: &PrincipalArn) -> KmsError {
    KmsError::other(
        Exception::MalformedPolicyDocument,
        "policy.unknown-principal",
        format!(
            "Policy contains a statement with one or more invalid principals: \
             {principal} does not exist"
        ),
    )
}
