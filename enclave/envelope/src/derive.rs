//! From the data key of a message to its two derived keys.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::crypto::{CryptoFailure, KEY_LENGTH, Provider, default_provider};
use crate::error::OpenError;
use crate::header::MessageId;
use crate::suite::Suite;

/// A message's data key: 32 bytes, zeroized when dropped. They stay where they are when the value is
/// moved, as a cache moves what it holds: a move would leave a copy behind that nothing clears.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DataKey(Box<[u8; KEY_LENGTH]>);

impl DataKey {
    /// Takes the plaintext of a data key as KMS or a raw key gave it.
    ///
    /// # Errors
    /// Another length than 32 bytes ([`OpenError::DataKeyLength`]): both suites take an AES-256 key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        let found = bytes.len();
        if found != KEY_LENGTH {
            return Err(OpenError::DataKeyLength { found });
        }
        let mut key = Self(Box::new([0; KEY_LENGTH]));
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// A random data key, for keys that are wrapped without a KMS.
    ///
    /// # Errors
    /// The random generator could not be seeded.
    pub fn generate() -> Result<Self, CryptoFailure> {
        let mut key = Self(Box::new([0; KEY_LENGTH]));
        default_provider().fill_random(key.0.as_mut_slice())?;
        Ok(key)
    }

    /// The key itself, to be wrapped.
    #[must_use]
    pub const fn expose(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }
}

/// The keys that a message really uses.
pub(crate) struct DerivedKeys {
    /// Encrypts frames and authenticates the header.
    pub encryption: Zeroizing<[u8; KEY_LENGTH]>,
    /// Stands in the header: a second data key with the same commitment cannot be found.
    pub commitment: [u8; KEY_LENGTH],
}

impl DerivedKeys {
    /// HKDF with SHA-512, salt = message id; info is suite id ‖ "DERIVEKEY" for the encryption key
    /// and "COMMITKEY" for the commitment (algorithms reference, "Key commitment").
    pub fn derive(
        provider: &dyn Provider,
        suite: Suite,
        data_key: &DataKey,
        id: &MessageId,
    ) -> Result<Self, CryptoFailure> {
        let mut info = [0; 11];
        let (suite_id, label) = info.split_at_mut(2);
        suite_id.copy_from_slice(&suite.id().to_be_bytes());
        label.copy_from_slice(b"DERIVEKEY");
        let mut encryption = Zeroizing::new([0; KEY_LENGTH]);
        let mut commitment = [0; KEY_LENGTH];
        provider.hkdf_sha512(data_key.expose(), id.as_bytes(), &info, &mut encryption)?;
        provider.hkdf_sha512(
            data_key.expose(),
            id.as_bytes(),
            b"COMMITKEY",
            &mut commitment,
        )?;
        Ok(Self {
            encryption,
            commitment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_moved_stays_where_it_is() {
        let keys: Vec<_> = (0..3).map(|_| DataKey::generate().unwrap()).collect();
        let places: Vec<_> = keys.iter().map(|key| key.expose().as_ptr()).collect();
        let mut moved: Vec<_> = keys.into_iter().rev().collect();
        moved.reserve(100);
        moved.reverse();
        let now: Vec<_> = moved.iter().map(|key| key.expose().as_ptr()).collect();
        assert_eq!(now, places);
    }
}
