//! Names of cache entries: the formulas of the AWS Encryption SDK.

use sha2::{Digest, Sha512};

use crate::context::{ContextError, EncryptionContext};
use crate::edk::EncryptedDataKey;
use crate::suite::Suite;

/// Length of a cache key, in bytes: SHA-512.
pub(super) const CACHE_KEY_LENGTH: usize = 64;

/// Separates the entries of several users of one cache: two [`Caching`](super::Caching) with other
/// keyrings must not have the same one, or one would use the other's data keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition(Vec<u8>);

impl Partition {
    /// A name of the caller's.
    #[must_use]
    pub fn named(name: impl Into<Vec<u8>>) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// SHA-512 of: SHA-512(partition) ‖ 00, or 01 ‖ suite id u16 ‖ SHA-512(serialized context).
///
/// The context is the caller's, before a signature's public key comes into it.
///
/// # Errors
/// The context cannot be serialized.
pub fn encryption_cache_key(
    partition: &Partition,
    suite: Option<Suite>,
    context: &EncryptionContext,
) -> Result<[u8; CACHE_KEY_LENGTH], ContextError> {
    let mut hash = Sha512::new();
    hash.update(Sha512::digest(&partition.0));
    match suite {
        None => hash.update([0]),
        Some(suite) => {
            hash.update([1]);
            hash.update(suite.id().to_be_bytes());
        }
    }
    hash.update(Sha512::digest(context.to_bytes()?));
    Ok(hash.finalize().into())
}

/// SHA-512 of: SHA-512(partition) ‖ suite id u16 ‖ the sorted SHA-512s of the serialized wrapped
/// keys ‖ 64 zero bytes ‖ SHA-512(serialized context).
///
/// # Errors
/// The context cannot be serialized.
pub fn decryption_cache_key(
    partition: &Partition,
    suite: Suite,
    keys: &[EncryptedDataKey],
    context: &EncryptionContext,
) -> Result<[u8; CACHE_KEY_LENGTH], ContextError> {
    let mut hashes: Vec<[u8; 64]> = keys
        .iter()
        .map(|key| {
            let mut bytes = Vec::new();
            key.write(&mut bytes);
            Sha512::digest(&bytes).into()
        })
        .collect();
    hashes.sort_unstable();
    let mut hash = Sha512::new();
    hash.update(Sha512::digest(&partition.0));
    hash.update(suite.id().to_be_bytes());
    for one in hashes {
        hash.update(one);
    }
    hash.update([0; 64]);
    hash.update(Sha512::digest(context.to_bytes()?));
    Ok(hash.finalize().into())
}
