//! Operations whose answers come in clear inside TLS: the data owner's.

use std::collections::BTreeMap;

use anchorhold_envelope::EncryptionContext;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::printable;
use super::wire::{Base64, Blob};
use super::{
    AWS_TARGET, Client, KmsError, MAX_CIPHERTEXT, MAX_PLAINTEXT, OWN_TARGET, Repeat, Secret,
    bounded, same_key,
};
use crate::transport::Connector;

/// Length of a data key, in bytes: `AES_256`.
pub(super) const DATA_KEY_LENGTH: usize = 32;

/// Length of a KMS nonce, in bytes.
const NONCE_LENGTH: usize = 32;

/// A ciphertext and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encrypted {
    /// The key's ARN.
    pub key_arn: String,
    /// The ciphertext blob: at most 6144 bytes.
    pub ciphertext: Vec<u8>,
}

/// A new data key: in clear, and wrapped. Wrapped it goes into the header of a message.
pub struct DataKeyPair {
    /// ARN of the key that wrapped it.
    pub key_arn: String,
    /// The data key, 32 bytes.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// The data key as a ciphertext blob: at most 6144 bytes.
    pub ciphertext: Vec<u8>,
}

/// What the KMS says of a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyDescription {
    /// The key's ARN.
    pub arn: String,
    /// The key's id.
    pub key_id: String,
    /// Its state, for instance `Enabled`.
    #[serde(default)]
    pub key_state: String,
    /// Its description; may be empty.
    #[serde(default)]
    pub description: String,
    /// What Anchorhold's KMS tells the author of the policy that came with the key; AWS's says
    /// nothing.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl<C: Connector> Client<C> {
    /// Creates a symmetric key and gives its description. `policy` is a key policy in JSON; without
    /// one, the KMS's default policy leaves the decision to the account.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn create_key(
        &self,
        description: &str,
        policy: Option<&str>,
    ) -> Result<KeyDescription, KmsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            description: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            policy: Option<&'a str>,
        }
        let request = Request {
            description,
            policy,
        };
        let answer: Described = self.call(AWS_TARGET, "CreateKey", &request, Repeat::OnlyUnsent)?;
        Ok(answer.into_description())
    }

    /// Describes a key, named by id, ARN, alias or alias ARN.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn describe_key(&self, key: &str) -> Result<KeyDescription, KmsError> {
        let answer: Described = self.call(
            AWS_TARGET,
            "DescribeKey",
            &OfKey { key_id: key },
            Repeat::Safe,
        )?;
        Ok(answer.into_description())
    }

    /// Replaces the policy of a key, named by id or ARN. With `bypass_lockout_check` the KMS takes a
    /// policy under which the caller may not replace it again. What Anchorhold's KMS warns of is
    /// given; AWS's says nothing.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn put_key_policy(
        &self,
        key: &str,
        policy: &str,
        bypass_lockout_check: bool,
    ) -> Result<Vec<String>, KmsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            key_id: &'a str,
            policy_name: &'a str,
            policy: &'a str,
            bypass_policy_lockout_safety_check: bool,
        }
        let request = Request {
            key_id: key,
            policy_name: "default",
            policy,
            bypass_policy_lockout_safety_check: bypass_lockout_check,
        };
        // Putting the same policy twice is putting it once.
        let answer: Warned = self.call(AWS_TARGET, "PutKeyPolicy", &request, Repeat::Safe)?;
        Ok(printable_all(&answer.warnings))
    }

    /// Gives the policy of a key, named by id or ARN, in JSON.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn key_policy(&self, key: &str) -> Result<String, KmsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            policy: String,
        }
        let answer: Answer = self.call(
            AWS_TARGET,
            "GetKeyPolicy",
            &OfKey { key_id: key },
            Repeat::Safe,
        )?;
        Ok(answer.policy)
    }

    /// Disables a key, named by id or ARN: from then on nobody encrypts or decrypts under it.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn disable_key(&self, key: &str) -> Result<(), KmsError> {
        // Disabling twice is disabling once.
        let _: Warned = self.call(
            AWS_TARGET,
            "DisableKey",
            &OfKey { key_id: key },
            Repeat::Safe,
        )?;
        Ok(())
    }

    /// Has a key deleted in 7 to 30 days, named by id or ARN: from now on nobody encrypts or decrypts
    /// under it.
    ///
    /// # Errors
    /// [`KmsError`]; the KMS refuses a key whose deletion is already scheduled.
    pub fn schedule_key_deletion(&self, key: &str, days: u32) -> Result<(), KmsError> {
        let _: Warned = self.call(
            AWS_TARGET,
            "ScheduleKeyDeletion",
            &Deletion {
                key_id: key,
                pending_window_in_days: days,
            },
            Repeat::OnlyUnsent,
        )?;
        Ok(())
    }

    /// Encrypts 1 to 4096 bytes under a key (id, ARN, alias or alias ARN) and a context.
    ///
    /// # Errors
    /// [`KmsError`].
    pub fn encrypt(
        &self,
        key: &str,
        plaintext: &[u8],
        context: &EncryptionContext,
    ) -> Result<Encrypted, KmsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            key_id: &'a str,
            plaintext: Base64<'a>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            encryption_context: &'a BTreeMap<String, String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            key_id: String,
            ciphertext_blob: Blob,
        }
        bounded("plaintext", plaintext, MAX_PLAINTEXT)?;
        let plaintext = Base64(plaintext);
        let request = Request {
            key_id: key,
            plaintext,
            encryption_context: context.as_map(),
        };
        let answer: Answer = self.call(AWS_TARGET, "Encrypt", &request, Repeat::Safe)?;
        let ciphertext = answer.ciphertext_blob.0.to_vec();
        bounded("ciphertext", &ciphertext, MAX_CIPHERTEXT)?;
        Ok(Encrypted {
            key_arn: answer.key_id,
            ciphertext,
        })
    }

    /// Decrypts a ciphertext blob that the key with this full ARN made under this context.
    ///
    /// # Errors
    /// [`KmsError::OtherKey`] when the answer is about another key, or another [`KmsError`].
    pub fn decrypt(
        &self,
        ciphertext: &[u8],
        context: &EncryptionContext,
        key_arn: &str,
    ) -> Result<Secret, KmsError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            ciphertext_blob: Base64<'a>,
            key_id: &'a str,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            encryption_context: &'a BTreeMap<String, String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            key_id: String,
            plaintext: Blob,
        }
        const OPERATION: &str = "Decrypt";
        bounded("ciphertext", ciphertext, MAX_CIPHERTEXT)?;
        let request = Request {
            ciphertext_blob: Base64(ciphertext),
            key_id: key_arn,
            encryption_context: context.as_map(),
        };
        let answer: Answer = self.call(AWS_TARGET, OPERATION, &request, Repeat::Safe)?;
        same_key(OPERATION, key_arn, &answer.key_id)?;
        Ok(answer.plaintext.0)
    }

    /// Makes a data key under a key (id, ARN, alias or alias ARN) and a context.
    ///
    /// # Errors
    /// [`KmsError::OtherLength`] when the data key has not 32 bytes, or another [`KmsError`].
    pub fn generate_data_key(
        &self,
        key: &str,
        context: &EncryptionContext,
    ) -> Result<DataKeyPair, KmsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            key_id: String,
            plaintext: Blob,
            ciphertext_blob: Blob,
        }
        const OPERATION: &str = "GenerateDataKey";
        let request = GenerateDataKey {
            key_id: key,
            key_spec: "AES_256",
            encryption_context: context.as_map(),
            recipient: None,
        };
        let answer: Answer = self.call(AWS_TARGET, OPERATION, &request, Repeat::Safe)?;
        let plaintext = answer.plaintext.0;
        length(OPERATION, DATA_KEY_LENGTH, plaintext.len())?;
        let ciphertext = answer.ciphertext_blob.0.to_vec();
        bounded("ciphertext", &ciphertext, MAX_CIPHERTEXT)?;
        Ok(DataKeyPair {
            key_arn: answer.key_id,
            plaintext,
            ciphertext,
        })
    }

    /// Gets a nonce for one attestation document: 32 bytes, for this principal, for five minutes.
    /// Anchorhold's KMS has this operation, AWS's has not.
    ///
    /// # Errors
    /// [`KmsError::OtherLength`] when the nonce has not 32 bytes, or another [`KmsError`].
    pub fn attestation_nonce(&self) -> Result<Vec<u8>, KmsError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            nonce: Blob,
        }
        const OPERATION: &str = "GetAttestationNonce";
        let answer: Answer = self.call(OWN_TARGET, OPERATION, &Empty {}, Repeat::Safe)?;
        length(OPERATION, NONCE_LENGTH, answer.nonce.0.len())?;
        Ok(answer.nonce.0.to_vec())
    }
}

/// Demands a length of what an answer holds.
pub(super) fn length(
    operation: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), KmsError> {
    if expected != found {
        return Err(KmsError::OtherLength {
            operation,
            expected,
            found,
        });
    }
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GenerateDataKey<'a> {
    pub key_id: &'a str,
    pub key_spec: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub encryption_context: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<super::attested::Recipient<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OfKey<'a> {
    key_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Deletion<'a> {
    key_id: &'a str,
    pending_window_in_days: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    key_metadata: KeyDescription,
    #[serde(default)]
    warnings: Vec<String>,
}

impl Described {
    fn into_description(self) -> KeyDescription {
        let warnings = printable_all(&self.warnings);
        KeyDescription {
            warnings,
            ..self.key_metadata
        }
    }
}

/// The answer of an operation that answers nothing, or warnings.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Warned {
    #[serde(default)]
    warnings: Vec<String>,
}

/// Warnings fit for a log: at most 16 of 1024 characters.
fn printable_all(warnings: &[String]) -> Vec<String> {
    let warnings = warnings.iter().take(16);
    warnings.map(|text| printable(text, 1024)).collect()
}

#[derive(Serialize)]
struct Empty {}
