//! Where data keys come from: the KMSs of all owners, each time or through what holds keys for a
//! while.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anchorhold_envelope::bucket::{BucketKeyring, BucketPolicy};
use anchorhold_envelope::keyring::{Keyring, KeyringError, Keyrings, SharedKeyring};
use anchorhold_envelope::materials::{
    CacheLimits, Caching, EncryptionMaterials, LocalCache, MaterialsError, Partition,
};
use anchorhold_envelope::{DataKey, EncryptedDataKey, EncryptionContext, Suite};

use crate::error::ToolError;
use crate::keys::{Owner, subset};

/// Entries of the cache: one for each context that is sealed or opened.
const CACHE_CAPACITY: usize = 1000;

/// Whose keys, and how often they are asked for.
#[derive(Debug, Clone)]
pub struct KeyOptions {
    /// Whose keys: any one opens.
    pub owners: Vec<Owner>,
    /// Keys of the context whose pairs make a bucket; none for data keys of the KMS itself.
    pub bucket_by: BTreeSet<String>,
    /// How long, and for how much, a bucket key serves.
    pub bucket: BucketPolicy,
    /// How long, and for how much, a data key serves; `None` for a data key for each message.
    pub cache: Option<CacheLimits>,
}

/// The keyrings of all owners, in order.
pub struct KeySource {
    way: Way,
    calls: Arc<AtomicU64>,
}

enum Way {
    Each(Keyrings),
    Cached(Caching),
}

impl KeySource {
    /// Reads what the owners' files say, and asks no KMS. With `bucket_by`, each KMS key wraps bucket
    /// keys; for opening, plain wrapped keys are taken as well.
    ///
    /// # Errors
    /// A file, a key of `bucket_by` that `context` has not, or a bound out of its own bounds.
    pub fn new(
        options: &KeyOptions,
        context: &EncryptionContext,
        opening: bool,
    ) -> Result<Self, ToolError> {
        let calls = Arc::default();
        let mut members: Vec<SharedKeyring> = Vec::new();
        for keyring in options.owners.iter().map(Owner::keyrings) {
            for keyring in keyring? {
                let kms = Arc::new(Counted::new(keyring, Arc::clone(&calls)));
                if !options.bucket_by.is_empty() {
                    let bucket = subset(context, &options.bucket_by)?;
                    let bucket = BucketKeyring::new(Arc::clone(&kms), bucket, options.bucket)?;
                    members.push(Arc::new(bucket));
                }
                if options.bucket_by.is_empty() || opening {
                    members.push(kms);
                }
            }
        }
        let keyrings = Keyrings::new(members)?;
        let way = match options.cache {
            None => Way::Each(keyrings),
            Some(limits) => {
                let cache = Arc::new(Mutex::new(LocalCache::new(CACHE_CAPACITY)?));
                // The cache is this one's alone.
                let partition = Partition::named("anchorhold-seal");
                Way::Cached(Caching::new(keyrings, cache, limits, partition)?)
            }
        };
        Ok(Self { way, calls })
    }

    /// Materials for a message, and the length that it is held to: one that shares its data key is
    /// as long as it was counted.
    ///
    /// # Errors
    /// A KMS refused.
    pub fn for_sealing(
        &self,
        suite: Suite,
        context: &EncryptionContext,
        length: Option<u64>,
    ) -> Result<(EncryptionMaterials, Option<u64>), ToolError> {
        let now = Instant::now();
        Ok(match &self.way {
            Way::Each(keyrings) => {
                let context = context.clone();
                (
                    EncryptionMaterials::generate(keyrings, suite, context, now)?,
                    None,
                )
            }
            Way::Cached(cache) => (cache.encryption(suite, context, length, now)?, length),
        })
    }

    /// The data key of a message whose header has these claims.
    ///
    /// # Errors
    /// No KMS released it.
    pub fn for_opening(
        &self,
        suite: Suite,
        keys: &[EncryptedDataKey],
        context: &EncryptionContext,
    ) -> Result<DataKey, ToolError> {
        let now = Instant::now();
        match &self.way {
            Way::Each(keyrings) => Ok(keyrings.release(keys, context, now)?),
            Way::Cached(cache) => {
                let key = cache.decryption(suite, keys, context, now);
                key.map_err(|error| match error {
                    MaterialsError::Release(refused) => refused.into(),
                    other => other.into(),
                })
            }
        }
    }

    /// How many calls for data keys the KMSs were asked.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Counts the calls of a KMS's keyring.
pub struct Counted<K> {
    keyring: K,
    calls: Arc<AtomicU64>,
}

impl<K> Counted<K> {
    /// Adds each call for a data key to `calls`.
    pub const fn new(keyring: K, calls: Arc<AtomicU64>) -> Self {
        Self { keyring, calls }
    }

    fn one(&self) -> &K {
        self.calls.fetch_add(1, Ordering::Relaxed);
        &self.keyring
    }
}

impl<K: Keyring> Keyring for Counted<K> {
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        self.one().generate(context, now)
    }

    fn wrap(
        &self,
        key: &DataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        self.one().wrap(key, context, now)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        self.keyring.names(key)
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<DataKey, KeyringError> {
        self.one().unwrap(key, context, now)
    }
}
