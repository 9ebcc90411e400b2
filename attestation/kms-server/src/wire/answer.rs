//! Outputs, with the member names and the order of the API model.

use std::time::SystemTime;

use anchorhold_kms_core::key::KeyMetadata;
use anchorhold_kms_core::material::MaterialId;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::clock::to_wire;
use crate::store::{AliasRecord, Home};

/// What is encrypted and decrypted with.
const SYMMETRIC_DEFAULT: &str = "SYMMETRIC_DEFAULT";

/// The JSON of an output; zeroized on drop, since it may hold plaintext.
pub struct AnswerBody(Zeroizing<Vec<u8>>);

impl AnswerBody {
    /// The empty body of an operation without output.
    pub fn empty() -> Self {
        Self(Zeroizing::default())
    }

    /// Serialises an output.
    pub fn new(output: &impl Serialize) -> Self {
        // Large enough for every output that can hold plaintext: no copy is left behind by growing.
        let mut body = Vec::with_capacity(16 * 1024);
        // Outputs have string keys and finite numbers only: nothing here can fail to serialise.
        let _ = serde_json::to_writer(&mut body, output);
        Self(Zeroizing::new(body))
    }

    /// The bytes.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

/// Bytes that go out in base64; zeroized on drop.
pub struct Blob(Zeroizing<Vec<u8>>);

impl Blob {
    /// Takes bytes that are not secret.
    pub fn public(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Takes secret bytes.
    pub fn secret(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(BASE64_STANDARD.encode(self.0.as_slice()));
        serializer.serialize_str(&text)
    }
}

/// Output of CreateKey and DescribeKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadataOutput {
    /// The key.
    pub key_metadata: KeyMetadataShape,
    /// What the author of the key's policy should know. Not AWS's: clients ignore it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `KeyMetadata` of the API model.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyMetadataShape {
    #[serde(rename = "AWSAccountId")]
    account: String,
    key_id: String,
    arn: String,
    creation_date: f64,
    enabled: bool,
    description: String,
    key_usage: &'static str,
    key_state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_date: Option<f64>,
    origin: &'static str,
    key_manager: &'static str,
    customer_master_key_spec: &'static str,
    key_spec: &'static str,
    encryption_algorithms: [&'static str; 1],
    multi_region: bool,
    current_key_material_id: String,
}

impl From<&KeyMetadata> for KeyMetadataOutput {
    fn from(key: &KeyMetadata) -> Self {
        Self {
            key_metadata: KeyMetadataShape {
                account: key.arn.account().to_string(),
                key_id: key.arn.id().to_string(),
                arn: key.arn.to_string(),
                creation_date: to_wire(key.created),
                enabled: key.state() == anchorhold_kms_core::key::KeyState::Enabled,
                description: key.description.clone(),
                key_usage: key.usage.name(),
                key_state: key.state().name(),
                deletion_date: key.deletion_date().map(to_wire),
                origin: key.origin.name(),
                key_manager: "CUSTOMER",
                customer_master_key_spec: key.spec.name(),
                key_spec: key.spec.name(),
                encryption_algorithms: [SYMMETRIC_DEFAULT],
                multi_region: false,
                current_key_material_id: key.current_material.to_string(),
            },
            warnings: Vec::new(),
        }
    }
}

/// Output of ListKeys.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeysOutput {
    /// The keys of this part.
    pub keys: Vec<KeyListEntry>,
    /// Where the next part begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is a next part.
    pub truncated: bool,
}

/// `KeyListEntry` of the API model.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyListEntry {
    /// The key's id.
    pub key_id: String,
    /// The key's ARN.
    pub key_arn: String,
}

/// Output of ScheduleKeyDeletion.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScheduleKeyDeletionOutput {
    key_id: String,
    deletion_date: f64,
    key_state: &'static str,
    pending_window_in_days: u8,
}

impl ScheduleKeyDeletionOutput {
    /// What has been scheduled.
    pub fn new(key: &KeyMetadata, at: SystemTime, days: u8) -> Self {
        Self {
            key_id: key.arn.to_string(),
            deletion_date: to_wire(at),
            key_state: key.state().name(),
            pending_window_in_days: days,
        }
    }
}

/// Output of CancelKeyDeletion.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyIdOutput {
    /// The key's ARN.
    pub key_id: String,
}

/// Output of Encrypt.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct EncryptOutput {
    ciphertext_blob: Blob,
    key_id: String,
    encryption_algorithm: &'static str,
}

impl EncryptOutput {
    /// A ciphertext of a key.
    pub fn new(key: &KeyMetadata, ciphertext: Vec<u8>) -> Self {
        Self {
            ciphertext_blob: Blob::public(ciphertext),
            key_id: key.arn.to_string(),
            encryption_algorithm: SYMMETRIC_DEFAULT,
        }
    }
}

/// What is given to whom: the plaintext, or an envelope for the recipient and then
/// no `Plaintext` member at all (AWS's SDK for C fails on `null`).
#[derive(Serialize)]
#[serde(untagged)]
pub enum Delivery {
    /// To the caller.
    #[serde(rename_all = "PascalCase")]
    Caller {
        /// The plaintext.
        plaintext: Blob,
    },
    /// To the attested enclave.
    #[serde(rename_all = "PascalCase")]
    Recipient {
        /// CMS EnvelopedData.
        ciphertext_for_recipient: Blob,
    },
    /// To nobody: GenerateDataKeyWithoutPlaintext.
    #[serde(rename_all = "PascalCase")]
    Nobody {},
}

/// Output of Decrypt.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DecryptOutput {
    key_id: String,
    #[serde(flatten)]
    delivery: Delivery,
    encryption_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl DecryptOutput {
    /// A plaintext that was encrypted under `material` of `key`.
    pub fn new(key: &KeyMetadata, material: MaterialId, delivery: Delivery) -> Self {
        Self {
            key_id: key.arn.to_string(),
            encryption_algorithm: SYMMETRIC_DEFAULT,
            key_material_id: material_for(&delivery, material),
            delivery,
        }
    }
}

/// Output of GenerateDataKey and GenerateDataKeyWithoutPlaintext.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GenerateDataKeyOutput {
    ciphertext_blob: Blob,
    #[serde(flatten)]
    delivery: Delivery,
    key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_material_id: Option<String>,
}

impl GenerateDataKeyOutput {
    /// A data key and its ciphertext.
    pub fn new(key: &KeyMetadata, ciphertext: Vec<u8>, delivery: Delivery) -> Self {
        Self {
            ciphertext_blob: Blob::public(ciphertext),
            key_id: key.arn.to_string(),
            key_material_id: material_for(&delivery, key.current_material),
            delivery,
        }
    }
}

/// AWS leaves the material's id out of answers to a recipient.
fn material_for(delivery: &Delivery, material: MaterialId) -> Option<String> {
    match delivery {
        Delivery::Recipient { .. } => None,
        Delivery::Caller { .. } | Delivery::Nobody {} => Some(material.to_string()),
    }
}

/// Output of GetKeyPolicy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetKeyPolicyOutput {
    /// The policy as it was put.
    pub policy: String,
    /// `default`.
    pub policy_name: &'static str,
}

/// Output of PutKeyPolicy: AWS's has no members; clients ignore this one, people read it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PutKeyPolicyOutput {
    /// What the policy's author should know.
    pub warnings: Vec<String>,
}

/// Output of ListKeyPolicies.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListKeyPoliciesOutput {
    /// `default`.
    pub policy_names: [&'static str; 1],
    /// Never.
    pub truncated: bool,
}

/// Output of ListAliases.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAliasesOutput {
    /// The aliases of this part.
    pub aliases: Vec<AliasListEntry>,
    /// Where the next part begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_marker: Option<String>,
    /// Whether there is a next part.
    pub truncated: bool,
}

/// `AliasListEntry` of the API model.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AliasListEntry {
    alias_name: String,
    alias_arn: String,
    target_key_id: String,
    creation_date: f64,
    last_updated_date: f64,
}

impl AliasListEntry {
    /// An alias of this account and region.
    pub fn new(home: &Home, alias: &AliasRecord) -> Self {
        Self {
            alias_name: alias.name.to_string(),
            alias_arn: home.alias_arn(&alias.name).to_string(),
            target_key_id: alias.key.to_string(),
            creation_date: to_wire(alias.created),
            last_updated_date: to_wire(alias.updated),
        }
    }
}

/// Output of GetAttestationNonce.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GetAttestationNonceOutput {
    /// 32 bytes for the `nonce` of one attestation document.
    pub nonce: Blob,
    /// Until when, in seconds since the epoch.
    pub valid_until: f64,
}
