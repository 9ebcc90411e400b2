//! Why there is no channel, or no longer one.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::RangeInclusive;

use anchorhold_document::DocumentError;
use anchorhold_verifier::VerifyError;

use crate::binding::{Claim, ClaimTooLong, Role};
use crate::limits::MAX_FRAGMENT;

/// A frame whose length is not one that may come now. Its body is not waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame: expected {} bytes, got the length {got}", Bounds(.expected))]
pub struct FrameError {
    /// The lengths that may come.
    pub expected: RangeInclusive<usize>,
    /// The length that came.
    pub got: usize,
}

impl FrameError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        "frame.length"
    }
}

/// Why a handshake failed. What failed cannot be taken up again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A frame of another length. The peer's fault, or the relay's, as are those up to
    /// [`HandshakeError::Own`].
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first message is of another protocol or version.
    #[error("hello: expected {}, got {}", hex::encode(.expected), hex::encode(.got))]
    Hello {
        /// `AHC` and version 1.
        expected: [u8; 4],
        /// What came.
        got: Vec<u8>,
    },
    /// A public key with which no secret can be agreed on (RFC 7748 §6.1).
    #[error("handshake: expected an X25519 key of full order, got one that gives a zero secret")]
    PeerKey,
    /// The second message does not authenticate.
    #[error(
        "handshake: expected the answer of a responder with the same session context and protocol \
         version to this first message, got one that does not authenticate (another context, or \
         altered or replayed on the way)"
    )]
    Answer,
    /// The record in evidence's place does not authenticate.
    #[error(
        "evidence: expected a record under the keys of this handshake, got one that does not \
         authenticate (another context, or altered or replayed on the way)"
    )]
    EvidenceAuthentication,
    /// A record of another type came in evidence's place.
    #[error("evidence: expected a record of type 0x01 before any other, got 0x{got:02x}")]
    BeforeEvidence {
        /// The type that came.
        got: u8,
    },
    /// The evidence record does not hold what it must.
    #[error("evidence: expected {expected}, got {got} bytes")]
    EvidenceLayout {
        /// What was missing or too much.
        expected: &'static str,
        /// Bytes of the record, or of the own document.
        got: usize,
    },
    /// The peer's claim is too long.
    #[error(transparent)]
    PeerClaimTooLong(ClaimTooLong),
    /// The peer's document is not believed.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The peer's document is the own one, sent back.
    #[error("evidence: expected a document of the {}, got the {role}'s own again", .role.peer())]
    Reflected {
        /// The own role.
        role: Role,
    },
    /// The peer's document was made for something else.
    #[error(
        "evidence: expected a document bound to this session, role and claim (user_data {}), got {}",
        hex::encode(.expected), OrNone(.got)
    )]
    Binding {
        /// The bound value.
        expected: Vec<u8>,
        /// The document's `user_data`.
        got: Option<Vec<u8>>,
    },
    /// The peer states something else about itself than is demanded.
    #[error("claim: expected {expected}, got {got}")]
    PeerClaim {
        /// What the policy demands.
        expected: Claim,
        /// What the peer states.
        got: Claim,
    },
    /// The peer is this enclave itself.
    #[error("peer: expected another enclave, got this one ({module_id})")]
    Own {
        /// The name of the security module.
        module_id: String,
    },
    /// The own security module gave no document. This machine's fault, as are those below.
    #[error("attestation: expected a document of the own security module, got none")]
    Attestor(#[source] Box<dyn Error + Send + Sync>),
    /// The own security module gave something else.
    #[error("attestation: expected a document of the own security module, got other bytes")]
    OwnDocument(#[source] DocumentError),
    /// The own document does not hold what was asked for.
    #[error(
        "attestation: expected user_data {} in the own document, got {}",
        hex::encode(.expected), OrNone(.got)
    )]
    OwnUserData {
        /// What was asked for.
        expected: Vec<u8>,
        /// What the document holds.
        got: Option<Vec<u8>>,
    },
    /// The Noise library failed where it must not.
    #[error("handshake: expected the primitives to work, got a failure")]
    Noise(#[source] snow::Error),
}

impl HandshakeError {
    /// The stable name of the rule that was broken; for a document that is not believed the
    /// verifier's own ([`VerifyError::rule`]).
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.rule(),
            Self::Hello { .. } => "handshake.hello",
            Self::PeerKey => "handshake.peer-key",
            Self::Answer => "handshake.authentication",
            Self::EvidenceAuthentication => "evidence.authentication",
            Self::BeforeEvidence { .. } => "evidence.first",
            Self::EvidenceLayout { .. } => "evidence.layout",
            Self::PeerClaimTooLong(error) => error.rule(),
            Self::Verify(error) => error.rule(),
            Self::Reflected { .. } => "evidence.reflected",
            Self::Binding { .. } => "evidence.binding",
            Self::PeerClaim { .. } => "claim.mismatch",
            Self::Own { .. } => "peer.self",
            Self::Attestor(_) => "attestor.failed",
            Self::OwnDocument(_) => "attestor.document",
            Self::OwnUserData { .. } => "attestor.user-data",
            Self::Noise(_) => "handshake.primitives",
        }
    }
}

/// Why a record or message is refused. The direction that refused is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A frame of another length. The peer's fault, or the relay's, as are those up to
    /// [`RecordError::AfterClose`].
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The record does not authenticate as the next one.
    #[error(
        "record: expected the peer's record number {number}, got one that does not authenticate as \
         it (altered, dropped, reordered or replayed on the way)"
    )]
    Authentication {
        /// The number that must come next; evidence was number 0.
        number: u64,
    },
    /// A record of a type that may not come now.
    #[error("record {number}: expected type 0x02, 0x03 or 0x04, got 0x{got:02x}")]
    Kind {
        /// The record's number.
        number: u64,
        /// The type that came.
        got: u8,
    },
    /// A part of a message that more follows upon, and that is not full.
    #[error(
        "record {number}: expected {MAX_FRAGMENT} bytes in a part that is not the last, got {got}"
    )]
    Fragment {
        /// The record's number.
        number: u64,
        /// Bytes of the part.
        got: usize,
    },
    /// A close record with something in it.
    #[error("record {number}: expected nothing in a close record, got {got} bytes")]
    CloseBody {
        /// The record's number.
        number: u64,
        /// Bytes in it.
        got: usize,
    },
    /// A close record amid a message.
    #[error(
        "record {number}: expected the rest of a message after {got} bytes, got a close record"
    )]
    CloseWithinMessage {
        /// The record's number.
        number: u64,
        /// Bytes of the message so far.
        got: usize,
    },
    /// A message longer than the terms allow.
    #[error("message: expected at most {limit} bytes, got {got} or more")]
    TooLong {
        /// The terms' limit.
        limit: usize,
        /// Bytes so far.
        got: usize,
    },
    /// A record after the peer's close.
    #[error("record: expected none after the close record, got {got} bytes")]
    AfterClose {
        /// Bytes of the frame.
        got: usize,
    },
    /// The direction is over: it failed before, or was closed. The caller's fault.
    #[error("session: expected to end with the failure or close before, got another call")]
    Ended,
    /// Sealing failed where it must not. This machine's fault.
    #[error("record: expected to be able to seal it, got a failure")]
    Seal,
}

impl RecordError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.rule(),
            Self::Authentication { .. } => "record.authentication",
            Self::Kind { .. } => "record.type",
            Self::Fragment { .. } => "record.fragment",
            Self::CloseBody { .. } => "record.close",
            Self::CloseWithinMessage { .. } => "record.close-within-message",
            Self::TooLong { .. } => "message.too-long",
            Self::AfterClose { .. } => "record.after-close",
            Self::Ended => "session.ended",
            Self::Seal => "session.seal",
        }
    }
}

/// Why a channel over a byte stream failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// A frame's length was refused before its body came.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The handshake was refused.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A record was refused.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The stream ended before the peer's close record.
    #[error("stream: expected {expected}, got its end after {got} bytes of a frame")]
    Truncated {
        /// What had to come.
        expected: &'static str,
        /// Bytes of the frame that did come, its length included.
        got: usize,
    },
    /// The transport's deadline passed. A [`Receiver`](crate::Receiver) loses nothing by it and can
    /// be asked again; a sender or a handshake is over.
    #[error("stream: expected {expected} before the deadline, got none")]
    Deadline {
        /// What was waited for.
        expected: &'static str,
        /// The transport's error.
        source: io::Error,
    },
    /// The transport failed otherwise.
    #[error("stream: expected {expected}, got a failure of the transport")]
    Transport {
        /// What was under way.
        expected: &'static str,
        /// The transport's error.
        source: io::Error,
    },
}

impl ChannelError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.rule(),
            Self::Handshake(error) => error.rule(),
            Self::Record(error) => error.rule(),
            Self::Truncated { .. } => "stream.truncated",
            Self::Deadline { .. } => "stream.deadline",
            Self::Transport { .. } => "stream.transport",
        }
    }
}

/// Shows one length, or from which to which.
struct Bounds<'a>(&'a RangeInclusive<usize>);

impl fmt::Display for Bounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (start, end) if start == end => write!(f, "{start}"),
            (start, end) => write!(f, "{start} to {end}"),
        }
    }
}

/// Shows at most 48 bytes in hex and how many there are, or that there are none.
struct OrNone<'a>(&'a Option<Vec<u8>>);

impl fmt::Display for OrNone<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else {
            return f.write_str("none");
        };
        match bytes.get(..48) {
            Some(start) if bytes.len() > 48 => {
                write!(f, "{}… ({} bytes)", hex::encode(start), bytes.len())
            }
            _ => f.write_str(&hex::encode(bytes)),
        }
    }
}
