//! Validated inputs of the operations.

use anchorhold_kms_core::KmsError;
use anchorhold_kms_core::arn::{AliasName, KeyRef, Region};
use anchorhold_kms_core::encryption_context::EncryptionContext;
use anchorhold_kms_core::key::{DataKeySpec, DeletionWindow};
use anchorhold_kms_core::operation::Operation;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Marker, parse};

/// The input of one call, valid by itself; whether its keys exist is another question.
pub enum Input {
    /// CreateKey.
    CreateKey(CreateKey),
    /// DescribeKey.
    DescribeKey(KeyRef),
    /// ListKeys.
    ListKeys(Page),
    /// EnableKey.
    EnableKey(KeyRef),
    /// DisableKey.
    DisableKey(KeyRef),
    /// ScheduleKeyDeletion.
    ScheduleKeyDeletion {
        /// The key.
        key: KeyRef,
        /// The waiting period.
        window: DeletionWindow,
    },
    /// CancelKeyDeletion.
    CancelKeyDeletion(KeyRef),
    /// Encrypt.
    Encrypt(Encrypt),
    /// Decrypt.
    Decrypt(Box<Decrypt>),
    /// GenerateDataKey.
    GenerateDataKey(Box<GenerateDataKey>),
    /// GenerateDataKeyWithoutPlaintext.
    GenerateDataKeyWithoutPlaintext(Box<GenerateDataKey>),
    /// GenerateRandom.
    GenerateRandom {
        /// How many bytes, 1 to 1024.
        bytes: usize,
        /// The enclave that they are for.
        recipient: Option<Recipient>,
    },
    /// GetKeyPolicy.
    GetKeyPolicy(KeyRef),
    /// PutKeyPolicy.
    PutKeyPolicy(PutKeyPolicy),
    /// ListKeyPolicies.
    ListKeyPolicies(KeyRef),
    /// CreateAlias.
    CreateAlias(AliasTarget),
    /// UpdateAlias.
    UpdateAlias(AliasTarget),
    /// DeleteAlias.
    DeleteAlias(AliasName),
    /// ListAliases.
    ListAliases {
        /// Only this key's.
        key: Option<KeyRef>,
        /// Which part.
        page: Page,
    },
    /// GetAttestationNonce.
    GetAttestationNonce,
}

/// Input of CreateKey: spec, usage and origin have one value each that is supported.
pub struct CreateKey {
    /// The key policy; `None` for the default one.
    pub policy: Option<String>,
    /// At most 8192 characters.
    pub description: String,
    /// BypassPolicyLockoutSafetyCheck.
    pub bypass_lockout_check: bool,
}

/// Input of Encrypt.
pub struct Encrypt {
    /// The key.
    pub key: KeyRef,
    /// 1 to 4096 bytes.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// What the ciphertext is bound to.
    pub context: EncryptionContext,
    /// Whether only to check.
    pub dry_run: bool,
}

/// Input of Decrypt.
pub struct Decrypt {
    /// 1 to 6144 bytes.
    pub ciphertext: Vec<u8>,
    /// What the ciphertext is bound to.
    pub context: EncryptionContext,
    /// The key that it must be of.
    pub key: Option<KeyRef>,
    /// The enclave that the plaintext is for.
    pub recipient: Option<Recipient>,
    /// Whether only to check.
    pub dry_run: bool,
}

/// Input of GenerateDataKey and GenerateDataKeyWithoutPlaintext.
pub struct GenerateDataKey {
    /// The key.
    pub key: KeyRef,
    /// What is asked for.
    pub size: DataKeySize,
    /// What the ciphertext is bound to.
    pub context: EncryptionContext,
    /// The enclave that the plaintext is for; never with the latter operation.
    pub recipient: Option<Recipient>,
    /// Whether only to check.
    pub dry_run: bool,
}

/// The length of a data key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataKeySize {
    /// KeySpec.
    Spec(DataKeySpec),
    /// NumberOfBytes, 1 to 1024.
    Bytes(usize),
}

impl DataKeySize {
    /// In bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Spec(spec) => spec.length(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// An attested enclave; its document is not checked yet.
pub struct Recipient {
    /// 1 to 262144 bytes.
    pub document: Vec<u8>,
}

/// Input of PutKeyPolicy.
pub struct PutKeyPolicy {
    /// The key.
    pub key: KeyRef,
    /// The policy.
    pub policy: String,
    /// BypassPolicyLockoutSafetyCheck.
    pub bypass_lockout_check: bool,
}

/// Input of CreateAlias and UpdateAlias.
pub struct AliasTarget {
    /// The alias.
    pub name: AliasName,
    /// The key that it is to stand for.
    pub target: KeyRef,
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many entries.
    pub limit: usize,
    /// After this one.
    pub marker: Option<Marker>,
}

impl Input {
    /// Parses and validates the body of a call of `operation` in `region`.
    ///
    /// # Errors
    /// `SerializationException`, `ValidationException`, `UnsupportedOperationException`
    /// or what AWS says of the particular member.
    pub fn parse(operation: Operation, body: &[u8], region: &Region) -> Result<Self, KmsError> {
        parse::input(operation, body, region)
    }

    /// CloudTrail's `requestParameters`: what was asked, nothing secret.
    pub fn audit_parameters(&self) -> Option<Value> {
        let parameters = match self {
            Self::CreateKey(input) => json!({
                "description": input.description,
                "policy": input.policy,
                "bypassPolicyLockoutSafetyCheck": input.bypass_lockout_check,
                "keySpec": "SYMMETRIC_DEFAULT",
                "keyUsage": "ENCRYPT_DECRYPT",
                "origin": "AWS_KMS",
            }),
            Self::DescribeKey(key)
            | Self::EnableKey(key)
            | Self::DisableKey(key)
            | Self::CancelKeyDeletion(key)
            | Self::ListKeyPolicies(key) => json!({ "keyId": key.to_string() }),
            Self::GetKeyPolicy(key) => {
                json!({ "keyId": key.to_string(), "policyName": "default" })
            }
            Self::ListKeys(page) => page.parameters(),
            Self::ScheduleKeyDeletion { key, window } => json!({
                "keyId": key.to_string(),
                "pendingWindowInDays": window.days(),
            }),
            Self::Encrypt(input) => json!({
                "keyId": input.key.to_string(),
                "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "encryptionContext": context(&input.context),
                "dryRun": input.dry_run,
            }),
            Self::Decrypt(input) => json!({
                "keyId": input.key.as_ref().map(ToString::to_string),
                "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
                "encryptionContext": context(&input.context),
                "recipient": recipient(input.recipient.as_ref()),
                "dryRun": input.dry_run,
            }),
            Self::GenerateDataKey(input) | Self::GenerateDataKeyWithoutPlaintext(input) => {
                input.parameters()
            }
            Self::GenerateRandom {
                bytes,
                recipient: enclave,
            } => json!({
                "numberOfBytes": bytes,
                "recipient": recipient(enclave.as_ref()),
            }),
            Self::PutKeyPolicy(input) => json!({
                "keyId": input.key.to_string(),
                "policyName": "default",
                "policy": input.policy,
                "bypassPolicyLockoutSafetyCheck": input.bypass_lockout_check,
            }),
            Self::CreateAlias(input) | Self::UpdateAlias(input) => json!({
                "aliasName": input.name.as_str(),
                "targetKeyId": input.target.to_string(),
            }),
            Self::DeleteAlias(name) => json!({ "aliasName": name.as_str() }),
            Self::ListAliases { key, page } => {
                let mut parameters = page.parameters();
                if let Some(key) = key {
                    parameters["keyId"] = key.to_string().into();
                }
                parameters
            }
            Self::GetAttestationNonce => return None,
        };
        Some(without_absent(parameters))
    }
}

impl GenerateDataKey {
    fn parameters(&self) -> Value {
        let (spec, bytes) = match self.size {
            DataKeySize::Spec(spec) => (Some(spec.name()), None),
            DataKeySize::Bytes(bytes) => (None, Some(bytes)),
        };
        json!({
            "keyId": self.key.to_string(),
            "keySpec": spec,
            "numberOfBytes": bytes,
            "encryptionContext": context(&self.context),
            "recipient": recipient(self.recipient.as_ref()),
            "dryRun": self.dry_run,
        })
    }
}

impl Page {
    fn parameters(&self) -> Value {
        json!({
            "limit": self.limit,
            "marker": self.marker.as_ref().map(Marker::encode),
        })
    }
}

/// The context as an object; absent when empty.
fn context(context: &EncryptionContext) -> Value {
    if context.is_empty() {
        return Value::Null;
    }
    context
        .iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The document itself stays out; `additionalEventData` has its hash.
fn recipient(recipient: Option<&Recipient>) -> Value {
    recipient.map_or(
        Value::Null,
        |_| json!({ "keyEncryptionAlgorithm": "RSAES_OAEP_SHA_256" }),
    )
}

/// CloudTrail leaves out what the caller left out.
fn without_absent(mut parameters: Value) -> Value {
    if let Some(members) = parameters.as_object_mut() {
        members.retain(|_, value| !value.is_null() && *value != Value::Bool(false));
    }
    parameters
}
