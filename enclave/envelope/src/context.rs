//! The encryption context: pairs of text that are authenticated with a message but not encrypted.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::limits::MAX_CONTEXT;

/// The field in which suite `0x0578` carries the public key of the message's signature: base64 of
/// the compressed P-384 point.
pub const PUBLIC_KEY_FIELD: &str = "aws-crypto-public-key";

/// Keys with this prefix belong to the Encryption SDKs; a caller's context may not use it.
pub const RESERVED_PREFIX: &str = "aws-crypto-";

/// Pairs of UTF-8 text, sorted by the bytes of their keys, each key once.
///
/// It is public: it stands in the header in clear, in KMS requests and in audit trails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EncryptionContext(BTreeMap<String, String>);

impl EncryptionContext {
    /// No pairs.
    #[must_use]
    pub const fn empty() -> Self {
        Self(BTreeMap::new())
    }

    /// The given pairs.
    ///
    /// # Errors
    /// A key that occurs twice, a key under [`RESERVED_PREFIX`], or more than [`MAX_CONTEXT`] bytes.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, ContextError>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut context = Self::empty();
        for (key, value) in pairs {
            let key = key.into();
            if key.starts_with(RESERVED_PREFIX) {
                return Err(ContextError::Reserved { key });
            }
            context.insert_once(key, value.into())?;
        }
        context.to_bytes()?;
        Ok(context)
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Number of pairs.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no pairs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pairs as a map, for a KMS request.
    #[must_use]
    pub const fn as_map(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The context without the fields that belong to the Encryption SDKs: what the sealer gave.
    #[must_use]
    pub fn without_reserved(&self) -> Self {
        let own = self
            .0
            .iter()
            .filter(|(key, _)| !key.starts_with(RESERVED_PREFIX));
        Self(
            own.map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        )
    }

    /// The same context with the public key of a message's signature in it.
    pub(crate) fn with_public_key(mut self, key: String) -> Result<Self, ContextError> {
        self.insert_once(PUBLIC_KEY_FIELD.to_owned(), key)?;
        Ok(self)
    }

    /// The pairs with these keys, and the others.
    pub(crate) fn split(&self, keys: &BTreeSet<String>) -> Result<(Self, Self), ContextError> {
        for key in keys {
            if key.starts_with(RESERVED_PREFIX) {
                return Err(ContextError::Reserved { key: key.clone() });
            }
            if !self.0.contains_key(key) {
                return Err(ContextError::Missing { key: key.clone() });
            }
        }
        let (named, others) = self
            .0
            .clone()
            .into_iter()
            .partition(|(k, _)| keys.contains(k));
        Ok((Self(named), Self(others)))
    }

    /// Adds all pairs of another context; no key may be in both.
    pub(crate) fn extend(&mut self, other: &Self) -> Result<(), ContextError> {
        for (key, value) in other.iter() {
            self.insert_once(key.to_owned(), value.to_owned())?;
        }
        Ok(())
    }

    /// Serialized form: count u16, then key and value with a u16 length each. An empty context has
    /// no bytes at all (format reference, "AAD").
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, ContextError> {
        let too_long = || ContextError::TooLong { limit: MAX_CONTEXT };
        let mut bytes = Vec::new();
        if self.0.is_empty() {
            return Ok(bytes);
        }
        let count = u16::try_from(self.0.len()).map_err(|_| too_long())?;
        bytes.extend_from_slice(&count.to_be_bytes());
        for text in self.0.iter().flat_map(|(key, value)| [key, value]) {
            let length = u16::try_from(text.len()).map_err(|_| too_long())?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        if bytes.len() > MAX_CONTEXT {
            return Err(too_long());
        }
        Ok(bytes)
    }

    /// Reads the serialized form. Keys in another order than ours are taken (the header tag covers
    /// the bytes as they came, and one SDK sorted by UTF-16 units for years); a key that occurs
    /// twice is not, since readers would disagree on its value.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ContextError> {
        let mut context = Self::empty();
        if bytes.is_empty() {
            return Ok(context);
        }
        let mut rest = bytes;
        let count = take_u16(&mut rest)?;
        if count == 0 {
            return Err(ContextError::CountOfZero);
        }
        for _ in 0..count {
            let key = take_text(&mut rest)?;
            let value = take_text(&mut rest)?;
            context.insert_once(key, value)?;
        }
        if !rest.is_empty() {
            return Err(ContextError::Trailing { bytes: rest.len() });
        }
        Ok(context)
    }

    fn insert_once(&mut self, key: String, value: String) -> Result<(), ContextError> {
        if self.0.contains_key(&key) {
            return Err(ContextError::Duplicate { key });
        }
        self.0.insert(key, value);
        Ok(())
    }
}

/// What the opener of a message demands of its encryption context. The field of the signature's
/// public key is the format's own and is not part of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextRule {
    /// These pairs, and no others.
    Exactly(EncryptionContext),
    /// These pairs, whatever else there is.
    AtLeast(EncryptionContext),
}

impl ContextRule {
    /// Checks a message's context.
    ///
    /// # Errors
    /// [`ContextError::Missing`], [`ContextError::Mismatch`] or [`ContextError::Unexpected`] for
    /// the first key (in byte order) that breaks the rule.
    pub fn check(&self, found: &EncryptionContext) -> Result<(), ContextError> {
        let (Self::Exactly(expected) | Self::AtLeast(expected)) = self;
        for (key, value) in expected.iter() {
            match found.get(key) {
                None => {
                    return Err(ContextError::Missing {
                        key: key.to_owned(),
                    });
                }
                Some(other) if other != value => {
                    return Err(ContextError::Mismatch {
                        key: key.to_owned(),
                        expected: value.to_owned(),
                        found: other.to_owned(),
                    });
                }
                Some(_) => {}
            }
        }
        if matches!(self, Self::Exactly(_)) {
            let extra = |key: &&str| *key != PUBLIC_KEY_FIELD && expected.get(key).is_none();
            if let Some(key) = found.iter().map(|(key, _)| key).find(extra) {
                return Err(ContextError::Unexpected {
                    key: key.to_owned(),
                });
            }
        }
        Ok(())
    }
}

fn take_u16(rest: &mut &[u8]) -> Result<u16, ContextError> {
    let (head, tail) = rest
        .split_first_chunk::<2>()
        .ok_or(ContextError::Truncated)?;
    *rest = tail;
    Ok(u16::from_be_bytes(*head))
}

fn take_text(rest: &mut &[u8]) -> Result<String, ContextError> {
    let length = usize::from(take_u16(rest)?);
    let (head, tail) = rest
        .split_at_checked(length)
        .ok_or(ContextError::Truncated)?;
    *rest = tail;
    Ok(core::str::from_utf8(head)
        .map_err(|_| ContextError::NotUtf8)?
        .to_owned())
}

/// Why an encryption context was refused. It carries keys and values: a context is public.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The message does not have a pair that the rule demands.
    #[error("the encryption context has no `{key}`")]
    Missing {
        /// The demanded key.
        key: String,
    },
    /// The message has another value than the rule demands.
    #[error("the encryption context has `{key}` = `{found}`, expected `{expected}`")]
    Mismatch {
        /// The key.
        key: String,
        /// The value that the rule demands.
        expected: String,
        /// The message's value.
        found: String,
    },
    /// The message has a pair that an exact rule does not name.
    #[error("the encryption context has `{key}`, which was not expected")]
    Unexpected {
        /// The surplus key.
        key: String,
    },
    /// A caller's pair uses the SDKs' own prefix.
    #[error("`{key}` is reserved: keys that begin with `{RESERVED_PREFIX}` belong to the format")]
    Reserved {
        /// The key.
        key: String,
    },
    /// A key occurs twice.
    #[error("the encryption context has `{key}` twice")]
    Duplicate {
        /// The key.
        key: String,
    },
    /// The serialized form is longer than its length field can say.
    #[error("the encryption context is longer than {limit} bytes")]
    TooLong {
        /// [`MAX_CONTEXT`].
        limit: usize,
    },
    /// A length in the serialized form points beyond its end.
    #[error("the encryption context ends inside a pair")]
    Truncated,
    /// A key or value is not UTF-8.
    #[error("the encryption context holds text that is not UTF-8")]
    NotUtf8,
    /// Bytes follow the last pair.
    #[error("{bytes} bytes follow the last pair of the encryption context")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A context without pairs must have no bytes.
    #[error("the encryption context says that it has no pairs, yet is not empty")]
    CountOfZero,
    /// Suite `0x0578` without a public key.
    #[error("the suite signs, but the encryption context has no `{PUBLIC_KEY_FIELD}`")]
    NoPublicKey,
    /// Suite `0x0478` with a public key.
    #[error("the suite does not sign, but the encryption context has `{PUBLIC_KEY_FIELD}`")]
    UnusedPublicKey,
    /// The public key is not base64 of a compressed point of P-384.
    #[error("`{PUBLIC_KEY_FIELD}` is not a compressed P-384 point in base64")]
    BadPublicKey,
}

impl ContextError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "context.missing",
            Self::Mismatch { .. } => "context.mismatch",
            Self::Unexpected { .. } => "context.unexpected",
            Self::Reserved { .. } => "context.reserved",
            Self::Duplicate { .. } => "context.duplicate",
            Self::TooLong { .. } => "context.length",
            Self::Truncated | Self::NotUtf8 | Self::Trailing { .. } | Self::CountOfZero => {
                "context.encoding"
            }
            Self::NoPublicKey | Self::UnusedPublicKey | Self::BadPublicKey => "context.public-key",
        }
    }
}
