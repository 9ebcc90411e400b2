//! Bucket keys: one call to the KMS for many messages.
//!
//! A *bucket key* is a data key of the KMS that wraps no message by itself. For each message a
//! wrapping key of its own is derived from it, locally, and wraps the message's data key. So the KMS
//! is asked once per bucket key when sealing, and once per bucket key when opening, however many
//! messages there are. How long and for how many messages one bucket key serves is
//! [`BucketPolicy`].
//!
//! ```text
//! bucket key   = GenerateDataKey(KMS key, bucket context ∪ {"anchorhold:bucket-key": "1"})
//! salt         = 32 random bytes, for each message anew
//! wrapping key = HKDF-SHA-512(bucket key, salt, info)
//! info         = "anchorhold bucket key v1" ‖ SHA-384(T(key ARN) ‖ T(wrapped bucket key) ‖ T(context))
//!                where T(x) = length u32 ‖ x and context is the message's whole one, serialized
//! wrapped      = AES-256-GCM(wrapping key, nonce 0, no additional data, data key)
//! ```
//!
//! In the message it is an ordinary encrypted data key, so messages with several owners mix bucket
//! keys and plain KMS keys; an SDK that does not know the provider passes it by. All integers are
//! big-endian:
//!
//! ```text
//! provider id   "anchorhold-bucket"
//! provider info the KMS key's ARN
//! ciphertext    01 | salt [32] | length u16 + wrapped bucket key | data key [32] | tag [16]
//! ```
//!
//! A keyring of the KMS's becomes one of bucket keys for messages that share a part of their context:
//!
//! ```
//! use anchorhold_envelope::EncryptionContext;
//! use anchorhold_envelope::bucket::{BucketKeyring, BucketPolicy};
//! use anchorhold_envelope::keyring::{Keyring, Keyrings};
//!
//! # fn bucket(kms: impl Keyring + Send + Sync + 'static)
//! # -> Result<Keyrings, Box<dyn std::error::Error>> {
//! let tenant = EncryptionContext::from_pairs([("tenant", "blue")])?;
//! let keyrings = Keyrings::of(BucketKeyring::new(kms, tenant, BucketPolicy::default())?);
//! # Ok(keyrings)
//! # }
//! ```
//!
//! Bucket keys are in memory only: a process that starts again asks for new ones.
//!
//! # Why it is sound
//!
//! - **Keys are single-use.** A wrapping key encrypts one data key under one nonce. Two messages
//!   share a wrapping key only if they share a salt, which for 2³² messages under one bucket key
//!   happens with a probability of 2⁻¹⁹³. Derivation rather than GCM under the bucket key itself
//!   removes GCM's limit of 2³² random nonces.
//! - **A leaked data key or wrapping key is one message's.** HKDF is one-way: neither leads to the
//!   bucket key or to another message's. A leaked *bucket* key opens the messages of its period,
//!   which is the price, and why the period is bounded.
//! - **Bound to its message.** The context, with the public key of the signature, goes into `info`,
//!   as KMS would have bound it; a wrapped key moved to a message with another context derives
//!   another wrapping key and does not open.
//! - **Commitment.** GCM does not commit to its key, so one ciphertext might be made that opens under
//!   two bucket keys to two data keys. It gains nothing: the message's suite commits to the data key.
//! - **HKDF with SHA-512**, not SHA-384: it is what the suites derive with, so the measured image
//!   holds no second one, and for 32 bytes of key neither is the weaker.
//! - **Not mistaken for a data key.** The KMS wraps a bucket key under the marker pair, which
//!   [`Keyrings`](crate::keyring::Keyrings) take in no message's context ([`BucketError::Marker`]).
//!   So nobody gets a bucket key out of them by putting its wrapped form into a message as an
//!   `aws-kms` key.
//!
//! # What the KMS sees
//!
//! Only the bucket context, which must be a part of every message's context
//! ([`BucketError::Context`]): what its policies and its audit trail say of a bucket key is true of
//! each message. They no longer see each message, and a revoked right to decrypt takes hold at the
//! latest [`BucketPolicy::max_age`] after the last release.

mod format;
mod keyring;

use std::time::Duration;

use thiserror::Error;

pub use format::WrappedBucketKey;
pub use keyring::BucketKeyring;

/// Provider id of data keys that a bucket key wraps.
pub const BUCKET_PROVIDER: &str = "anchorhold-bucket";

/// The pair's key that marks a bucket key for the KMS; its value is `1`.
pub const MARKER: &str = "anchorhold:bucket-key";

/// Longest time that a bucket key serves.
pub const MAX_BUCKET_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Most messages that a bucket key serves.
pub const MAX_BUCKET_MESSAGES: u64 = 1 << 32;

/// Most released bucket keys that are kept for opening.
pub const MAX_BUCKET_CAPACITY: usize = 1024;

/// How long, and for how much, a bucket key serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BucketPolicy {
    /// Longest time from the call that made or released it.
    pub max_age: Duration,
    /// Most messages that are sealed with it. Opening is not counted: the sealer decided it.
    pub max_messages: u64,
    /// Most released bucket keys that are kept for opening; the least recently used goes first.
    pub capacity: usize,
}

impl Default for BucketPolicy {
    /// An hour, a million messages, 64 bucket keys.
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(60 * 60),
            max_messages: 1_000_000,
            capacity: 64,
        }
    }
}

impl BucketPolicy {
    fn check(&self) -> Result<(), BucketError> {
        let within = |field, found, limit| {
            if found == 0 || found > limit {
                return Err(BucketError::Policy {
                    field,
                    limit,
                    found,
                });
            }
            Ok(())
        };
        let capacity = self.capacity as u64;
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        within(
            "age in nanoseconds",
            nanoseconds(self.max_age),
            nanoseconds(MAX_BUCKET_AGE),
        )?;
        within("number of messages", self.max_messages, MAX_BUCKET_MESSAGES)?;
        within("capacity", capacity, MAX_BUCKET_CAPACITY as u64)
    }
}

/// Why a bucket key was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BucketError {
    /// A bound of the policy is out of its own bounds.
    #[error("the bucket's {field} is {found}, expected 1 to {limit}")]
    Policy {
        /// Which bound.
        field: &'static str,
        /// Most that it may be.
        limit: u64,
        /// The caller's.
        found: u64,
    },
    /// The message's context does not have a pair of the bucket's.
    #[error("the message's context has not the bucket's `{key}`")]
    Context {
        /// The key of the pair.
        key: String,
    },
    /// A message's context has the marker of bucket keys.
    #[error("`{MARKER}` marks bucket keys and stands in no message's context")]
    Marker,
    /// The KMS's keyring wrapped the bucket key in a way that has no place in the format.
    #[error("bucket keys are wrapped by `aws-kms` keys, not by `{found}`")]
    Provider {
        /// The provider's id.
        found: String,
    },
    /// Not a wrapped key of the format.
    #[error("the wrapped key is not one of a bucket key: {part}")]
    Malformed {
        /// What is wrong.
        part: &'static str,
    },
    /// The wrapped data key does not open under the bucket key.
    #[error(
        "the data key does not open under its bucket key: it was changed, or is of another context"
    )]
    Tag,
}

impl BucketError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Policy { .. } => "bucket.policy",
            Self::Context { .. } => "bucket.context",
            Self::Marker => "bucket.marker",
            Self::Provider { .. } => "bucket.provider",
            Self::Malformed { .. } => "bucket.encoding",
            Self::Tag => "bucket.tag",
        }
    }
}
