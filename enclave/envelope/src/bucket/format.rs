//! The wrapped form of a data key that a bucket key wraps.

use super::{BUCKET_PROVIDER, BucketError};
use crate::crypto::{KEY_LENGTH, TAG_LENGTH};
use crate::edk::{AWS_KMS, EdkError, EncryptedDataKey};

const VERSION: u8 = 0x01;

/// Length of a salt, in bytes.
pub(super) const SALT_LENGTH: usize = 32;

/// Longest wrapped bucket key, in bytes (AWS KMS: `CiphertextBlob`, at most 6144).
const MAX_BUCKET_KEY: usize = 6144;

/// Longest key ARN, in bytes (API model: KeyIdType, at most 2048).
const MAX_ARN: usize = 2048;

/// A data key under a bucket key, as it stands in a header: all of it claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedBucketKey {
    pub(super) key_arn: String,
    pub(super) salt: [u8; SALT_LENGTH],
    pub(super) bucket_key: Vec<u8>,
    pub(super) data_key: [u8; KEY_LENGTH],
    pub(super) tag: [u8; TAG_LENGTH],
}

impl WrappedBucketKey {
    /// Reads an encrypted data key of provider [`BUCKET_PROVIDER`].
    ///
    /// # Errors
    /// [`BucketError::Provider`] for another provider, [`BucketError::Malformed`].
    pub fn parse(key: &EncryptedDataKey) -> Result<Self, BucketError> {
        if key.provider_id() != BUCKET_PROVIDER {
            let found = key.provider_id().to_owned();
            return Err(BucketError::Provider { found });
        }
        let malformed = |part| BucketError::Malformed { part };
        let arn = core::str::from_utf8(key.provider_info())
            .map_err(|_| malformed("the key ARN is not UTF-8"))?;
        if arn.is_empty() || arn.len() > MAX_ARN {
            return Err(malformed("the key ARN's length"));
        }
        let mut rest = key.ciphertext();
        let [version] = take(&mut rest)?;
        if version != VERSION {
            return Err(malformed("its version is not 1"));
        }
        let salt = take(&mut rest)?;
        let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
        if length == 0 || length > MAX_BUCKET_KEY {
            return Err(malformed("the bucket key's length"));
        }
        let split = rest.split_at_checked(length);
        let (bucket_key, tail) = split.ok_or(malformed("it is too short"))?;
        rest = tail;
        let (data_key, tag) = (take(&mut rest)?, take(&mut rest)?);
        if !rest.is_empty() {
            return Err(malformed("bytes follow its end"));
        }
        Ok(Self {
            key_arn: arn.to_owned(),
            salt,
            bucket_key: bucket_key.to_vec(),
            data_key,
            tag,
        })
    }

    /// The form for a header.
    pub(super) fn to_encrypted_data_key(&self) -> Result<EncryptedDataKey, EdkError> {
        let found = self.bucket_key.len();
        let too_long = EdkError::TooLong {
            field: "bucket key",
            limit: MAX_BUCKET_KEY,
            found,
        };
        let length = match u16::try_from(found) {
            Ok(length) if found <= MAX_BUCKET_KEY => length,
            _ => return Err(too_long),
        };
        let parts = [
            &[VERSION][..],
            &self.salt,
            &length.to_be_bytes(),
            &self.bucket_key,
            &self.data_key,
            &self.tag,
        ];
        EncryptedDataKey::new(BUCKET_PROVIDER, self.key_arn.as_bytes(), parts.concat())
    }

    /// ARN of the KMS key that wrapped the bucket key.
    #[must_use]
    pub fn key_arn(&self) -> &str {
        &self.key_arn
    }

    /// The wrapped bucket key, as the KMS takes it.
    ///
    /// # Errors
    /// As [`EncryptedDataKey::new`]; never after [`parse`](Self::parse), whose bounds are narrower.
    pub fn bucket_key(&self) -> Result<EncryptedDataKey, EdkError> {
        EncryptedDataKey::new(AWS_KMS, self.key_arn.as_bytes(), self.bucket_key.as_slice())
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BucketError> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or(BucketError::Malformed {
            part: "it is too short",
        })?;
    *rest = tail;
    Ok(*head)
}
