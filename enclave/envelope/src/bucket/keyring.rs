//! A keyring that asks the KMS once per bucket key.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use zeroize::Zeroizing;

use super::format::{SALT_LENGTH, WrappedBucketKey};
use super::{BUCKET_PROVIDER, BucketError, BucketPolicy, MARKER};
use crate::context::EncryptionContext;
use crate::crypto::{
    Aead, KEY_LENGTH, NONCE_LENGTH, Provider, SHA384_LENGTH, TAG_LENGTH, default_provider,
};
use crate::derive::DataKey;
use crate::edk::{AWS_KMS, EncryptedDataKey};
use crate::keyring::{Keyring, KeyringError};

const LABEL: &[u8] = b"anchorhold bucket key v1";

/// The wrapping key is used once.
const NONCE: [u8; NONCE_LENGTH] = [0; NONCE_LENGTH];

/// Data keys wrapped by bucket keys, which another keyring, of a KMS, wraps.
///
/// Sealing and opening each hold their bucket keys under a lock while the KMS is asked, so that many
/// threads make one call.
pub struct BucketKeyring<K> {
    kms: K,
    context: EncryptionContext,
    marked: EncryptionContext,
    policy: BucketPolicy,
    provider: &'static dyn Provider,
    sealing: Mutex<Option<Sealing>>,
    opened: Mutex<Vec<Opened>>,
}

/// The bucket key that new messages are sealed with.
struct Sealing {
    key: DataKey,
    wrapped: EncryptedDataKey,
    made: Instant,
    messages: u64,
}

/// A released bucket key. The most recently used is the last of its list.
struct Opened {
    id: [u8; SHA384_LENGTH],
    key: DataKey,
    released: Instant,
}

impl<K: Keyring> BucketKeyring<K> {
    /// Bucket keys under `context`, whose pairs every message's context must have.
    ///
    /// # Errors
    /// [`BucketError::Policy`], or [`BucketError::Marker`] in the context.
    pub fn new(
        kms: K,
        context: EncryptionContext,
        policy: BucketPolicy,
    ) -> Result<Self, BucketError> {
        policy.check()?;
        let mark = EncryptionContext::from_pairs([(MARKER, "1")]);
        let mut marked = context.clone();
        let extended = mark.and_then(|mark| marked.extend(&mark));
        extended.map_err(|_| BucketError::Marker)?;
        Ok(Self {
            kms,
            context,
            marked,
            policy,
            provider: default_provider(),
            sealing: Mutex::new(None),
            opened: Mutex::new(Vec::new()),
        })
    }

    /// The same with other primitives.
    #[must_use]
    pub fn with_provider(mut self, provider: &'static dyn Provider) -> Self {
        self.provider = provider;
        self
    }

    /// Forgets all bucket keys: the next message asks the KMS again.
    pub fn forget(&self) {
        *lock(&self.sealing) = None;
        lock(&self.opened).clear();
    }

    fn check_context(&self, context: &EncryptionContext) -> Result<(), BucketError> {
        if context.get(MARKER).is_some() {
            return Err(BucketError::Marker);
        }
        let missing = |(key, value): &(&str, &str)| context.get(key) != Some(value);
        match self.context.iter().find(missing) {
            Some((key, _)) => Err(BucketError::Context {
                key: key.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The bucket key for one more message, counted before it is used.
    fn for_sealing(&self, now: Instant) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let mut sealing = lock(&self.sealing);
        let policy = &self.policy;
        let serves = |bucket: &Sealing| {
            now.saturating_duration_since(bucket.made) < policy.max_age
                && bucket.messages < policy.max_messages
        };
        if !sealing.as_ref().is_some_and(serves) {
            // Whatever the KMS answers, the old one is not used any more.
            *sealing = None;
            let (key, wrapped) = self.kms.generate(&self.marked, now)?;
            if wrapped.provider_id() != AWS_KMS || wrapped.kms_key_arn().is_none() {
                let found = wrapped.provider_id().to_owned();
                return Err(BucketError::Provider { found }.into());
            }
            let (made, messages) = (now, 0);
            *sealing = Some(Sealing {
                key,
                wrapped,
                made,
                messages,
            });
        }
        let bucket = sealing.as_mut().ok_or(KeyringError::CannotWrap)?;
        bucket.messages += 1;
        Ok((bucket.key.clone(), bucket.wrapped.clone()))
    }

    /// The bucket key that a message names: released before, or by one call.
    fn for_opening(
        &self,
        wrapped: &WrappedBucketKey,
        now: Instant,
    ) -> Result<DataKey, KeyringError> {
        let id = self.digest(&[wrapped.key_arn.as_bytes(), &wrapped.bucket_key]);
        let mut opened = lock(&self.opened);
        opened.retain(|held| now.saturating_duration_since(held.released) < self.policy.max_age);
        if let Some(at) = opened.iter().position(|held| held.id == id) {
            let held = opened.remove(at);
            let key = held.key.clone();
            opened.push(held);
            return Ok(key);
        }
        let key = self.kms.unwrap(&wrapped.bucket_key()?, &self.marked, now)?;
        if opened.len() >= self.policy.capacity {
            opened.remove(0);
        }
        opened.push(Opened {
            id,
            key: key.clone(),
            released: now,
        });
        Ok(key)
    }

    /// The wrapping key of one message.
    fn wrapping_key(
        &self,
        bucket_key: &DataKey,
        wrapped: &WrappedBucketKey,
        context: &EncryptionContext,
    ) -> Result<Box<dyn Aead>, KeyringError> {
        let context = context.to_bytes().map_err(crate::OpenError::Context)?;
        let bound = self.digest(&[wrapped.key_arn.as_bytes(), &wrapped.bucket_key, &context]);
        let info = [LABEL, &bound].concat();
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        self.provider
            .hkdf_sha512(bucket_key.expose(), &wrapped.salt, &info, &mut key)?;
        Ok(self.provider.aes_256_gcm(&key)?)
    }

    /// SHA-384 of parts with their lengths.
    fn digest(&self, parts: &[&[u8]]) -> [u8; SHA384_LENGTH] {
        let mut hash = self.provider.sha384();
        for part in parts {
            // Every part has at most 2^16 bytes.
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            hash.update(&length.to_be_bytes());
            hash.update(part);
        }
        hash.finish()
    }
}

impl<K: Keyring> Keyring for BucketKeyring<K> {
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        self.provider.fill_random(bytes.as_mut())?;
        let data_key = DataKey::from_bytes(bytes.as_slice())?;
        let wrapped = self.wrap(&data_key, context, now)?;
        Ok((data_key, wrapped))
    }

    fn wrap(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        self.check_context(context)?;
        let (bucket_key, kms_wrapped) = self.for_sealing(now)?;
        let mut salt = [0; SALT_LENGTH];
        self.provider.fill_random(&mut salt)?;
        let mut wrapped = WrappedBucketKey {
            key_arn: kms_wrapped.kms_key_arn().unwrap_or_default().to_owned(),
            salt,
            bucket_key: kms_wrapped.ciphertext().to_vec(),
            data_key: [0; KEY_LENGTH],
            tag: [0; TAG_LENGTH],
        };
        let aead = self.wrapping_key(&bucket_key, &wrapped, context)?;
        let mut sealed = Zeroizing::new(*data_key.expose());
        wrapped.tag = aead.seal(&NONCE, &[], sealed.as_mut())?;
        wrapped.data_key = *sealed;
        Ok(wrapped.to_encrypted_data_key()?)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        key.provider_id() == BUCKET_PROVIDER
            && WrappedBucketKey::parse(key)
                .ok()
                .and_then(|wrapped| wrapped.bucket_key().ok())
                .is_some_and(|kms_wrapped| self.kms.names(&kms_wrapped))
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<DataKey, KeyringError> {
        let wrapped = WrappedBucketKey::parse(key)?;
        self.check_context(context)?;
        let bucket_key = self.for_opening(&wrapped, now)?;
        let aead = self.wrapping_key(&bucket_key, &wrapped, context)?;
        let mut opened = Zeroizing::new(wrapped.data_key);
        aead.open(&NONCE, &[], opened.as_mut(), &wrapped.tag)
            .map_err(|_| BucketError::Tag)?;
        Ok(DataKey::from_bytes(opened.as_slice())?)
    }
}

/// A panic elsewhere leaves the lists whole: each change to them is one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
