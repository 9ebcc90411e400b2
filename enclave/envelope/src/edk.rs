//! Encrypted data keys: the wrapped forms of a message's data key that stand in its header.

use thiserror::Error;

use crate::limits::{MAX_PROVIDER_ID, MAX_PROVIDER_INFO, MAX_WRAPPED_KEY};

/// Provider id of keys that AWS KMS (or a KMS that speaks its API) wrapped. Provider info is then
/// the key's ARN, the ciphertext the `CiphertextBlob`.
pub const AWS_KMS: &str = "aws-kms";

/// One wrapped form of the data key. Nothing in it is secret, and until the header's tag is checked
/// nothing in it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedDataKey {
    provider_id: String,
    provider_info: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl EncryptedDataKey {
    /// A wrapped key of any provider.
    ///
    /// # Errors
    /// An empty ciphertext, or a part longer than its limit ([`MAX_PROVIDER_ID`],
    /// [`MAX_PROVIDER_INFO`], [`MAX_WRAPPED_KEY`] bytes).
    pub fn new(
        provider_id: impl Into<String>,
        provider_info: impl Into<Vec<u8>>,
        ciphertext: impl Into<Vec<u8>>,
    ) -> Result<Self, EdkError> {
        let key = Self {
            provider_id: provider_id.into(),
            provider_info: provider_info.into(),
            ciphertext: ciphertext.into(),
        };
        within("provider id", key.provider_id.len(), MAX_PROVIDER_ID)?;
        within("provider info", key.provider_info.len(), MAX_PROVIDER_INFO)?;
        within("ciphertext", key.ciphertext.len(), MAX_WRAPPED_KEY)?;
        if key.ciphertext.is_empty() {
            return Err(EdkError::NoCiphertext);
        }
        Ok(key)
    }

    /// A key wrapped by KMS: the full ARN of the KMS key, and the `CiphertextBlob`.
    ///
    /// # Errors
    /// As [`EncryptedDataKey::new`].
    pub fn aws_kms(key_arn: &str, ciphertext: impl Into<Vec<u8>>) -> Result<Self, EdkError> {
        Self::new(AWS_KMS, key_arn.as_bytes(), ciphertext)
    }

    /// Who wrapped the key: `aws-kms`, or the namespace of a raw key.
    #[must_use]
    pub fn provider_id(&self) -> &str {
        &self.provider_id
    }

    /// Which key of the provider: a key ARN in ASCII for KMS, a key name for raw keys.
    #[must_use]
    pub fn provider_info(&self) -> &[u8] {
        &self.provider_info
    }

    /// The wrapped data key.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The key ARN, when KMS wrapped this key and its provider info is text.
    #[must_use]
    pub fn kms_key_arn(&self) -> Option<&str> {
        (self.provider_id == AWS_KMS).then(|| core::str::from_utf8(&self.provider_info).ok())?
    }

    /// Appends the serialized form: three fields, each with a u16 length.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for field in [
            self.provider_id.as_bytes(),
            &self.provider_info,
            &self.ciphertext,
        ] {
            // `new` bounds each field far below 2^16.
            let length = u16::try_from(field.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(field);
        }
    }
}

fn within(field: &'static str, found: usize, limit: usize) -> Result<(), EdkError> {
    if found > limit {
        return Err(EdkError::TooLong {
            field,
            limit,
            found,
        });
    }
    Ok(())
}

/// Why an encrypted data key was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EdkError {
    /// A field is longer than its limit.
    #[error("the {field} of an encrypted data key has {found} bytes, at most {limit} are taken")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its limit, in bytes.
        limit: usize,
        /// Its length, in bytes.
        found: usize,
    },
    /// The provider id is not UTF-8.
    #[error("the provider id of an encrypted data key is not UTF-8")]
    ProviderIdNotUtf8,
    /// There is no ciphertext.
    #[error("an encrypted data key has no ciphertext")]
    NoCiphertext,
}

impl EdkError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "edk.length",
            Self::ProviderIdNotUtf8 => "edk.provider-id",
            Self::NoCiphertext => "edk.ciphertext",
        }
    }
}
