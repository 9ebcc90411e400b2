//! Who calls, which key is meant, and whether the caller may.

use std::time::SystemTime;

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::{AliasName, KeyId, KeyRef, PrincipalArn};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{
    AuthorizationRequest, Context, Decision, IdentityPolicy, KeyPolicy, PolicySource, Resource,
    authorize,
};
use http::HeaderMap;
use serde_json::json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::refusal::internal;
use super::{Call, Caller, Request, Service};
use crate::audit::event;
use crate::sigv4::{Head, Presented, Scope, SecretAccessKey, SignatureError};
use crate::store::{CredentialRecord, Expectation, KeyRecord, StoreError};

/// The purpose under which secret access keys are wrapped.
pub const ACCESS_KEY_PURPOSE: &str = "secret access key";

/// A key that a request names, and the grounds on which it was found.
pub(super) struct Found {
    pub(super) key: KeyRecord,
    /// The alias by which it was named.
    pub(super) alias: Option<AliasName>,
}

impl Found {
    /// What must still hold when the decision is committed.
    pub(super) fn grounds(&self) -> Vec<Expectation> {
        let mut grounds = vec![unchanged(&self.key)];
        grounds.extend(self.alias.iter().map(|name| Expectation::AliasTarget {
            name: name.clone(),
            key: Some(self.key.id()),
        }));
        grounds
    }
}

/// The expectation that a key is still as it was read.
pub(super) fn unchanged(key: &KeyRecord) -> Expectation {
    Expectation::KeyRevision {
        key: key.id(),
        revision: key.revision,
    }
}

impl Service {
    /// Checks the request's signature and looks its signer up.
    pub(super) async fn authenticate(
        &self,
        request: &Request,
        body: &[u8],
    ) -> Result<Caller, KmsError> {
        let now = OffsetDateTime::from(request.origin.at);
        let digest = Sha256::digest(body).into();
        let presented = Presented::read(&request.headers, &digest, self.scope(), now)?;
        let id = presented.access_key_id().to_owned();
        let credential = self.credential(&id).await?;
        let secret = self.secret(&id, &credential)?;
        let authentic = presented.prove(&secret)?;
        self.caller(credential, authentic.access_key_id())
    }

    /// Checks what can be checked of a request before its body is there: its signature's form, time
    /// and scope, and that its access key exists.
    ///
    /// This does not establish that the access key's holder signed it.
    ///
    /// # Errors
    /// Those of a signature.
    pub async fn admit(&self, headers: &HeaderMap, at: SystemTime) -> Result<(), KmsError> {
        let head = Head::read(headers, self.scope(), OffsetDateTime::from(at))?;
        self.credential(head.access_key_id()).await.map(drop)
    }

    /// The caller as it is now: its access key may be gone, its policy another.
    pub(super) async fn look_up_again(&self, caller: &Caller) -> Result<Caller, KmsError> {
        let id = &caller.access_key_id;
        self.caller(self.credential(id).await?, id)
    }

    fn scope(&self) -> Scope<'_> {
        Scope {
            region: self.home().region.as_str(),
            service: "kms",
        }
    }

    async fn credential(&self, id: &str) -> Result<CredentialRecord, KmsError> {
        let credential = self.store.credential(id).await.map_err(stored)?;
        Ok(credential.ok_or(SignatureError::UnknownKey)?)
    }

    fn secret(&self, id: &str, credential: &CredentialRecord) -> Result<SecretAccessKey, KmsError> {
        let bytes = self
            .root_key
            .unwrap_secret(ACCESS_KEY_PURPOSE, id, &credential.wrapped_secret)
            .map_err(|error| internal(error.rule(), &error))?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(SecretAccessKey::new(text.to_owned())),
            Err(error) => Err(internal("at-rest.access-key", &error)),
        }
    }

    fn caller(&self, credential: CredentialRecord, id: &str) -> Result<Caller, KmsError> {
        let record = credential.principal;
        let arn = PrincipalArn::user(&self.home().account, &record.name)
            .map_err(|error| internal(error.rule(), &error))?;
        let policies = record
            .policy
            .iter()
            .map(|text| IdentityPolicy::parse(text))
            .collect::<Result<_, _>>()
            .map_err(|error| internal(error.rule(), &error))?;
        Ok(Caller {
            arn,
            record,
            policies,
            access_key_id: id.to_owned(),
        })
    }

    /// The key that a parameter names. A key whose waiting period is over is gone,
    /// whether or not it has been destroyed yet.
    pub(super) async fn find(&self, call: &Call<'_>, key: &KeyRef) -> Result<Found, KmsError> {
        let home = self.home();
        let by_alias = |name: &AliasName| {
            let name = name.clone();
            async move {
                let alias = self.store.alias(&name).await.map_err(stored)?;
                let arn = home.alias_arn(&name);
                alias.ok_or(KmsError::AliasNotFound { arn })
            }
        };
        let (id, alias) = match key {
            KeyRef::Id(id) => (*id, None),
            KeyRef::Arn(arn) if *arn.account() == home.account => (arn.id(), None),
            KeyRef::Arn(arn) => return Err(KmsError::KeyNotFound { arn: arn.clone() }),
            KeyRef::Alias(name) => (by_alias(name).await?.key, Some(name.clone())),
            KeyRef::AliasArn(arn) if *arn.account() == home.account => {
                (by_alias(arn.name()).await?.key, Some(arn.name().clone()))
            }
            KeyRef::AliasArn(arn) => return Err(KmsError::AliasNotFound { arn: arn.clone() }),
        };
        match self.living_key(call, id).await? {
            Some(key) => Ok(Found { key, alias }),
            None => Err(KmsError::KeyNotFound {
                arn: home.key_arn(id),
            }),
        }
    }

    /// The key with this id, unless its waiting period is over.
    pub(super) async fn living_key(
        &self,
        call: &Call<'_>,
        id: KeyId,
    ) -> Result<Option<KeyRecord>, KmsError> {
        let key = self.store.key(id).await.map_err(stored)?;
        let now = call.request.origin.at;
        Ok(key.filter(|key| !key.metadata.is_due_for_deletion(now)))
    }

    /// Refuses unless policies allow the call on this key. Notes the key for the event.
    pub(super) fn authorize_key(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        key: &KeyRecord,
        context: Context,
    ) -> Result<(), KmsError> {
        let arn = key.metadata.arn.clone();
        let resource = event::Resource::key(self.home(), &arn);
        call.trail.touch(resource);
        let policy =
            KeyPolicy::parse(&key.policy).map_err(|error| internal(error.rule(), &error))?;
        let context = context.key(&key.metadata);
        self.authorize(call, operation, Some(&policy), Resource::Key(arn), &context)
    }

    /// Refuses unless identity policies allow the call on an alias or the account.
    pub(super) fn authorize_elsewhere(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        resource: Resource,
        context: Context,
    ) -> Result<(), KmsError> {
        if let Resource::Alias(arn) = &resource {
            call.trail.touch(event::Resource::alias(self.home(), arn));
        }
        self.authorize(call, operation, None, resource, &context)
    }

    fn authorize(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        key_policy: Option<&KeyPolicy>,
        resource: Resource,
        context: &Context,
    ) -> Result<(), KmsError> {
        let request = AuthorizationRequest {
            principal: &call.caller.arn,
            operation,
            resource,
            context,
            trusted_roots: self.trusted_roots(),
        };
        let decision = authorize(key_policy, &call.caller.policies, &request);
        let decision = request.enforce(decision)?;
        note(call, &decision);
        Ok(())
    }

    /// The condition keys that every call has.
    pub(super) fn context(&self, call: &Call<'_>) -> Context {
        let request = call.request;
        let context = Context::new(&call.caller.arn, &self.home().region, request.origin.at)
            .secure_transport(request.origin.tls.is_some())
            .source_ip(request.peer);
        match call.recipient {
            Some(claims) => context.recipient(claims),
            None => context,
        }
    }

    /// The condition keys of a call on a key that was found.
    pub(super) fn key_context(&self, call: &Call<'_>, found: &Found) -> Context {
        let context = self.context(call);
        match &found.alias {
            Some(alias) => context.request_alias(alias),
            None => context,
        }
    }
}

/// Says in the event which statements allowed the call.
fn note(call: &mut Call<'_>, decision: &Decision) {
    let Decision::Allow(statements) = decision else {
        return;
    };
    let statements: Vec<_> = statements
        .iter()
        .map(|statement| {
            json!({
                "policy": match statement.source {
                    PolicySource::Key => "key",
                    PolicySource::Identity(_) => "identity",
                },
                "statement": statement.index,
                "sid": statement.sid,
            })
        })
        .collect();
    call.trail
        .additional
        .insert("allowedBy".to_owned(), statements.into());
}

/// A failure of the database.
pub(super) fn stored(error: StoreError) -> KmsError {
    internal(error.rule(), &error)
}

impl From<SignatureError> for KmsError {
    fn from(error: SignatureError) -> Self {
        Self::other(error.exception(), error.rule(), error.to_string())
    }
}
