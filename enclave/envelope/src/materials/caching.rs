//! Materials from a cache, within bounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::cache::{CacheKey, Entry, LocalCache, Value};
use super::key::{Partition, decryption_cache_key, encryption_cache_key};
use super::{EncryptionMaterials, MaterialsError};
use crate::context::EncryptionContext;
use crate::derive::DataKey;
use crate::edk::EncryptedDataKey;
use crate::error::SealError;
use crate::keyring::Keyrings;
use crate::suite::Suite;

/// Most messages under one data key that a caller may allow (SDKs' `MAX_MESSAGES_PER_KEY`).
pub const MAX_MESSAGES_PER_KEY: u64 = 1 << 32;

/// Most bytes under one data key that a caller may allow (SDKs' `MAX_BYTES_PER_KEY`).
pub const MAX_BYTES_PER_KEY: u64 = (1 << 63) - 1;

/// How long and for how much one data key serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Longest time since the materials were made; older ones are not used. More than none.
    pub max_age: Duration,
    /// Most messages sealed, 1 to [`MAX_MESSAGES_PER_KEY`].
    pub max_messages: u64,
    /// Most bytes sealed, up to [`MAX_BYTES_PER_KEY`]. With 0 nothing is kept for sealing.
    pub max_bytes: u64,
}

impl CacheLimits {
    /// A greatest age, and the SDKs' own bounds on messages and bytes.
    #[must_use]
    pub const fn of_age(max_age: Duration) -> Self {
        Self {
            max_age,
            max_messages: MAX_MESSAGES_PER_KEY,
            max_bytes: MAX_BYTES_PER_KEY,
        }
    }

    fn check(&self) -> Result<(), MaterialsError> {
        if self.max_age.is_zero() {
            return Err(MaterialsError::Age {
                found: self.max_age,
            });
        }
        for (field, least, most, found) in [
            ("messages", 1, MAX_MESSAGES_PER_KEY, self.max_messages),
            ("bytes", 0, MAX_BYTES_PER_KEY, self.max_bytes),
        ] {
            if !(least..=most).contains(&found) {
                return Err(MaterialsError::Limit {
                    field,
                    least,
                    most,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Counts come before the use, so an entry whose count has gone beyond is not used any more, and
    /// one that has just reached its bound is, for the last time.
    fn exceeded_by(&self, entry: &Entry, now: Instant) -> bool {
        self.too_old(entry, now)
            || entry.messages > self.max_messages
            || entry.bytes > self.max_bytes
    }

    fn too_old(&self, entry: &Entry, now: Instant) -> bool {
        now.saturating_duration_since(entry.made) > self.max_age
    }
}

/// Keyrings behind a cache, as the SDKs' `CachingCryptoMaterialsManager`.
///
/// - A message of unknown length is sealed with materials of its own.
/// - A message as long as [`CacheLimits::max_bytes`] or longer gets new materials when there are none
///   to use, and these are not kept.
/// - A use is counted before it is known to be allowed; the entry that it leads beyond a bound is
///   dropped and replaced.
/// - Opening is bounded by age alone, and its entries are told apart by all wrapped keys and the
///   whole context.
///
/// One thing is stricter: a message is held to the length that it was counted with
/// ([`SealPlan::with_plaintext_limit`](crate::SealPlan::with_plaintext_limit) is the caller's to
/// set, [`seal_plan`](Self::seal_plan) sets it). And where the Python SDK's cache evicts by the order
/// in which entries came, this one evicts by their use, as its documentation says and Java's does.
///
/// While the keyrings are asked the cache is not locked: two threads that miss at once ask twice, as
/// in the SDKs.
pub struct Caching {
    keyrings: Keyrings,
    cache: Arc<Mutex<LocalCache>>,
    limits: CacheLimits,
    partition: Partition,
}

impl Caching {
    /// Puts a cache before keyrings.
    ///
    /// # Errors
    /// [`MaterialsError::Limit`] or [`MaterialsError::Age`].
    pub fn new(
        keyrings: Keyrings,
        cache: Arc<Mutex<LocalCache>>,
        limits: CacheLimits,
        partition: Partition,
    ) -> Result<Self, MaterialsError> {
        limits.check()?;
        Ok(Self {
            keyrings,
            cache,
            limits,
            partition,
        })
    }

    /// Materials for a message of `plaintext_length` bytes, if that is known.
    ///
    /// # Errors
    /// A keyring refused, or the context is too long.
    pub fn encryption(
        &self,
        suite: Suite,
        context: &EncryptionContext,
        plaintext_length: Option<u64>,
        now: Instant,
    ) -> Result<EncryptionMaterials, MaterialsError> {
        let make = || EncryptionMaterials::generate(&self.keyrings, suite, context.clone(), now);
        let Some(length) = plaintext_length else {
            return make();
        };
        let key = encryption_cache_key(&self.partition, Some(suite), context);
        let key = key.map_err(SealError::Context)?;
        if let Some(materials) = self.usable(&key, length, now) {
            return Ok(materials);
        }
        let materials = make()?;
        if length < self.limits.max_bytes {
            let value = Value::Encryption(Box::new(materials.clone()));
            let lifetime = self.limits.max_age;
            self.lock().put(key, value, Some(length), now, lifetime);
        }
        Ok(materials)
    }

    /// As [`encryption`](Self::encryption), with a plan that holds the message to its length.
    ///
    /// # Errors
    /// As [`encryption`](Self::encryption).
    pub fn seal_plan(
        &self,
        suite: Suite,
        context: &EncryptionContext,
        plaintext_length: u64,
        now: Instant,
    ) -> Result<(crate::SealPlan, EncryptionMaterials), MaterialsError> {
        let materials = self.encryption(suite, context, Some(plaintext_length), now)?;
        let plan = materials.plan()?.with_plaintext_limit(plaintext_length);
        Ok((plan, materials))
    }

    /// The data key of a message whose header has these claims.
    ///
    /// # Errors
    /// No keyring released it.
    pub fn decryption(
        &self,
        suite: Suite,
        keys: &[EncryptedDataKey],
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<DataKey, MaterialsError> {
        let key = decryption_cache_key(&self.partition, suite, keys, context);
        let key = key.map_err(SealError::Context)?;
        if let Some(data_key) = self.released(&key, now) {
            return Ok(data_key);
        }
        let data_key = self.keyrings.release(keys, context, now)?;
        let value = Value::Decryption(data_key.clone());
        let lifetime = self.limits.max_age;
        self.lock().put(key, value, None, now, lifetime);
        Ok(data_key)
    }

    fn usable(&self, key: &CacheKey, length: u64, now: Instant) -> Option<EncryptionMaterials> {
        let mut cache = self.lock();
        let entry = cache.use_for_message(key, length)?;
        match &entry.value {
            Value::Encryption(materials) if !self.limits.exceeded_by(entry, now) => {
                Some(materials.as_ref().clone())
            }
            _ => {
                cache.remove(key);
                None
            }
        }
    }

    fn released(&self, key: &CacheKey, now: Instant) -> Option<DataKey> {
        let mut cache = self.lock();
        let entry = cache.use_for_opening(key)?;
        match &entry.value {
            Value::Decryption(data_key) if !self.limits.too_old(entry, now) => {
                Some(data_key.clone())
            }
            _ => {
                cache.remove(key);
                None
            }
        }
    }

    /// A panic elsewhere leaves the cache whole: each change to it is one step.
    fn lock(&self) -> MutexGuard<'_, LocalCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
