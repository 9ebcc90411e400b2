//! The ciphertext blob: what Encrypt and GenerateDataKey hand out and Decrypt takes.
//!
//! ```text
//! offset  length  field
//!      0       1  format, 0xA1
//!      1      16  key id
//!     17      32  material id
//!     49      32  salt, random for each message
//!     81       n  ciphertext
//!   81+n      16  tag
//! ```
//!
//! Key and nonce are HKDF-SHA-256(material, salt, domain). The additional data is the header
//! (the first 81 bytes) and the canonical encryption context.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::aead::{MessageKey, SALT, TAG};
use super::{KeyMaterial, MAX_PLAINTEXT, MaterialId};
use crate::arn::KeyId;
use crate::encryption_context::EncryptionContext;
use crate::error::KmsError;

/// Longest blob that a request may carry, in bytes (API model, `CiphertextType`).
pub const MAX_CIPHERTEXT_BLOB: usize = 6144;

/// How much longer a blob is than its plaintext, in bytes.
pub const BLOB_OVERHEAD: usize = HEADER + TAG;

/// First byte of this format; AWS's own blobs begin with 0x01.
const FORMAT: u8 = 0xA1;

const HEADER: usize = 1 + 16 + 32 + SALT;

const DOMAIN: &[u8] = b"anchorhold kms ciphertext blob v1";

/// A ciphertext that cannot be opened. Deliberately without a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext is invalid, or its encryption context is another one")]
pub struct InvalidCiphertext;

impl From<InvalidCiphertext> for KmsError {
    fn from(_: InvalidCiphertext) -> Self {
        Self::InvalidCiphertext
    }
}

/// A blob whose shape is right. Nothing in it is authentic until
/// [`KeyMaterial::open`] has succeeded: the ids only say where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiphertextBlob {
    key: KeyId,
    material: MaterialId,
    header: [u8; HEADER],
    sealed: Vec<u8>,
}

impl CiphertextBlob {
    /// Reads a blob.
    ///
    /// # Errors
    /// [`InvalidCiphertext`] when it is of another format, or its plaintext would be empty or
    /// longer than 4096 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidCiphertext> {
        let (header, sealed) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(InvalidCiphertext)?;
        let (format, rest) = header.split_first().ok_or(InvalidCiphertext)?;
        let (key, rest) = rest.split_first_chunk::<16>().ok_or(InvalidCiphertext)?;
        let (material, _salt) = rest.split_first_chunk::<32>().ok_or(InvalidCiphertext)?;
        if *format != FORMAT || !(TAG + 1..=TAG + MAX_PLAINTEXT).contains(&sealed.len()) {
            return Err(InvalidCiphertext);
        }
        Ok(Self {
            key: KeyId::from_bytes(*key),
            material: MaterialId(*material),
            header: *header,
            sealed: sealed.to_vec(),
        })
    }

    /// The key it says it was encrypted under.
    pub fn key_id(&self) -> KeyId {
        self.key
    }

    /// The material it says it was encrypted under.
    pub fn material_id(&self) -> MaterialId {
        self.material
    }

    /// The blob's bytes, as they were parsed.
    pub fn to_bytes(&self) -> Vec<u8> {
        [self.header.as_slice(), self.sealed.as_slice()].concat()
    }

    fn salt(&self) -> &[u8; SALT] {
        self.header
            .last_chunk()
            .expect("the header is longer than the salt")
    }
}

/// Encrypts a plaintext whose length has been checked.
pub(super) fn seal(
    material: &KeyMaterial,
    key: KeyId,
    context: &EncryptionContext,
    plaintext: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Vec<u8> {
    let mut salt = [0; SALT];
    rng.fill_bytes(&mut salt);
    let mut blob = Vec::with_capacity(BLOB_OVERHEAD + plaintext.len());
    blob.push(FORMAT);
    blob.extend_from_slice(key.as_bytes());
    blob.extend_from_slice(material.id.as_bytes());
    blob.extend_from_slice(&salt);
    let aad = additional_data(&blob, context);
    let sealed = MessageKey::derive(&material.secret, &salt, DOMAIN).seal(&aad, plaintext);
    blob.extend_from_slice(&sealed);
    blob
}

/// Decrypts.
pub(super) fn open(
    material: &KeyMaterial,
    blob: &CiphertextBlob,
    context: &EncryptionContext,
) -> Result<Zeroizing<Vec<u8>>, InvalidCiphertext> {
    if blob.material != material.id {
        return Err(InvalidCiphertext);
    }
    let aad = additional_data(&blob.header, context);
    MessageKey::derive(&material.secret, blob.salt(), DOMAIN)
        .open(&aad, &blob.sealed)
        .map_err(|_| InvalidCiphertext)
}

/// Header, then context. The header's length is fixed, so that the two cannot run into each other.
fn additional_data(header: &[u8], context: &EncryptionContext) -> Vec<u8> {
    let mut aad = header.to_vec();
    aad.extend_from_slice(&context.canonical_bytes());
    aad
}
