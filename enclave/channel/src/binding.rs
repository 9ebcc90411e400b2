//! What a document is bound to: the value of its `user_data`.

use std::fmt;

use aws_lc_rs::digest::{self, SHA384};

use crate::keys::{HASH, PROTOCOL};
use crate::limits::MAX_CLAIM;

/// Domain and version of the encoding.
const DOMAIN: &str = "anchorhold-channel evidence v1";

/// Domain and version of [`SessionContext::of`].
const CONTEXT_DOMAIN: &str = "anchorhold-channel context v1";

/// Which side a party is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends the first message.
    Initiator,
    /// Answers it.
    Responder,
}

impl Role {
    /// The other side's.
    #[must_use]
    pub const fn peer(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    /// The name that is hashed: `initiator` or `responder`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initiator => "initiator",
            Self::Responder => "responder",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What both parties agreed on before: SHA-384 over a contract, for example. A channel comes to be
/// between equal contexts only.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionContext([u8; 48]);

impl SessionContext {
    /// A context that is a hash already.
    pub const fn from_sha384(hash: [u8; 48]) -> Self {
        Self(hash)
    }

    /// The context of an application and any parts, each of any length: SHA-384 over a domain, the
    /// application and the parts, each with its length before it (8 bytes, big-endian).
    pub fn of(application: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Fields::new(CONTEXT_DOMAIN);
        hash.add(application.as_bytes());
        parts.iter().for_each(|part| hash.add(part));
        Self(hash.finish())
    }

    /// The 48 bytes.
    pub const fn as_bytes(&self) -> &[u8; 48] {
        &self.0
    }
}

impl fmt::Display for SessionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SessionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionContext({self})")
    }
}

/// What a party states about itself beside its document, bound to it: its name among equals, a
/// public key, an epoch. At most [`MAX_CLAIM`] bytes.
///
/// It says what the measured code was told or knows: worth as much as that code's care. It travels
/// sealed, but the initiator's to whoever answers: no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Claim(Vec<u8>);

impl Claim {
    /// A claim of at most [`MAX_CLAIM`] bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, ClaimTooLong> {
        let bytes = bytes.into();
        match bytes.len() {
            got if got > MAX_CLAIM => Err(ClaimTooLong { got }),
            _ => Ok(Self(bytes)),
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Claim {
    /// Hex, or that it is empty.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => f.write_str("an empty claim"),
            bytes => f.write_str(&hex::encode(bytes)),
        }
    }
}

/// A claim that is too long. The caller's fault, or the peer's that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("claim: expected at most {MAX_CLAIM} bytes, got {got}")]
pub struct ClaimTooLong {
    /// Bytes that came.
    pub got: usize,
}

impl ClaimTooLong {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        "claim.length"
    }
}

/// The handshake hash h: both ephemeral keys, the context and the protocol's version, in 32 bytes
/// that no other session has. Not secret. Applications bind what they sign to it (Noise §11.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transcript(pub(crate) [u8; HASH]);

impl Transcript {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; HASH] {
        &self.0
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transcript({self})")
    }
}

/// The `user_data` of the document of a party: see the crate's documentation for the bytes.
///
/// Public so that a checker of archived documents can recompute it. **An application must never ask
/// its security module for a document over bytes that a stranger chose**: such a document could be
/// one for a channel.
pub fn user_data(
    role: Role,
    transcript: &Transcript,
    context: &SessionContext,
    claim: &Claim,
) -> [u8; 48] {
    let mut hash = Fields::new(DOMAIN);
    hash.add(PROTOCOL.as_bytes());
    hash.add(role.name().as_bytes());
    hash.add(transcript.as_bytes());
    hash.add(context.as_bytes());
    hash.add(claim.as_bytes());
    hash.finish()
}

/// SHA-384 over fields, each with its length before it, so that no two lists share an encoding.
struct Fields(digest::Context);

impl Fields {
    fn new(domain: &str) -> Self {
        let mut fields = Self(digest::Context::new(&SHA384));
        fields.add(domain.as_bytes());
        fields
    }

    fn add(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    fn finish(self) -> [u8; 48] {
        let mut hash = [0; 48];
        for (out, byte) in hash.iter_mut().zip(self.0.finish().as_ref()) {
            *out = *byte;
        }
        hash
    }
}
