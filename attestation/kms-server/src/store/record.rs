//! What is read from the database.

use std::time::SystemTime;

use anchorhold_kms_core::arn::{AccountId, AliasArn, AliasName, KeyArn, KeyId, Region};
use anchorhold_kms_core::key::KeyMetadata;

/// The one account and region that a database serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The account that owns every key.
    pub account: AccountId,
    /// The region in every ARN.
    pub region: Region,
}

impl Home {
    /// The ARN of a key here.
    pub fn key_arn(&self, id: KeyId) -> KeyArn {
        KeyArn::new(self.region.clone(), self.account.clone(), id)
    }

    /// The ARN of an alias here.
    pub fn alias_arn(&self, name: &AliasName) -> AliasArn {
        AliasArn::new(self.region.clone(), self.account.clone(), name.clone())
    }
}

/// A key without its material.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    /// State, dates, description and the id of the current material.
    pub metadata: KeyMetadata,
    /// Counts the changes of the key and its aliases.
    pub revision: i64,
    /// The key policy as it was put, at most 32 KiB.
    pub policy: String,
}

impl KeyRecord {
    /// The key's id.
    pub fn id(&self) -> KeyId {
        self.metadata.arn.id()
    }
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRecord {
    /// Its name, with `alias/`.
    pub name: AliasName,
    /// The key that it stands for.
    pub key: KeyId,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last pointed at a key.
    pub updated: SystemTime,
}

/// A user of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRecord {
    /// Its name, the last part of its ARN.
    pub name: String,
    /// Its unique id, CloudTrail's `principalId`.
    pub user_id: String,
    /// Its identity policy.
    pub policy: Option<String>,
    /// When it was made.
    pub created: SystemTime,
}

/// An access key with the user that it belongs to.
#[derive(Debug, Clone)]
pub struct CredentialRecord {
    /// Who signs with it.
    pub principal: PrincipalRecord,
    /// The secret access key, wrapped under the root key.
    pub wrapped_secret: Vec<u8>,
}

/// A stored audit event with its place in the chain.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// Its number, from 1.
    pub sequence: i64,
    /// Its JSON.
    pub event: String,
    /// Its hash as stored.
    pub hash: Vec<u8>,
    /// Its seal as stored.
    pub seal: Vec<u8>,
}
