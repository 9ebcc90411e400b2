//! Raw RSA keys: data keys wrapped without a KMS.
//!
//! The same as the SDKs' *raw RSA keyring* with `OAEP_SHA256_MGF1`: the provider id is a namespace
//! of the owner's choice, the provider info the name of the key, the ciphertext RSAES-OAEP with
//! SHA-256 and MGF1 with SHA-256 and an empty label (RFC 8017, 7.1).
//!
//! RSA is AWS-LC's: the `rsa` crate's private operations leak timing (RUSTSEC-2023-0071).
//!
//! OAEP does not bind the encryption context to the wrapped key, as a KMS does; the message's header
//! tag binds it to the data key. Who may open a message is then decided by who holds the private key
//! alone.

use std::time::Instant;

use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::context::EncryptionContext;
use crate::derive::DataKey;
use crate::edk::{AWS_KMS, EdkError, EncryptedDataKey};
use crate::keyring::{Keyring, KeyringError};

/// Smallest modulus that is taken, in bits (SP 800-131A).
pub const MIN_MODULUS_BITS: usize = 2048;

/// Namespace and name of a raw key. Both stand in clear in every message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    namespace: String,
    name: Vec<u8>,
}

impl KeyName {
    /// Namespace (the provider id of the SDKs) and name (their key id or provider info).
    ///
    /// # Errors
    /// [`RawRsaError::Namespace`] for `aws-kms`, which belongs to KMS.
    pub fn new(namespace: &str, name: &str) -> Result<Self, RawRsaError> {
        if namespace == AWS_KMS {
            return Err(RawRsaError::Namespace);
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.as_bytes().to_vec(),
        })
    }

    /// Whether a wrapped key says that it is wrapped under this one.
    #[must_use]
    pub fn names(&self, key: &EncryptedDataKey) -> bool {
        key.provider_id() == self.namespace && key.provider_info() == self.name
    }
}

/// The public half: wraps data keys.
pub struct WrappingKey {
    name: KeyName,
    key: OaepPublicEncryptingKey,
}

impl WrappingKey {
    /// Takes a DER SubjectPublicKeyInfo (RFC 5280, 4.1) of an RSA key.
    ///
    /// # Errors
    /// Not such a key, or one of fewer than [`MIN_MODULUS_BITS`] bits.
    pub fn from_public_key_der(name: KeyName, der: &[u8]) -> Result<Self, RawRsaError> {
        let key = PublicEncryptingKey::from_der(der).map_err(|_| RawRsaError::PublicKey)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| RawRsaError::PublicKey)?;
        if key.key_size_bits() < MIN_MODULUS_BITS {
            return Err(RawRsaError::PublicKey);
        }
        Ok(Self { name, key })
    }

    /// Wraps a data key.
    ///
    /// # Errors
    /// The primitive failed, or the key's name is too long for a header.
    pub fn wrap(&self, data_key: &DataKey) -> Result<EncryptedDataKey, RawRsaError> {
        let mut out = vec![0; self.key.ciphertext_size()];
        let ciphertext = self
            .key
            .encrypt(&OAEP_SHA256_MGF1SHA256, data_key.expose(), &mut out, None)
            .map_err(|_| RawRsaError::Wrap)?;
        let KeyName { namespace, name } = &self.name;
        Ok(EncryptedDataKey::new(
            namespace.clone(),
            name.clone(),
            &*ciphertext,
        )?)
    }
}

/// The private half: unwraps data keys.
pub struct UnwrappingKey {
    name: KeyName,
    key: OaepPrivateDecryptingKey,
}

impl UnwrappingKey {
    /// Takes a DER PKCS#8 private key (RFC 5208).
    ///
    /// # Errors
    /// Not such a key, or one of fewer than [`MIN_MODULUS_BITS`] bits.
    pub fn from_pkcs8_der(name: KeyName, der: &[u8]) -> Result<Self, RawRsaError> {
        let key = PrivateDecryptingKey::from_pkcs8(der).map_err(|_| RawRsaError::PrivateKey)?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| RawRsaError::PrivateKey)?;
        if key.key_size_bits() < MIN_MODULUS_BITS {
            return Err(RawRsaError::PrivateKey);
        }
        Ok(Self { name, key })
    }

    /// Unwraps the data key of the first wrapped form that is this key's and opens.
    ///
    /// # Errors
    /// [`RawRsaError::NoneForThisKey`] when no form names this key, [`RawRsaError::Unwrap`] when one
    /// does and does not open.
    pub fn unwrap(&self, data_keys: &[EncryptedDataKey]) -> Result<DataKey, RawRsaError> {
        let mut own = data_keys
            .iter()
            .filter(|key| self.name.names(key))
            .peekable();
        if own.peek().is_none() {
            return Err(RawRsaError::NoneForThisKey);
        }
        own.find_map(|key| self.unwrap_one(key))
            .ok_or(RawRsaError::Unwrap)
    }

    fn unwrap_one(&self, key: &EncryptedDataKey) -> Option<DataKey> {
        let mut out = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let plaintext = self
            .key
            .decrypt(&OAEP_SHA256_MGF1SHA256, key.ciphertext(), &mut out, None)
            .ok()?;
        DataKey::from_bytes(plaintext).ok()
    }
}

/// A raw RSA key as a [`Keyring`]: with both halves, or with the one that its holder has.
///
/// The encryption context is not bound to what it wraps; see the module.
pub struct RsaKeyring {
    name: KeyName,
    wrapping: Option<WrappingKey>,
    unwrapping: Option<UnwrappingKey>,
}

impl RsaKeyring {
    /// The key of this name. Without a public half it seals nothing, without a private half it opens
    /// nothing.
    #[must_use]
    pub const fn new(
        name: KeyName,
        wrapping: Option<WrappingKey>,
        unwrapping: Option<UnwrappingKey>,
    ) -> Self {
        Self {
            name,
            wrapping,
            unwrapping,
        }
    }
}

impl Keyring for RsaKeyring {
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        let data_key = DataKey::generate()?;
        let wrapped = self.wrap(&data_key, context, now)?;
        Ok((data_key, wrapped))
    }

    fn wrap(
        &self,
        data_key: &DataKey,
        _context: &EncryptionContext,
        _now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        let key = self.wrapping.as_ref().ok_or(KeyringError::CannotWrap)?;
        key.wrap(data_key)
            .map_err(|error| KeyringError::provider(error.rule(), error))
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        self.name.names(key)
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        _context: &EncryptionContext,
        _now: Instant,
    ) -> Result<DataKey, KeyringError> {
        let own = self.unwrapping.as_ref().ok_or(KeyringError::CannotUnwrap)?;
        own.unwrap(core::slice::from_ref(key))
            .map_err(|error| KeyringError::provider(error.rule(), error))
    }
}

/// Why a raw RSA key was refused or did not work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RawRsaError {
    /// `aws-kms` is not a namespace for raw keys.
    #[error("the namespace `{AWS_KMS}` belongs to KMS")]
    Namespace,
    /// Not a DER SubjectPublicKeyInfo of an RSA key of [`MIN_MODULUS_BITS`] bits or more.
    #[error("not an RSA public key (DER SubjectPublicKeyInfo) of {MIN_MODULUS_BITS} bits or more")]
    PublicKey,
    /// Not a DER PKCS#8 RSA key of [`MIN_MODULUS_BITS`] bits or more.
    #[error("not an RSA private key (DER PKCS#8) of {MIN_MODULUS_BITS} bits or more")]
    PrivateKey,
    /// No wrapped form names this key.
    #[error("no encrypted data key of the message names this key")]
    NoneForThisKey,
    /// A form names this key and does not open under it.
    #[error("the encrypted data key does not open under the key that it names")]
    Unwrap,
    /// The data key could not be wrapped.
    #[error("the data key could not be wrapped")]
    Wrap,
    /// The wrapped key does not fit into a header.
    #[error("the wrapped key does not fit into a header")]
    Header(#[from] EdkError),
}

impl RawRsaError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Namespace => "raw-rsa.namespace",
            Self::PublicKey => "raw-rsa.public-key",
            Self::PrivateKey => "raw-rsa.private-key",
            Self::NoneForThisKey => "raw-rsa.key-name",
            Self::Unwrap => "raw-rsa.unwrap",
            Self::Wrap => "raw-rsa.wrap",
            Self::Header(error) => error.rule(),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::rsa::KeySize;

    use super::*;

    fn name(name: &str) -> KeyName {
        KeyName::new("owner", name).unwrap()
    }

    fn key_pair() -> (Vec<u8>, Vec<u8>) {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = key.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
        (private.as_ref().to_vec(), public.as_ref().to_vec())
    }

    #[test]
    fn only_the_named_key_unwraps() {
        let (private, public) = key_pair();
        let (other, _) = key_pair();
        let data_key = DataKey::from_bytes(&[9; 32]).unwrap();
        let wrapping = WrappingKey::from_public_key_der(name("one"), &public).unwrap();
        let wrapped = [wrapping.wrap(&data_key).unwrap()];
        let unwrap = |name, der: &[u8]| {
            let key = UnwrappingKey::from_pkcs8_der(name, der).unwrap();
            key.unwrap(&wrapped).map(|key| *key.expose())
        };
        assert_eq!(unwrap(name("one"), &private), Ok([9; 32]));
        assert_eq!(unwrap(name("one"), &other), Err(RawRsaError::Unwrap));
        assert_eq!(
            unwrap(name("two"), &private),
            Err(RawRsaError::NoneForThisKey)
        );
        let elsewhere = KeyName::new("other", "one").unwrap();
        assert_eq!(
            unwrap(elsewhere, &private),
            Err(RawRsaError::NoneForThisKey)
        );
    }

    #[test]
    fn a_wrapped_key_of_another_length_is_refused() {
        let (private, public) = key_pair();
        let public = PublicEncryptingKey::from_der(&public).unwrap();
        let public = OaepPublicEncryptingKey::new(public).unwrap();
        let mut out = vec![0; public.ciphertext_size()];
        let short = public
            .encrypt(&OAEP_SHA256_MGF1SHA256, &[1; 16], &mut out, None)
            .unwrap();
        let wrapped = [EncryptedDataKey::new("owner", *b"one", &*short).unwrap()];
        let key = UnwrappingKey::from_pkcs8_der(name("one"), &private).unwrap();
        assert_eq!(key.unwrap(&wrapped).err(), Some(RawRsaError::Unwrap));
    }

    #[test]
    fn what_is_no_key_or_no_namespace_is_refused() {
        assert_eq!(KeyName::new(AWS_KMS, "one"), Err(RawRsaError::Namespace));
        let (private, public) = key_pair();
        let swapped = WrappingKey::from_public_key_der(name("one"), &private);
        assert_eq!(swapped.err(), Some(RawRsaError::PublicKey));
        let swapped = UnwrappingKey::from_pkcs8_der(name("one"), &public);
        assert_eq!(swapped.err(), Some(RawRsaError::PrivateKey));
        assert!(WrappingKey::from_public_key_der(name("one"), &public[1..]).is_err());
        assert!(UnwrappingKey::from_pkcs8_der(name("one"), &[]).is_err());
    }
}
