//! KMS keys as the envelope's keyrings: for messages of several owners, for data keys that a cache
//! shares ([`materials::Caching`](anchorhold_envelope::materials::Caching)) and for
//! [bucket keys](anchorhold_envelope::bucket).
//!
//! In the enclave, one call for each bucket key, and for data keys of several messages:
//!
//! ```no_run
//! use std::sync::{Arc, Mutex};
//! use std::time::{Duration, Instant};
//!
//! use anchorhold_enclave::EncryptionContext;
//! use anchorhold_enclave::keyring::AttestedKeyring;
//! use anchorhold_enclave::kms::Client;
//! use anchorhold_enclave::nsm::Nsm;
//! use anchorhold_enclave::recipient::RecipientKey;
//! use anchorhold_enclave::transport::Vsock;
//! use anchorhold_envelope::bucket::{BucketKeyring, BucketPolicy};
//! use anchorhold_envelope::keyring::Keyrings;
//! use anchorhold_envelope::materials::{CacheLimits, Caching, LocalCache, Partition};
//! use anchorhold_envelope::{ContextRule, UnverifiedMessage};
//!
//! # fn open(kms: Client<Vsock>, key_arn: &str, message: &[u8])
//! # -> Result<Vec<u8>, Box<dyn std::error::Error>> {
//! let owner = AttestedKeyring::new(kms, key_arn, Nsm::open()?, RecipientKey::generate()?, true);
//! let owner = Arc::new(owner);
//!
//! // One call to the KMS for each bucket key of this tenant's, for an hour.
//! let tenant = EncryptionContext::from_pairs([("tenant", "blue")])?;
//! let bucket = BucketKeyring::new(Arc::clone(&owner), tenant.clone(), BucketPolicy::default())?;
//! let keyrings = Keyrings::new(vec![Arc::new(bucket), owner])?;
//!
//! // And messages of one data key ask for it once in five minutes.
//! let cache = Arc::new(Mutex::new(LocalCache::new(100)?));
//! let limits = CacheLimits::of_age(Duration::from_secs(300));
//! let materials = Caching::new(keyrings, cache, limits, Partition::named("tenant blue"))?;
//!
//! let begun = UnverifiedMessage::begin(message)?;
//! let rule = ContextRule::AtLeast(tenant);
//! begun.check_context(&rule)?;
//! let (keys, context) = (begun.encrypted_data_keys(), begun.encryption_context());
//! let data_key = materials.decryption(begun.suite(), keys, context, Instant::now())?;
//! let opener = begun.authenticate(&data_key, &rule)?;
//! let mut records = opener.unreleased(Vec::new());
//! let verified = opener.open_into(&mut records)?;
//! # Ok(records.release(&verified)?)
//! # }
//! ```
//!
//! # What a KMS then decides
//!
//! Caching and bucket keys keep released keys in the enclave's memory beyond the message that they
//! were released for. A KMS that counts or revokes releases then counts and revokes those keys, not
//! messages: where each release is to be decided by itself, use the keyring alone.
//!
//! Each call of an [`AttestedKeyring`] has a document of its own signed. Where a policy bounds
//! `anchorhold:RecipientAttestation:PriorReleases`, each call counts therefore, and a message under a
//! bucket key, or from the cache, does not.

use std::time::Instant;

use anchorhold_envelope::keyring::{Keyring, KeyringError};
use anchorhold_envelope::{DataKey, EncryptedDataKey, EncryptionContext};

use crate::kms::{Attester, Client, DataKeyPair, KmsError, NonceSource};
use crate::nsm::{Nsm, NsmDevice};
use crate::recipient::RecipientKey;
use crate::transport::Connector;

/// One KMS key of a data owner's, whose data keys come in clear inside TLS.
pub struct KmsKeyring<C> {
    client: Client<C>,
    key_arn: String,
}

impl<C: Connector> KmsKeyring<C> {
    /// The key with this full ARN, under the client's credentials.
    #[must_use]
    pub fn new(client: Client<C>, key_arn: impl Into<String>) -> Self {
        let key_arn = key_arn.into();
        Self { client, key_arn }
    }
}

impl<C: Connector> Keyring for KmsKeyring<C> {
    fn generate(
        &self,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let pair = self.client.generate_data_key(&self.key_arn, context);
        pair_of(&self.key_arn, pair.map_err(refused)?)
    }

    fn wrap(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        wrap(&self.client, &self.key_arn, data_key, context)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        key.kms_key_arn() == Some(&self.key_arn)
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<DataKey, KeyringError> {
        let plaintext = self
            .client
            .decrypt(key.ciphertext(), context, &self.key_arn);
        Ok(DataKey::from_bytes(&plaintext.map_err(refused)?)?)
    }
}

/// One KMS key that is released to the attested enclave: data keys come encrypted to a recipient key
/// that a fresh document names.
pub struct AttestedKeyring<C, D> {
    client: Client<C>,
    key_arn: String,
    nsm: Nsm<D>,
    recipient: RecipientKey,
    kms_nonces: bool,
    user_data: Option<Vec<u8>>,
}

impl<C: Connector, D: NsmDevice> AttestedKeyring<C, D> {
    /// The key with this full ARN. `kms_nonces`: whether the KMS gives nonces for documents, as
    /// Anchorhold's does and AWS's does not.
    #[must_use]
    pub fn new(
        client: Client<C>,
        key_arn: impl Into<String>,
        nsm: Nsm<D>,
        recipient: RecipientKey,
        kms_nonces: bool,
    ) -> Self {
        Self {
            client,
            key_arn: key_arn.into(),
            nsm,
            recipient,
            kms_nonces,
            user_data: None,
        }
    }

    /// The same with documents that carry these bytes, at most 1024: see
    /// [`Attester::with_user_data`].
    #[must_use]
    pub fn with_user_data(mut self, user_data: impl Into<Vec<u8>>) -> Self {
        self.user_data = Some(user_data.into());
        self
    }

    fn attester(&self) -> Attester<'_, D> {
        let nonce = if self.kms_nonces {
            NonceSource::Kms
        } else {
            NonceSource::None
        };
        let attester = Attester::new(&self.nsm, &self.recipient, nonce);
        match &self.user_data {
            Some(user_data) => attester.with_user_data(user_data),
            None => attester,
        }
    }
}

impl<C: Connector, D: NsmDevice> Keyring for AttestedKeyring<C, D> {
    fn generate(
        &self,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let attester = self.attester();
        let pair = self
            .client
            .generate_data_key_attested(&self.key_arn, context, &attester);
        pair_of(&self.key_arn, pair.map_err(refused)?)
    }

    fn wrap(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        wrap(&self.client, &self.key_arn, data_key, context)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        key.kms_key_arn() == Some(&self.key_arn)
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        _now: Instant,
    ) -> Result<DataKey, KeyringError> {
        let plaintext = self.client.decrypt_attested(
            key.ciphertext(),
            context,
            &self.key_arn,
            &self.attester(),
        );
        Ok(DataKey::from_bytes(&plaintext.map_err(refused)?)?)
    }
}

/// KMS's Encrypt: its answer is a ciphertext and needs no recipient.
fn wrap<C: Connector>(
    client: &Client<C>,
    key_arn: &str,
    data_key: &DataKey,
    context: &EncryptionContext,
) -> Result<EncryptedDataKey, KeyringError> {
    let wrapped = client.encrypt(key_arn, data_key.expose(), context);
    let wrapped = wrapped.map_err(refused)?;
    same_key("Encrypt", key_arn, &wrapped.key_arn)?;
    Ok(EncryptedDataKey::aws_kms(key_arn, wrapped.ciphertext)?)
}

fn pair_of(key_arn: &str, pair: DataKeyPair) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
    same_key("GenerateDataKey", key_arn, &pair.key_arn)?;
    let data_key = DataKey::from_bytes(&pair.plaintext)?;
    let wrapped = EncryptedDataKey::aws_kms(key_arn, pair.ciphertext)?;
    Ok((data_key, wrapped))
}

/// A message that names another key than its keyring would open for nobody.
fn same_key(operation: &'static str, expected: &str, found: &str) -> Result<(), KeyringError> {
    if expected == found {
        return Ok(());
    }
    Err(refused(KmsError::OtherKey {
        operation,
        expected: expected.to_owned(),
        found: found.chars().take(256).collect(),
    }))
}

fn refused(error: KmsError) -> KeyringError {
    KeyringError::provider(error.rule(), error)
}
