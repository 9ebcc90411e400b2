//! The `Recipient` of a call: an attested enclave.

use std::sync::Arc;
use std::time::SystemTime;

use anchorhold_kms_core::attestation::{RecipientClaims, appraise};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{AuthorizationRequest, Decision, Resource, authorize};
use anchorhold_kms_core::recipient::envelope;
use anchorhold_kms_core::{Exception, KmsError};
use serde_json::{Value, json};
use sha2::{Digest, Sha384};
use zeroize::Zeroizing;

use super::refusal::internal;
use super::{Call, Caller, Decided, NonceError, Request, Service};
use crate::audit::event::Trail;
use crate::clock::to_wire;
use crate::random::Random;
use crate::wire::{AnswerBody, Blob, Delivery, GetAttestationNonceOutput, Input, Recipient};

impl Input {
    /// The enclave that the answer is for.
    pub(super) fn recipient(&self) -> Option<&Recipient> {
        match self {
            Self::Decrypt(input) => input.recipient.as_ref(),
            Self::GenerateDataKey(input) => input.recipient.as_ref(),
            Self::GenerateRandom { recipient, .. } => recipient.as_ref(),
            _ => None,
        }
    }
}

impl Service {
    /// From a document to claims: signature, chain, age, no debug mode, and, where
    /// required, a nonce of ours. Only a document that is otherwise sound uses its nonce up.
    pub(super) async fn appraise(
        &self,
        caller: &Caller,
        recipient: &Recipient,
        request: &Request,
        trail: &mut Trail,
    ) -> Result<RecipientClaims, KmsError> {
        let sha384 = hex::encode(Sha384::digest(&recipient.document));
        set_recipient(trail, json!({ "documentSha384": sha384 }));
        let now = request.origin.at;
        let claims = self.appraise_aside(recipient.document.clone(), now).await?;
        set_recipient(trail, recipient_event(&claims, &sha384));
        if self.rules.requires_nonce() {
            // The rules have refused a document without any.
            let nonce = claims.nonce().unwrap_or_default();
            let redeemed = self.nonces.redeem(&caller.record.user_id, nonce, now);
            redeemed.map_err(nonce_refused)?;
        }
        Ok(claims)
    }

    /// Five P-384 signatures: too long for a thread that serves sockets.
    async fn appraise_aside(
        &self,
        document: Vec<u8>,
        now: SystemTime,
    ) -> Result<RecipientClaims, KmsError> {
        let rules = Arc::clone(&self.rules);
        tokio::task::spawn_blocking(move || appraise(&document, &rules, now))
            .await
            .map_err(|error| internal("recipient.task", &error))?
            .map_err(KmsError::from)
    }

    /// A nonce for the caller. Every principal may ask, unless a policy denies it.
    pub(super) fn issue_nonce(&self, call: &mut Call<'_>) -> Result<Decided, KmsError> {
        let context = self.context(call);
        let request = AuthorizationRequest {
            principal: &call.caller.arn,
            operation: Operation::GetAttestationNonce,
            resource: Resource::Account(self.home().account.clone()),
            context: &context,
            trusted_roots: self.trusted_roots(),
        };
        let decision = authorize(None, &call.caller.policies, &request);
        if matches!(decision, Decision::ExplicitDeny(_)) {
            request.enforce(decision)?;
        }
        let now = call.request.origin.at;
        let (nonce, until) = self
            .nonces
            .issue(&call.caller.record.user_id, now, &mut Random)
            .map_err(nonce_refused)?;
        let output = GetAttestationNonceOutput {
            nonce: Blob::public(nonce.to_vec()),
            valid_until: to_wire(until),
        };
        Ok(Decided::answer(AnswerBody::new(&output), Vec::new()))
    }
}

/// Who gets a plaintext: the enclave if there is one, else the caller.
pub(super) fn deliver(
    call: &Call<'_>,
    plaintext: Zeroizing<Vec<u8>>,
) -> Result<Delivery, KmsError> {
    let Some(claims) = call.recipient else {
        return Ok(Delivery::Caller {
            plaintext: Blob::secret(plaintext),
        });
    };
    let envelope = envelope(claims.key(), &plaintext, &mut Random)
        .map_err(|error| internal(error.rule(), &error))?;
    Ok(Delivery::Recipient {
        ciphertext_for_recipient: Blob::public(envelope),
    })
}

/// CloudTrail's `additionalEventData.recipient`, and what AWS leaves out of it.
fn recipient_event(claims: &RecipientClaims, sha384: &str) -> Value {
    json!({
        "attestationDocumentModuleId": claims.module_id(),
        "attestationDocumentEnclaveImageDigest": claims.pcr0().map(ToString::to_string),
        "rootSha256": claims.root_sha256().to_string(),
        "documentSha384": sha384,
        "userData": claims.user_data().map(hex::encode),
        "documentTimestamp": claims.signed_at().to_string(),
    })
}

fn set_recipient(trail: &mut Trail, recipient: Value) {
    trail.additional.insert("recipient".to_owned(), recipient);
}

fn nonce_refused(error: NonceError) -> KmsError {
    let exception = match error {
        NonceError::TooMany => Exception::Throttling,
        NonceError::Unknown => Exception::AccessDenied,
    };
    KmsError::other(exception, error.rule(), error.to_string())
}
