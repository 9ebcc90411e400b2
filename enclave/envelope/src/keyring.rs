//! Keyrings: who wraps the data key of a message, and who may ask for it.
//!
//! A [`Keyring`] is one wrapping key and the right to use it: a KMS key under one owner's
//! credentials, a raw key pair, a [bucket key](crate::bucket). [`Keyrings`] are several of them: a
//! message sealed with several has one wrapped form of its data key for each, and any one opens it.
//!
//! # What a header can cost
//!
//! The wrapped keys of a header are claims, and each one that is tried may be a call to a KMS. So
//! only those are tried that name a key of the caller's own keyrings, in the caller's order, and at
//! most [`MAX_UNWRAP_ATTEMPTS`] of them: who puts a hundred wrapped keys into a header gets no
//! hundred calls. Which of them gave the data key decides nothing: the message commits to the one
//! key, and [`authenticate`](crate::UnverifiedMessage::authenticate) checks that.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use thiserror::Error;

use crate::bucket::{BucketError, MARKER};
use crate::context::EncryptionContext;
use crate::crypto::CryptoFailure;
use crate::derive::DataKey;
use crate::edk::{EdkError, EncryptedDataKey};
use crate::error::OpenError;
use crate::limits::MAX_ENCRYPTED_DATA_KEYS;

/// Most wrapped keys of one message that are tried, unless the caller says less.
pub const MAX_UNWRAP_ATTEMPTS: usize = 8;

/// One wrapping key. `now` is the caller's monotonic clock: keyrings that hold something for a time
/// measure it by differences of `now`.
pub trait Keyring {
    /// Makes a data key and its wrapped form under `context`.
    ///
    /// # Errors
    /// The provider of the key refused, or cannot be reached.
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError>;

    /// Wraps a data key that another keyring made.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn wrap(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError>;

    /// Whether a wrapped key names this keyring's key. It costs nothing and proves nothing.
    fn names(&self, key: &EncryptedDataKey) -> bool;

    /// Unwraps a data key that [names](Self::names) this keyring's.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<DataKey, KeyringError>;
}

impl<K: Keyring + ?Sized> Keyring for Arc<K> {
    fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, EncryptedDataKey), KeyringError> {
        self.as_ref().generate(context, now)
    }

    fn wrap(
        &self,
        data_key: &DataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<EncryptedDataKey, KeyringError> {
        self.as_ref().wrap(data_key, context, now)
    }

    fn names(&self, key: &EncryptedDataKey) -> bool {
        self.as_ref().names(key)
    }

    fn unwrap(
        &self,
        key: &EncryptedDataKey,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<DataKey, KeyringError> {
        self.as_ref().unwrap(key, context, now)
    }
}

/// A keyring that several threads and messages share.
pub type SharedKeyring = Arc<dyn Keyring + Send + Sync>;

/// Several keyrings, any one of which opens what was sealed with all of them.
#[derive(Clone)]
pub struct Keyrings {
    members: Vec<SharedKeyring>,
    attempts: usize,
}

impl Keyrings {
    /// Takes 1 to [`MAX_ENCRYPTED_DATA_KEYS`] keyrings. The first makes data keys, the others wrap
    /// them; opening tries them in this order.
    ///
    /// # Errors
    /// [`KeyringsError::Count`].
    pub fn new(members: Vec<SharedKeyring>) -> Result<Self, KeyringsError> {
        if members.is_empty() || members.len() > MAX_ENCRYPTED_DATA_KEYS {
            return Err(KeyringsError::Count {
                limit: MAX_ENCRYPTED_DATA_KEYS,
                found: members.len(),
            });
        }
        Ok(Self {
            members,
            attempts: MAX_UNWRAP_ATTEMPTS,
        })
    }

    /// One keyring alone.
    #[must_use]
    pub fn of(member: impl Keyring + Send + Sync + 'static) -> Self {
        Self {
            members: vec![Arc::new(member)],
            attempts: MAX_UNWRAP_ATTEMPTS,
        }
    }

    /// The same keyrings, trying at most this many wrapped keys of a message.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts;
        self
    }

    /// Makes a data key and one wrapped form of it for each keyring. All of them or none: a message
    /// that one of its owners cannot open is not what was asked for.
    ///
    /// # Errors
    /// The first refusal.
    pub fn generate(
        &self,
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<(DataKey, Vec<EncryptedDataKey>), KeyringError> {
        if context.get(MARKER).is_some() {
            return Err(BucketError::Marker.into());
        }
        let mut members = self.members.iter();
        let first = members.next().ok_or(KeyringError::CannotWrap)?;
        let (data_key, wrapped) = first.generate(context, now)?;
        let mut keys = vec![wrapped];
        for member in members {
            keys.push(member.wrap(&data_key, context, now)?);
        }
        Ok((data_key, keys))
    }

    /// Gets the data key of a message from the first keyring that gives it.
    ///
    /// # Errors
    /// [`KeyringsError::NoneForUs`] when no wrapped key names one of ours, and
    /// [`KeyringsError::NoneReleased`] with each refusal when some do and none was given.
    pub fn release(
        &self,
        keys: &[EncryptedDataKey],
        context: &EncryptionContext,
        now: Instant,
    ) -> Result<DataKey, KeyringsError> {
        if context.get(MARKER).is_some() {
            return Err(KeyringsError::Bucket(BucketError::Marker));
        }
        let ours = self
            .members
            .iter()
            .flat_map(|member| keys.iter().map(move |key| (member, key)))
            .filter(|(member, key)| member.names(key));
        let mut refusals = Vec::new();
        let mut skipped = 0;
        for (member, key) in ours {
            if refusals.len() >= self.attempts {
                skipped += 1;
                continue;
            }
            match member.unwrap(key, context, now) {
                Ok(data_key) => return Ok(data_key),
                Err(error) => refusals.push(error),
            }
        }
        if refusals.is_empty() && skipped == 0 {
            return Err(KeyringsError::NoneForUs { found: keys.len() });
        }
        Err(KeyringsError::NoneReleased { refusals, skipped })
    }
}

/// Why a keyring did not wrap or unwrap a data key. No variant holds key material.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The provider of the key refused, or cannot be reached.
    #[error("the key's provider refused ({rule})")]
    Provider {
        /// The provider's own rule.
        rule: &'static str,
        /// What it said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The keyring has only the half of a key that unwraps.
    #[error("this keyring cannot wrap data keys")]
    CannotWrap,
    /// The keyring has only the half of a key that wraps.
    #[error("this keyring cannot unwrap data keys")]
    CannotUnwrap,
    /// The wrapped key does not fit into a header, or is not what it says.
    #[error("the wrapped key was refused")]
    Wrapped(#[from] EdkError),
    /// The data key has another length than a data key's.
    #[error("the data key was refused")]
    DataKey(#[from] OpenError),
    /// A bucket key's rules refused.
    #[error("the bucket key was refused")]
    Bucket(#[from] BucketError),
    /// A primitive failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl KeyringError {
    /// A refusal of the key's provider.
    pub fn provider(rule: &'static str, source: impl Error + Send + Sync + 'static) -> Self {
        Self::Provider {
            rule,
            source: Box::new(source),
        }
    }

    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Provider { rule, .. } => rule,
            Self::CannotWrap | Self::CannotUnwrap => "keyring.half",
            Self::Wrapped(error) => error.rule(),
            Self::DataKey(error) => error.rule(),
            Self::Bucket(error) => error.rule(),
            Self::Crypto(_) => "crypto",
        }
    }
}

/// Why several keyrings gave no data key.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum KeyringsError {
    /// No keyrings, or more than a header has room for.
    #[error("expected 1 to {limit} keyrings, {found} were given")]
    Count {
        /// [`MAX_ENCRYPTED_DATA_KEYS`].
        limit: usize,
        /// The caller's count.
        found: usize,
    },
    /// The message is not for any of these keyrings.
    #[error("none of the message's {found} encrypted data keys names a key of these keyrings")]
    NoneForUs {
        /// How many the message has.
        found: usize,
    },
    /// The message's context is a bucket key's.
    #[error("the message's context was refused")]
    Bucket(#[from] BucketError),
    /// Some wrapped keys are ours, and none was unwrapped.
    #[error(
        "none of {} encrypted data keys was released, {skipped} more were not tried: {}",
        refusals.len(),
        rules(refusals)
    )]
    NoneReleased {
        /// Each refusal, in the order of the attempts.
        refusals: Vec<KeyringError>,
        /// How many were not tried, for the limit on attempts.
        skipped: usize,
    },
}

impl KeyringsError {
    /// Stable name of the rule that was broken: of the only refusal where there is just one.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Count { .. } => "keyring.count",
            Self::NoneForUs { .. } => "keyring.none",
            Self::Bucket(error) => error.rule(),
            Self::NoneReleased { refusals, .. } => match refusals.as_slice() {
                [only] => only.rule(),
                _ => "keyring.refused",
            },
        }
    }
}

fn rules(refusals: &[KeyringError]) -> String {
    let rules: Vec<_> = refusals.iter().map(KeyringError::rule).collect();
    rules.join(", ")
}
