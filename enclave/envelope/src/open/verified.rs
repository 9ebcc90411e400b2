//! The proof that a message was opened to its end.

use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(doc)]
use super::opener::Opener;
use crate::context::EncryptionContext;
use crate::crypto::SHA384_LENGTH;
use crate::header::MessageId;
use crate::suite::Suite;

/// Which opening a value belongs to: unique in the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MessageRef(u64);

impl MessageRef {
    pub(super) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Proof that a message was opened to its end: context, commitment, header, every frame, the
/// signature where the suite has one, and nothing behind it. Only an [`Opener`] makes it.
#[derive(Debug)]
pub struct Verified {
    pub(super) suite: Suite,
    pub(super) message_id: MessageId,
    pub(super) context: EncryptionContext,
    pub(super) header_sha384: [u8; SHA384_LENGTH],
    pub(super) plaintext_length: u64,
    pub(super) message: MessageRef,
}

impl Verified {
    /// The message's suite.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The message's id.
    #[must_use]
    pub const fn message_id(&self) -> &MessageId {
        &self.message_id
    }

    /// SHA-384 of the header with its tag. It names the message: the header holds the message id,
    /// the context with the signature's public key, and the key commitment.
    #[must_use]
    pub const fn header_sha384(&self) -> &[u8; SHA384_LENGTH] {
        &self.header_sha384
    }

    /// The message's encryption context.
    #[must_use]
    pub const fn encryption_context(&self) -> &EncryptionContext {
        &self.context
    }

    /// Length of the plaintext, in bytes.
    #[must_use]
    pub const fn plaintext_length(&self) -> u64 {
        self.plaintext_length
    }

    pub(crate) const fn message_ref(&self) -> MessageRef {
        self.message
    }
}
