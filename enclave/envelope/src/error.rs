//! Why a message was not opened, or not sealed.

use std::io;

use thiserror::Error;

use crate::context::ContextError;
use crate::crypto::CryptoFailure;
use crate::edk::EdkError;
use crate::suite::name_of;

/// Why a message was not opened. No variant holds plaintext or key material.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The input could not be read: a fault of the machine or the transport.
    #[error("reading the message failed")]
    Read(#[source] io::Error),
    /// The sink for unreleased plaintext could not be written: a fault of the machine.
    #[error("writing unreleased plaintext failed")]
    Write(#[source] io::Error),
    /// The input ended inside a part.
    #[error("the message ends inside its {part}")]
    Truncated {
        /// Which part.
        part: &'static str,
    },
    /// Not a version 2 message.
    #[error("message version {found:#04x} is not taken, only version 0x02 commits to its key")]
    Version {
        /// The first byte.
        found: u8,
    },
    /// Not one of the two suites.
    #[error(
        "algorithm suite {found:#06x} ({}) is not taken, only 0x0478 and 0x0578 commit to their key",
        name_of(*found)
    )]
    Suite {
        /// The suite's id.
        found: u16,
    },
    /// The encryption context is malformed or breaks the caller's rule.
    #[error("the encryption context was refused")]
    Context(#[from] ContextError),
    /// An encrypted data key is malformed or too large.
    #[error("an encrypted data key was refused")]
    DataKeys(#[from] EdkError),
    /// Too few or too many encrypted data keys.
    #[error("the header has {found} encrypted data keys, expected 1 to {limit}")]
    DataKeyCount {
        /// Most that are taken.
        limit: usize,
        /// The header's count.
        found: usize,
    },
    /// Content type neither unframed (1) nor framed (2).
    #[error("content type {found} is unknown, expected 1 (unframed) or 2 (framed)")]
    ContentType {
        /// The header's content type.
        found: u8,
    },
    /// Frame length out of bounds: 1 to the limit when framed, 0 when unframed.
    #[error("frame length {found} is not taken, expected {least} to {most}")]
    FrameLength {
        /// Least that is taken.
        least: u32,
        /// Most that is taken.
        most: u32,
        /// The header's frame length.
        found: u32,
    },
    /// The caller's data key has the wrong length.
    #[error("the data key has {found} bytes, expected 32")]
    DataKeyLength {
        /// Its length, in bytes.
        found: usize,
    },
    /// The data key is not the one that the header commits to.
    #[error("the data key is not the one that the message commits to")]
    Commitment,
    /// The header's tag does not match.
    #[error(
        "the header's tag does not match: it was changed, or the data key is another message's"
    )]
    HeaderTag,
    /// A frame's number is not the next one.
    #[error("frame {found} came where frame {expected} was expected")]
    FrameNumber {
        /// The number that was due.
        expected: u32,
        /// The number that came.
        found: u32,
    },
    /// A frame's nonce is not its number.
    #[error("the nonce of frame {number} is not the frame's number")]
    FrameNonce {
        /// The frame's number.
        number: u32,
    },
    /// A frame's tag does not match.
    #[error("the tag of frame {number} does not match")]
    FrameTag {
        /// The frame's number; 1 for an unframed body.
        number: u32,
    },
    /// The final frame, or an unframed body, is longer than it may be.
    #[error("the {part} has {found} bytes, at most {limit} are taken")]
    ContentLength {
        /// "final frame" or "unframed body".
        part: &'static str,
        /// Most bytes that are taken.
        limit: u64,
        /// Its length, in bytes.
        found: u64,
    },
    /// The message has more plaintext than the caller takes.
    #[error("the message has more than {limit} bytes of plaintext")]
    PlaintextLength {
        /// [`Limits::plaintext_length`](crate::Limits).
        limit: u64,
    },
    /// All 2³²−1 numbers are used and the final frame has not come.
    #[error("the message has more frames than there are numbers")]
    TooManyFrames,
    /// The signature's length is out of bounds.
    #[error("the footer announces a signature of {found} bytes, expected 1 to {limit}")]
    SignatureLength {
        /// Most bytes that are taken.
        limit: usize,
        /// The footer's length field.
        found: usize,
    },
    /// The signature is not the message's.
    #[error("the message's signature does not match")]
    Signature,
    /// Bytes follow the end of the message.
    #[error("bytes follow the end of the message")]
    TrailingBytes,
    /// [`finish`](crate::Opener::finish) was called before the final frame was read.
    #[error("the message was not read to its end")]
    Unfinished,
    /// The opener refused the message before; nothing more comes out of it.
    #[error("the message was refused before")]
    AlreadyRefused,
    /// A primitive failed for a reason that is not the message's.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl OpenError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Read(_) => "io.read",
            Self::Write(_) => "io.write",
            Self::Truncated { .. } => "message.truncated",
            Self::Version { .. } => "header.version",
            Self::Suite { .. } => "header.suite",
            Self::Context(error) => error.rule(),
            Self::DataKeys(error) => error.rule(),
            Self::DataKeyCount { .. } => "edk.count",
            Self::ContentType { .. } => "header.content-type",
            Self::FrameLength { .. } => "header.frame-length",
            Self::DataKeyLength { .. } => "data-key.length",
            Self::Commitment => "header.commitment",
            Self::HeaderTag => "header.tag",
            Self::FrameNumber { .. } => "frame.number",
            Self::FrameNonce { .. } => "frame.nonce",
            Self::FrameTag { .. } => "frame.tag",
            Self::ContentLength { .. } => "frame.length",
            Self::PlaintextLength { .. } => "message.length",
            Self::TooManyFrames => "frame.count",
            Self::SignatureLength { .. } => "footer.length",
            Self::Signature => "footer.signature",
            Self::TrailingBytes => "message.trailing",
            Self::Unfinished => "message.unfinished",
            Self::AlreadyRefused => "message.refused",
            Self::Crypto(_) => "crypto",
        }
    }
}

/// Why a message was not sealed: the caller's fault or the machine's.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The message could not be written.
    #[error("writing the message failed")]
    Write(#[from] io::Error),
    /// The encryption context cannot be serialized.
    #[error("the encryption context was refused")]
    Context(#[from] ContextError),
    /// Frame length 0, or more than the limit.
    #[error("frame length {found} is not taken, expected 1 to {limit}")]
    FrameLength {
        /// [`MAX_FRAME_LENGTH`](crate::limits::MAX_FRAME_LENGTH).
        limit: u32,
        /// The caller's frame length.
        found: u32,
    },
    /// Too few or too many encrypted data keys.
    #[error("a message has 1 to {limit} encrypted data keys, {found} were given")]
    DataKeyCount {
        /// Most that are taken.
        limit: usize,
        /// The caller's count.
        found: usize,
    },
    /// More plaintext than the plan allows.
    #[error("the plaintext has more than the {limit} bytes that were planned")]
    PlaintextLength {
        /// The plan's limit, in bytes.
        limit: u64,
    },
    /// More plaintext than 2³²−1 frames hold.
    #[error("the message has more frames than there are numbers: use longer frames")]
    TooManyFrames,
    /// An earlier write failed; the message is incomplete and stays so.
    #[error("the message failed before and cannot be finished")]
    AlreadyFailed,
    /// A primitive failed.
    #[error(transparent)]
    Crypto(#[from] CryptoFailure),
}

impl SealError {
    /// Stable name of the rule that was broken.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Write(_) => "io.write",
            Self::Context(error) => error.rule(),
            Self::FrameLength { .. } => "header.frame-length",
            Self::DataKeyCount { .. } => "edk.count",
            Self::PlaintextLength { .. } => "message.length",
            Self::TooManyFrames => "frame.count",
            Self::AlreadyFailed => "message.failed",
            Self::Crypto(_) => "crypto",
        }
    }
}
