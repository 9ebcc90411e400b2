//! Encrypt, Decrypt, data keys, random bytes.

use anchorhold_kms_core::encryption_context::EncryptionContext;
use anchorhold_kms_core::key::EncryptionAlgorithm;
use anchorhold_kms_core::material::{CiphertextBlob, KeyMaterial, MaterialId};
use anchorhold_kms_core::operation::Operation;
use anchorhold_kms_core::policy::{Context, Resource};
use anchorhold_kms_core::{Exception, KmsError};
use rand_core::Rng;
use zeroize::Zeroizing;

use super::access::{Found, stored};
use super::recipient::deliver;
use super::refusal::internal;
use super::release::Counted;
use super::{Call, Decided, Service};
use crate::random::Random;
use crate::store::KeyRecord;
use crate::wire::{
    AnswerBody, Decrypt, DecryptOutput, Delivery, Encrypt, EncryptOutput, GenerateDataKey,
    GenerateDataKeyOutput,
};
use serde::Serialize;

impl Service {
    pub(super) async fn encrypt(
        &self,
        call: &mut Call<'_>,
        input: &Encrypt,
    ) -> Result<Decided, KmsError> {
        let found = self.find(call, &input.key).await?;
        self.permit(call, Operation::Encrypt, &found, &input.context)
            .await?;
        dry_run(input.dry_run)?;
        let ciphertext = self
            .seal(&found.key, &input.context, &input.plaintext)
            .await?;
        let output = EncryptOutput::new(&found.key.metadata, ciphertext);
        Ok(Decided::answer(AnswerBody::new(&output), found.grounds()))
    }

    pub(super) async fn decrypt(
        &self,
        call: &mut Call<'_>,
        input: &Decrypt,
    ) -> Result<Decided, KmsError> {
        let blob = CiphertextBlob::parse(&input.ciphertext)?;
        let mut found = Found {
            key: self
                .living_key(call, blob.key_id())
                .await?
                .ok_or(KmsError::CiphertextKeyInaccessible)?,
            alias: None,
        };
        if let Some(key) = &input.key {
            let asked = self.find(call, key).await?;
            if asked.key.id() != found.key.id() {
                return Err(KmsError::IncorrectKey);
            }
            found.alias = asked.alias;
        }
        let counted = self
            .permit(call, Operation::Decrypt, &found, &input.context)
            .await?;
        let material = self.material(&found.key, blob.material_id()).await?;
        let plaintext = material
            .ok_or(KmsError::InvalidCiphertext)?
            .open(&blob, &input.context)?;
        dry_run(input.dry_run)?;
        let delivery = deliver(call, plaintext)?;
        let output = DecryptOutput::new(&found.key.metadata, blob.material_id(), delivery);
        Ok(released(call, &output, &found, counted))
    }

    pub(super) async fn generate_data_key(
        &self,
        call: &mut Call<'_>,
        input: &GenerateDataKey,
        with_plaintext: bool,
    ) -> Result<Decided, KmsError> {
        let operation = if with_plaintext {
            Operation::GenerateDataKey
        } else {
            Operation::GenerateDataKeyWithoutPlaintext
        };
        let found = self.find(call, &input.key).await?;
        let counted = self.permit(call, operation, &found, &input.context).await?;
        dry_run(input.dry_run)?;
        let plaintext = random(input.size.length());
        let ciphertext = self.seal(&found.key, &input.context, &plaintext).await?;
        let delivery = if with_plaintext {
            deliver(call, plaintext)?
        } else {
            Delivery::Nobody {}
        };
        let output = GenerateDataKeyOutput::new(&found.key.metadata, ciphertext, delivery);
        Ok(released(call, &output, &found, counted))
    }

    pub(super) fn generate_random(
        &self,
        call: &mut Call<'_>,
        bytes: usize,
    ) -> Result<Decided, KmsError> {
        let account = Resource::Account(self.home().account.clone());
        let context = self.context(call);
        self.authorize_elsewhere(call, Operation::GenerateRandom, account, context)?;
        let output = GenerateRandomOutput {
            delivery: deliver(call, random(bytes))?,
        };
        Ok(Decided::answer(AnswerBody::new(&output), Vec::new()))
    }

    /// Policies first, then the key's state: who may not use a key learns nothing of its state.
    /// Gives what is to be counted where the call has a recipient.
    async fn permit(
        &self,
        call: &mut Call<'_>,
        operation: Operation,
        found: &Found,
        context: &EncryptionContext,
    ) -> Result<Option<Counted>, KmsError> {
        let counted = self.count(call, found.key.id()).await?;
        let mut context: Context = self
            .key_context(call, found)
            .encryption_algorithm(EncryptionAlgorithm::SymmetricDefault)
            .encryption_context(context);
        if let Some(counted) = &counted {
            context = counted.in_context(context);
        }
        self.authorize_key(call, operation, &found.key, context)?;
        found.key.metadata.permits(operation)?;
        Ok(counted)
    }

    async fn seal(
        &self,
        key: &KeyRecord,
        context: &EncryptionContext,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, KmsError> {
        let material = self.material(key, key.metadata.current_material).await?;
        let Some(material) = material else {
            return Err(KmsError::internal("store.no-current-material"));
        };
        material
            .seal(key.id(), context, plaintext, &mut Random)
            .map_err(|error| internal("request.plaintext-length", &error))
    }

    /// A key's material, unwrapped for this one call.
    async fn material(
        &self,
        key: &KeyRecord,
        id: MaterialId,
    ) -> Result<Option<KeyMaterial>, KmsError> {
        let wrapped = self.store.wrapped_material(key.id(), id).await;
        let Some(wrapped) = wrapped.map_err(stored)? else {
            return Ok(None);
        };
        let material = self.root_key.unwrap_material(key.id(), id, &wrapped);
        material
            .map(Some)
            .map_err(|error| internal(error.rule(), &error))
    }
}

/// An answer that may release something of a key, with its count.
fn released(
    call: &Call<'_>,
    output: &impl Serialize,
    found: &Found,
    counted: Option<Counted>,
) -> Decided {
    let mut decided = Decided::answer(AnswerBody::new(output), found.grounds());
    if let Some(counted) = counted {
        counted.join(&mut decided, call.request.origin.at);
    }
    decided
}

/// Output of GenerateRandom.
#[derive(Serialize)]
struct GenerateRandomOutput {
    #[serde(flatten)]
    delivery: Delivery,
}

fn random(length: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    Random.fill_bytes(&mut bytes);
    bytes
}

/// A dry run ends where all checks have passed.
fn dry_run(dry_run: bool) -> Result<(), KmsError> {
    if !dry_run {
        return Ok(());
    }
    Err(KmsError::other(
        Exception::DryRunOperation,
        "request.dry-run",
        "The request would have succeeded, but the DryRun option is set.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Blob;

    #[test]
    fn random_answers_have_one_member() {
        let output = |delivery| {
            let body = AnswerBody::new(&GenerateRandomOutput { delivery });
            String::from_utf8(body.into_bytes().to_vec()).expect("text")
        };
        let caller = Delivery::Caller {
            plaintext: Blob::public(vec![1]),
        };
        assert_eq!(output(caller), r#"{"Plaintext":"AQ=="}"#);
        let recipient = Delivery::Recipient {
            ciphertext_for_recipient: Blob::public(vec![1]),
        };
        assert_eq!(output(recipient), r#"{"CiphertextForRecipient":"AQ=="}"#);
    }
}
