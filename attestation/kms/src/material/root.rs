//! The root key: all that rests on the disk rests under it.
//!
//! ```text
//! offset  length  field
//!      0       1  format, 0xB1
//!      1      16  id of the root key
//!     17      32  salt, random for each record
//!     49       n  ciphertext
//!   49+n      16  tag
//! ```
//!
//! The additional data is the header, the record's purpose and its names, each behind its length:
//! a record copied into another row, or into another column, does not open.

use std::fmt;

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::aead::{MessageKey, SALT, TAG};
use super::{KeyMaterial, MaterialId};
use crate::arn::KeyId;

const FORMAT: u8 = 0xB1;
const HEADER: usize = 1 + 16 + SALT;
const DOMAIN: &[u8] = b"anchorhold kms record at rest v1";
const ID_DOMAIN: &[u8] = b"anchorhold kms root key id v1";

/// Tells root keys apart without telling anything about them: the first 16 bytes of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootKeyId([u8; 16]);

impl fmt::Display for RootKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Why a record at rest does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Not a record of this format.
    #[error("the record is not a wrapped secret of a known format")]
    Format,
    /// Wrapped under another root key: the machine has the wrong key file.
    #[error("the record was wrapped under root key {expected}, the root key here is {got}")]
    OtherRootKey {
        /// The root key the record names.
        expected: RootKeyId,
        /// The root key in use.
        got: RootKeyId,
    },
    /// Damaged, or moved from another record.
    #[error("the record is damaged, or belongs to another key, material or name")]
    Damaged,
}

impl UnwrapError {
    /// A stable name of the broken rule.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Format => "at-rest.format",
            Self::OtherRootKey { .. } => "at-rest.root-key",
            Self::Damaged => "at-rest.damaged",
        }
    }
}

/// The key under which key material and other secrets rest.
pub struct RootKey(Zeroizing<[u8; 32]>);

impl RootKey {
    /// A new root key.
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        rng.fill_bytes(secret.as_mut_slice());
        Self(secret)
    }

    /// The root key from its 32 bytes.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, for the file they are kept in.
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Tells this root key from others.
    pub fn id(&self) -> RootKeyId {
        let digest = Sha256::new()
            .chain_update(ID_DOMAIN)
            .chain_update(self.0.as_slice())
            .finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        RootKeyId(id)
    }

    /// Wraps a key's material for the disk, bound to the key's id and the material's id.
    pub fn wrap_material(
        &self,
        key: KeyId,
        material: &KeyMaterial,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        let names = [key.as_bytes().as_slice(), material.id.as_bytes()];
        self.wrap("key material", &names, material.secret.as_slice(), rng)
    }

    /// The material that [`RootKey::wrap_material`] wrapped for this key under this id.
    ///
    /// # Errors
    /// [`UnwrapError`].
    pub fn unwrap_material(
        &self,
        key: KeyId,
        id: MaterialId,
        record: &[u8],
    ) -> Result<KeyMaterial, UnwrapError> {
        let names = [key.as_bytes().as_slice(), id.as_bytes()];
        let bytes = self.unwrap("key material", &names, record)?;
        let mut secret = Zeroizing::new([0; 32]);
        if bytes.len() != secret.len() {
            return Err(UnwrapError::Damaged);
        }
        secret.copy_from_slice(&bytes);
        Ok(KeyMaterial { id, secret })
    }

    /// Wraps another secret, e.g. a principal's SigV4 secret, bound to what it is for and the
    /// name it is kept under.
    pub fn wrap_secret(
        &self,
        purpose: &str,
        name: &str,
        secret: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        self.wrap(
            "secret",
            &[purpose.as_bytes(), name.as_bytes()],
            secret,
            rng,
        )
    }

    /// The secret that [`RootKey::wrap_secret`] wrapped for this purpose under this name.
    ///
    /// # Errors
    /// [`UnwrapError`].
    pub fn unwrap_secret(
        &self,
        purpose: &str,
        name: &str,
        record: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        self.unwrap("secret", &[purpose.as_bytes(), name.as_bytes()], record)
    }

    fn wrap(
        &self,
        purpose: &str,
        names: &[&[u8]],
        secret: &[u8],
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<u8> {
        let mut salt = [0; SALT];
        rng.fill_bytes(&mut salt);
        let mut record = Vec::with_capacity(HEADER + secret.len() + TAG);
        record.push(FORMAT);
        record.extend_from_slice(&self.id().0);
        record.extend_from_slice(&salt);
        let aad = additional_data(&record, purpose, names);
        record.extend_from_slice(&MessageKey::derive(&self.0, &salt, DOMAIN).seal(&aad, secret));
        record
    }

    fn unwrap(
        &self,
        purpose: &str,
        names: &[&[u8]],
        record: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
        let (header, sealed) = record
            .split_first_chunk::<HEADER>()
            .ok_or(UnwrapError::Format)?;
        let (format, rest) = header.split_first().ok_or(UnwrapError::Format)?;
        let (id, salt) = rest.split_first_chunk::<16>().ok_or(UnwrapError::Format)?;
        let salt = salt.first_chunk::<SALT>().ok_or(UnwrapError::Format)?;
        if *format != FORMAT {
            return Err(UnwrapError::Format);
        }
        let expected = RootKeyId(*id);
        if expected != self.id() {
            return Err(UnwrapError::OtherRootKey {
                expected,
                got: self.id(),
            });
        }
        let aad = additional_data(header, purpose, names);
        MessageKey::derive(&self.0, salt, DOMAIN)
            .open(&aad, sealed)
            .map_err(|_| UnwrapError::Damaged)
    }
}

/// Header, then purpose and names behind their lengths.
fn additional_data(header: &[u8], purpose: &str, names: &[&[u8]]) -> Vec<u8> {
    let mut aad = header.to_vec();
    for part in [purpose.as_bytes()].iter().chain(names) {
        aad.extend_from_slice(&(part.len() as u64).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}
