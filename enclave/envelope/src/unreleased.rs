//! Values made of plaintext whose message has not verified to its end.

use std::io::{self, Write};

use thiserror::Error;

use crate::open::{MessageRef, Verified};

/// A value that depends on plaintext of a message that is still being opened: a frame, an output
/// file, a running aggregate. It can be looked at and worked on; only [`Verified`] of the same
/// message, opened by the same [`Opener`](crate::Opener), gives the value itself.
///
/// This keeps honest code in order; it is no sandbox. What [`peek`](Self::peek) shows can be copied,
/// and whoever sends such a copy on has released it.
#[must_use]
pub struct Unreleased<T> {
    value: T,
    message: MessageRef,
}

impl<T> Unreleased<T> {
    pub(crate) const fn new(value: T, message: MessageRef) -> Self {
        Self { value, message }
    }

    /// Looks at the value, to work on it inside the enclave.
    pub const fn peek(&self) -> &T {
        &self.value
    }

    /// Works on the value.
    pub const fn peek_mut(&mut self) -> &mut T {
        &mut self.value
    }

    /// Makes another value of this one, unreleased as it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Unreleased<U> {
        Unreleased {
            value: make(self.value),
            message: self.message,
        }
    }

    /// Gives the value, now that its message has verified.
    ///
    /// # Errors
    /// `verified` is the proof of another opening. The value is dropped.
    pub fn release(self, verified: &Verified) -> Result<T, NotThisMessage> {
        if verified.message_ref() != self.message {
            return Err(NotThisMessage);
        }
        Ok(self.value)
    }
}

/// Where an opener puts plaintext before the message has verified.
pub trait UnreleasedSink {
    /// Takes the plaintext of the next frame.
    ///
    /// # Errors
    /// The plaintext could not be kept.
    fn write_unreleased(&mut self, plaintext: &[u8]) -> io::Result<()>;
}

impl<W: Write> UnreleasedSink for Unreleased<W> {
    fn write_unreleased(&mut self, plaintext: &[u8]) -> io::Result<()> {
        self.value.write_all(plaintext)
    }
}

/// A value was to be released with the proof of another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the proof is of another message than the value")]
pub struct NotThisMessage;

impl NotThisMessage {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        "message.other"
    }
}
