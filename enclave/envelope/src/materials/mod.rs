//! Cryptographic materials: what one message, or several, are sealed and opened with.
//!
//! Without a cache, each message has a data key of its own, and each opening asks for it. With
//! [`Caching`], a data key (and, for suite `0x0578`, its signing key) serves several messages of the
//! same context within bounds of time, messages and bytes: as the AWS Encryption SDK's
//! `CachingCryptoMaterialsManager` over a `LocalCryptoMaterialsCache`, counted as these count.
//!
//! ```
//! use std::io::Write;
//! use std::sync::{Arc, Mutex};
//! use std::time::{Duration, Instant};
//!
//! use anchorhold_envelope::keyring::Keyrings;
//! use anchorhold_envelope::materials::{CacheLimits, Caching, LocalCache, Partition};
//! use anchorhold_envelope::{EncryptionContext, Suite};
//!
//! # fn seal(keyrings: Keyrings, records: &[&[u8]])
//! # -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
//! let cache = Arc::new(Mutex::new(LocalCache::new(100)?));
//! let limits = CacheLimits {
//!     max_messages: 1000,
//!     max_bytes: 1 << 30,
//!     ..CacheLimits::of_age(Duration::from_secs(300))
//! };
//! let materials = Caching::new(keyrings, cache, limits, Partition::named("records"))?;
//! let context = EncryptionContext::from_pairs([("tenant", "blue")])?;
//! let mut messages = Vec::new();
//! for record in records {
//!     let (length, now) = (record.len() as u64, Instant::now());
//!     let (plan, made) = materials.seal_plan(Suite::CommittedSigned, &context, length, now)?;
//!     let keys = made.encrypted_data_keys().to_vec();
//!     let mut sealer = plan.seal_to(Vec::new(), made.data_key(), keys)?;
//!     sealer.write_all(record)?;
//!     messages.push(sealer.finish()?.0);
//! }
//! # Ok(messages)
//! # }
//! ```
//!
//! Sharing a data key is sound for the two suites here and no others: each message derives its own
//! encryption key with its random id as salt, so no key meets the same nonce twice.

mod cache;
mod caching;
mod key;

use std::sync::Arc;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::context::EncryptionContext;
use crate::crypto::{Provider, Signer, default_provider};
use crate::derive::DataKey;
use crate::edk::EncryptedDataKey;
use crate::error::SealError;
use crate::keyring::{KeyringError, Keyrings, KeyringsError};
use crate::plan::{SealPlan, signing};
use crate::suite::Suite;

pub use cache::{LocalCache, MAX_CACHE_CAPACITY};
pub use caching::{CacheLimits, Caching, MAX_BYTES_PER_KEY, MAX_MESSAGES_PER_KEY};
pub use key::{Partition, decryption_cache_key, encryption_cache_key};

/// What messages are sealed with: a data key, its wrapped forms, and the signing key whose public
/// half stands in the context that they are wrapped under.
#[derive(Clone)]
pub struct EncryptionMaterials {
    provider: &'static dyn Provider,
    suite: Suite,
    context: EncryptionContext,
    signer: Option<Arc<dyn Signer>>,
    data_key: DataKey,
    data_keys: Vec<EncryptedDataKey>,
}

impl EncryptionMaterials {
    /// Makes a signing key, where the suite has one, and asks the keyrings for a data key.
    ///
    /// # Errors
    /// The context is too long, no randomness, or a keyring refused.
    pub fn generate(
        keyrings: &Keyrings,
        suite: Suite,
        context: EncryptionContext,
        now: Instant,
    ) -> Result<Self, MaterialsError> {
        let provider = default_provider();
        let (context, signer) = signing(suite, context, provider)?;
        let (data_key, data_keys) = keyrings.generate(&context, now)?;
        Ok(Self {
            provider,
            suite,
            context,
            signer,
            data_key,
            data_keys,
        })
    }

    /// Plans a message of its own with these materials. It is sealed with
    /// [`data_key`](Self::data_key) and [`encrypted_data_keys`](Self::encrypted_data_keys).
    ///
    /// # Errors
    /// No randomness.
    pub fn plan(&self) -> Result<SealPlan, SealError> {
        let (context, signer) = (self.context.clone(), self.signer.clone());
        SealPlan::of(self.provider, self.suite, context, signer)
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The context, with the public key of the signature.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.context
    }

    /// The data key.
    #[must_use]
    pub const fn data_key(&self) -> &DataKey {
        &self.data_key
    }

    /// Its wrapped forms.
    #[must_use]
    pub fn encrypted_data_keys(&self) -> &[EncryptedDataKey] {
        &self.data_keys
    }
}

/// Why there are no materials.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MaterialsError {
    /// The message could not be planned.
    #[error("the message could not be planned")]
    Plan(#[from] SealError),
    /// A keyring gave no data key.
    #[error("no data key was made")]
    Generate(#[from] KeyringError),
    /// No keyring released the data key.
    #[error("no data key was released")]
    Release(#[from] KeyringsError),
    /// A bound of the cache is out of its own bounds.
    #[error("the cache's {field} is {found}, expected {least} to {most}")]
    Limit {
        /// Which bound.
        field: &'static str,
        /// Least that it may be.
        least: u64,
        /// Most that it may be.
        most: u64,
        /// The caller's.
        found: u64,
    },
    /// A cache entry that may not have any age.
    #[error("the cache's greatest age is {found:?}, expected more than none")]
    Age {
        /// The caller's.
        found: Duration,
    },
}

impl MaterialsError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Plan(error) => error.rule(),
            Self::Generate(error) => error.rule(),
            Self::Release(error) => error.rule(),
            Self::Limit { .. } | Self::Age { .. } => "cache.limit",
        }
    }
}
