//! Operations whose answers only the attested enclave can open.

use std::collections::BTreeMap;

use anchorhold_envelope::EncryptionContext;
use serde::{Deserialize, Serialize};

use super::operations::{DATA_KEY_LENGTH, DataKeyPair, GenerateDataKey, length};
use super::wire::{Base64, Blob, Presence};
use super::{AWS_TARGET, Client, KmsError, MAX_CIPHERTEXT, Repeat, Secret, bounded, same_key};
use crate::nsm::{Nsm, NsmDevice};
use crate::recipient::RecipientKey;
use crate::transport::Connector;

/// Longest attestation document that KMS takes, in bytes (API model: AttestationDocumentType).
const MAX_DOCUMENT: usize = 262_144;

/// Most random bytes of one call (API model: NumberOfBytes, 1 to 1024).
const MAX_RANDOM: usize = 1024;

/// Where the nonce of the document comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceSource<'a> {
    /// No nonce: AWS's KMS gives none. A document is then fresh by its timestamp only.
    None,
    /// The KMS's own, asked for before each call.
    Kms,
    /// The caller's: at most 1024 bytes.
    Given(&'a [u8]),
}

impl NonceSource<'static> {
    /// What a setting says: `kms` for [`Self::Kms`], `none` for [`Self::None`].
    ///
    /// # Errors
    /// It says something else.
    pub fn of_setting(text: &str) -> Result<Self, UnknownNonceSource> {
        match text {
            "kms" => Ok(Self::Kms),
            "none" => Ok(Self::None),
            got => Err(UnknownNonceSource {
                got: got.to_owned(),
            }),
        }
    }
}

/// A setting names no source of nonces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected kms or none as the source of nonces, got {got:?}")]
pub struct UnknownNonceSource {
    got: String,
}

/// What a call needs to be attested: the security module, the key that the answer is encrypted to, and
/// the nonce. Each call has a document of its own signed, which names that key.
pub struct Attester<'a, D> {
    nsm: &'a Nsm<D>,
    recipient: &'a RecipientKey,
    nonce: NonceSource<'a>,
    user_data: Option<&'a [u8]>,
}

impl<'a, D: NsmDevice> Attester<'a, D> {
    /// One key may serve several calls: see [`RecipientKey`].
    #[must_use]
    pub const fn new(nsm: &'a Nsm<D>, recipient: &'a RecipientKey, nonce: NonceSource<'a>) -> Self {
        Self {
            nsm,
            recipient,
            nonce,
            user_data: None,
        }
    }

    /// Has documents carry these bytes, which a key policy of Anchorhold's KMS may ask for
    /// (`anchorhold:RecipientAttestation:UserData`). At most 1024 bytes.
    #[must_use]
    pub const fn with_user_data(mut self, user_data: &'a [u8]) -> Self {
        self.user_data = Some(user_data);
        self
    }

    /// A document that names the key.
    fn document<C: Connector>(&self, kms: &Client<C>) -> Result<Vec<u8>, KmsError> {
        let from_kms;
        let nonce = match self.nonce {
            NonceSource::None => None,
            NonceSource::Given(nonce) => Some(nonce),
            NonceSource::Kms => {
                from_kms = kms.attestation_nonce()?;
                Some(from_kms.as_slice())
            }
        };
        let public_key = self.recipient.public_key_der();
        let document = self.nsm.attest(Some(public_key), self.user_data, nonce)?;
        bounded("attestation document", &document, MAX_DOCUMENT)?;
        Ok(document)
    }
}

/// The request's `Recipient` member.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Recipient<'a> {
    key_encryption_algorithm: &'static str,
    attestation_document: Base64<'a>,
}

impl<'a> Recipient<'a> {
    const fn new(document: &'a [u8]) -> Self {
        let attestation_document = Base64(document);
        Self {
            key_encryption_algorithm: "RSAES_OAEP_SHA_256",
            attestation_document,
        }
    }
}

impl<C: Connector> Client<C> {
    /// Decrypts a ciphertext blob that the key with this full ARN made under this context, so that
    /// nobody but this enclave sees the plaintext.
    ///
    /// It has a document signed that names the attester's key, and takes an answer only if it is
    /// encrypted to that key, has no plaintext in clear, and is about `key_arn`.
    ///
    /// # Errors
    /// [`KmsError`]; [`KmsError::refusal`] tells whether the KMS refused.
    pub fn decrypt_attested<D: NsmDevice>(
        &self,
        ciphertext: &[u8],
        context: &EncryptionContext,
        key_arn: &str,
        attester: &Attester<'_, D>,
    ) -> Result<Secret, KmsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            ciphertext_blob: Base64<'a>,
            key_id: &'a str,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            encryption_context: &'a BTreeMap<String, String>,
            recipient: Recipient<'a>,
        }
        const OPERATION: &str = "Decrypt";
        check_arn(key_arn)?;
        bounded("ciphertext", ciphertext, MAX_CIPHERTEXT)?;
        let document = attester.document(self)?;
        let request = Request {
            ciphertext_blob: Base64(ciphertext),
            key_id: key_arn,
            encryption_context: context.as_map(),
            recipient: Recipient::new(&document),
        };
        let answer: Answer = self.call(AWS_TARGET, OPERATION, &request, attester.nonce.repeat())?;
        let envelope = answer.envelope(OPERATION, Some(key_arn))?;
        Ok(attester.recipient.open_cms(&envelope)?)
    }

    /// Makes a data key under the key with this full ARN and this context. Only this enclave sees it
    /// in clear; wrapped it may go anywhere.
    ///
    /// # Errors
    /// As [`decrypt_attested`](Self::decrypt_attested).
    pub fn generate_data_key_attested<D: NsmDevice>(
        &self,
        key_arn: &str,
        context: &EncryptionContext,
        attester: &Attester<'_, D>,
    ) -> Result<DataKeyPair, KmsError> {
        const OPERATION: &str = "GenerateDataKey";
        check_arn(key_arn)?;
        let document = attester.document(self)?;
        let request = GenerateDataKey {
            key_id: key_arn,
            key_spec: "AES_256",
            encryption_context: context.as_map(),
            recipient: Some(Recipient::new(&document)),
        };
        let answer: Answer = self.call(AWS_TARGET, OPERATION, &request, attester.nonce.repeat())?;
        let Some(Blob(ciphertext)) = &answer.ciphertext_blob else {
            return Err(KmsError::Missing {
                operation: OPERATION,
                field: "CiphertextBlob",
            });
        };
        bounded("ciphertext", ciphertext, MAX_CIPHERTEXT)?;
        let ciphertext = ciphertext.to_vec();
        let envelope = answer.envelope(OPERATION, Some(key_arn))?;
        let plaintext = attester.recipient.open_cms(&envelope)?;
        length(OPERATION, DATA_KEY_LENGTH, plaintext.len())?;
        Ok(DataKeyPair {
            key_arn: key_arn.to_owned(),
            plaintext,
            ciphertext,
        })
    }

    /// Gets 1 to 1024 random bytes of the KMS that only this enclave sees.
    ///
    /// # Errors
    /// As [`decrypt_attested`](Self::decrypt_attested).
    pub fn generate_random_attested<D: NsmDevice>(
        &self,
        count: usize,
        attester: &Attester<'_, D>,
    ) -> Result<Secret, KmsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            number_of_bytes: usize,
            recipient: Recipient<'a>,
        }
        const OPERATION: &str = "GenerateRandom";
        if !(1..=MAX_RANDOM).contains(&count) {
            let field = "number of random bytes";
            return Err(KmsError::Length {
                field,
                limit: MAX_RANDOM,
                found: count,
            });
        }
        let document = attester.document(self)?;
        let request = Request {
            number_of_bytes: count,
            recipient: Recipient::new(&document),
        };
        let answer: Answer = self.call(AWS_TARGET, OPERATION, &request, attester.nonce.repeat())?;
        let envelope = answer.envelope(OPERATION, None)?;
        let random = attester.recipient.open_cms(&envelope)?;
        length(OPERATION, count, random.len())?;
        Ok(random)
    }
}

impl NonceSource<'_> {
    /// A nonce is good for one use: the KMS may have used it up before the connection broke.
    const fn repeat(self) -> Repeat {
        match self {
            Self::None => Repeat::Safe,
            Self::Kms | Self::Given(_) => Repeat::OnlyUnsent,
        }
    }
}

/// What the three operations answer to a recipient.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    key_id: Option<String>,
    ciphertext_for_recipient: Option<Blob>,
    ciphertext_blob: Option<Blob>,
    #[serde(default)]
    plaintext: Presence,
}

impl Answer {
    /// The envelope, if the answer is what it must be.
    fn envelope(self, operation: &'static str, key_arn: Option<&str>) -> Result<Vec<u8>, KmsError> {
        if self.plaintext.0 {
            return Err(KmsError::PlaintextInClear { operation });
        }
        if let Some(expected) = key_arn {
            let missing = KmsError::Missing {
                operation,
                field: "KeyId",
            };
            same_key(operation, expected, &self.key_id.ok_or(missing)?)?;
        }
        let missing = KmsError::Missing {
            operation,
            field: "CiphertextForRecipient",
        };
        Ok(self.ciphertext_for_recipient.ok_or(missing)?.0.to_vec())
    }
}

/// `arn:<partition>:kms:<region>:<account>:key/<id>`: an answer names its key in this form, and with
/// an id or alias there would be nothing to compare it with.
fn check_arn(key_arn: &str) -> Result<(), KmsError> {
    let mut parts = key_arn.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let is_arn = next() == "arn"
        && !next().is_empty()
        && next() == "kms"
        && !next().is_empty()
        && !next().is_empty()
        && next().strip_prefix("key/").is_some_and(|id| !id.is_empty());
    if !is_arn {
        return Err(KmsError::NotKeyArn {
            found: super::error::printable(key_arn, 256),
        });
    }
    Ok(())
}
