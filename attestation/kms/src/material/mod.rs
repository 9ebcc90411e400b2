//! Key material, what it encrypts, and how it rests.
//!
//! * [`KeyMaterial`] seals and opens; one message key per message, so that no key comes near
//!   AES-GCM's 2^32 messages (SP 800-38D, 8.3);
//! * [`CiphertextBlob`] is what a caller holds: key id and material id inside;
//! * [`RootKey`] wraps material and other secrets for the disk.

mod aead;
mod blob;
mod root;

use std::fmt;
use std::str::FromStr;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::arn::KeyId;
use crate::encryption_context::EncryptionContext;

pub use blob::{BLOB_OVERHEAD, CiphertextBlob, InvalidCiphertext, MAX_CIPHERTEXT_BLOB};
pub use root::{RootKey, RootKeyId, UnwrapError};

/// Longest plaintext of Encrypt, in bytes (API model, `PlaintextType`).
pub const MAX_PLAINTEXT: usize = 4096;

/// Names one generation of a key's material: 32 random bytes, on the wire 64 hex digits
/// (`KeyMaterialId`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MaterialId([u8; 32]);

impl MaterialId {
    /// The id's bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id from its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for MaterialId {
    type Err = crate::key::UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| crate::key::UnknownName {
            what: "key material",
        })?;
        Ok(Self(bytes))
    }
}

/// A plaintext that is empty or longer than [`MAX_PLAINTEXT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a plaintext has 1 to {MAX_PLAINTEXT} bytes, this one has {got}")]
pub struct PlaintextLength {
    /// Its length in bytes.
    pub got: usize,
}

/// One generation of a key's secret: 32 bytes that leave this crate wrapped only.
pub struct KeyMaterial {
    id: MaterialId,
    secret: Zeroizing<[u8; 32]>,
}

impl KeyMaterial {
    /// New material under a new id.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        Self {
            id: MaterialId(id),
            secret,
        }
    }

    /// The material's id.
    pub fn id(&self) -> MaterialId {
        self.id
    }

    /// Encrypts `plaintext` (1 to 4096 bytes) for `key`, bound to `context`: the bytes of a
    /// [`CiphertextBlob`], [`BLOB_OVERHEAD`] longer than the plaintext.
    ///
    /// # Errors
    /// [`PlaintextLength`].
    pub fn seal(
        &self,
        key: KeyId,
        context: &EncryptionContext,
        plaintext: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Result<Vec<u8>, PlaintextLength> {
        if plaintext.is_empty() || plaintext.len() > MAX_PLAINTEXT {
            return Err(PlaintextLength {
                got: plaintext.len(),
            });
        }
        Ok(blob::seal(self, key, context, plaintext, rng))
    }

    /// Decrypts `blob`, which must be of this material and bound to exactly `context`.
    ///
    /// Establishes that whoever sealed it held this material, the key id, and the context. Does
    /// not establish that the caller may have it.
    ///
    /// # Errors
    /// [`InvalidCiphertext`], the same for a damaged ciphertext, another context and another
    /// material.
    pub fn open(
        &self,
        blob: &CiphertextBlob,
        context: &EncryptionContext,
    ) -> Result<Zeroizing<Vec<u8>>, InvalidCiphertext> {
        blob::open(self, blob, context)
    }
}
