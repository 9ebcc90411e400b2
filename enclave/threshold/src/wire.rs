//! The messages: one layout, one encoding.
//!
//! A message is CBOR (RFC 8949) of the map below, in exactly the bytes that this crate writes: it
//! is decoded, encoded again and compared, so that there is one encoding for each message and
//! nothing follows it. Byte strings are of exactly the length of their type.
//!
//! ```text
//! message = { "version": 1, "group": bytes .size 48, "key": bytes .size 32 / null,
//!             "session": bytes .size 32, "epoch": uint, "from": 1..32, "to": 1..32, "body": body }
//! body    = { kind: fields }          ; one of the kinds of Body
//! ```

use ciborium::de::Error as CborError;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ThresholdError;
use crate::group::{Epoch, Participant, Session, SessionId};
use crate::limits::MAX_MESSAGE;

mod octets;

pub use octets::{Blob, Octets, Secret};

/// The layout's version.
pub const VERSION: u8 = 1;

/// Bytes for one peer, to be sent through the channel to it and nowhere else. They may hold
/// secrets: zeroized when dropped.
pub struct Outgoing {
    /// Whom it is for.
    pub to: Participant,
    /// The message.
    pub bytes: Zeroizing<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    version: u8,
    group: Octets<48>,
    key: Option<Octets<32>>,
    session: Octets<32>,
    epoch: Epoch,
    from: Participant,
    to: Participant,
    body: Body,
}

/// What a message says. No `Debug`: several hold secrets.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) enum Body {
    /// Key generation and refresh, round 1: what a dealer commits to, and the proof that it knows
    /// the secret.
    Commitment {
        purpose: Purpose,
        points: Vec<Octets<32>>,
        proof: Octets<64>,
    },
    /// Round 2: the recipient's part of the dealer's secret, and the hash over all commitments as
    /// the dealer was told them.
    Dealt {
        purpose: Purpose,
        part: Secret,
        commitments: Octets<48>,
    },
    /// Round 3: the hash over the result as the sender has it.
    Confirmation {
        purpose: Purpose,
        result: Octets<48>,
    },
    /// Signing: what shall be signed and by whom, with the recipient's owner's approval.
    SignRequest {
        message: Blob,
        signers: Vec<Participant>,
        approval: Blob,
    },
    /// A signer's commitments to its nonces.
    SignCommitment {
        hiding: Octets<32>,
        binding: Octets<32>,
    },
    /// All signers' commitments.
    SignPackage {
        commitments: Vec<(Participant, Octets<32>, Octets<32>)>,
    },
    /// A signer's share of the signature.
    SignShare { share: Octets<32> },
    /// Repair, among helpers: one summand of the sender's contribution.
    RepairSummand { lost: Participant, summand: Secret },
    /// Repair, to the one who lost its share: a sum of summands, and the public shares.
    RepairSum {
        sum: Secret,
        threshold: u16,
        public: Vec<(Participant, Octets<32>)>,
    },
    /// Sums: the sender's partial sums.
    Partial { sums: Vec<Octets<16>> },
}

/// Which of the two dealings a message is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A new key.
    Generate,
    /// New shares of the same key.
    Refresh,
}

impl Body {
    /// The kind's name, for refusals.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Commitment { purpose, .. } => purpose.commitment(),
            Self::Dealt { purpose, .. } => purpose.dealt(),
            Self::Confirmation { purpose, .. } => purpose.confirmation(),
            Self::SignRequest { .. } => "a request to sign",
            Self::SignCommitment { .. } => "a signer's commitments",
            Self::SignPackage { .. } => "all signers' commitments",
            Self::SignShare { .. } => "a signature share",
            Self::RepairSummand { .. } => "a repair summand",
            Self::RepairSum { .. } => "a repair sum",
            Self::Partial { .. } => "partial sums",
        }
    }
}

impl Purpose {
    pub const fn commitment(self) -> &'static str {
        match self {
            Self::Generate => "a commitment to a new key",
            Self::Refresh => "a commitment to a refresh",
        }
    }

    pub const fn dealt(self) -> &'static str {
        match self {
            Self::Generate => "a part of a new key",
            Self::Refresh => "a part of a refresh",
        }
    }

    pub const fn confirmation(self) -> &'static str {
        match self {
            Self::Generate => "a confirmation of a new key",
            Self::Refresh => "a confirmation of a refresh",
        }
    }
}

/// A message of the session to a peer.
pub(crate) fn seal(session: &Session, to: Participant, body: Body) -> Outgoing {
    let message = Message {
        version: VERSION,
        group: Octets(*session.group.context()),
        key: session.key.map(Octets),
        session: Octets(*session.id.as_bytes()),
        epoch: session.epoch,
        from: session.me,
        to,
        body,
    };
    let bytes = encode(&message);
    Outgoing { to, bytes }
}

/// The body of a message that is of the session, from the peer and to this participant.
pub(crate) fn open(
    session: &Session,
    peer: Participant,
    bytes: &[u8],
) -> Result<Body, ThresholdError> {
    let message = decode(bytes)?;
    if message.version != VERSION {
        return Err(ThresholdError::MessageVersion {
            expected: VERSION,
            got: message.version,
        });
    }
    if message.group.0 != *session.group.context() || message.key.map(|k| k.0) != session.key {
        return Err(ThresholdError::MessageGroup);
    }
    if message.session.0 != *session.id.as_bytes() {
        return Err(ThresholdError::MessageSession {
            expected: session.id,
            got: SessionId::from_bytes(message.session.0),
        });
    }
    if message.epoch != session.epoch {
        let (expected, got) = (session.epoch, message.epoch);
        return Err(ThresholdError::MessageEpoch { expected, got });
    }
    if message.from != peer {
        let (expected, got) = (peer, message.from);
        return Err(ThresholdError::MessageSender { expected, got });
    }
    if message.to != session.me {
        let (expected, got) = (session.me, message.to);
        return Err(ThresholdError::MessageRecipient { expected, got });
    }
    Ok(message.body)
}

fn decode(bytes: &[u8]) -> Result<Message, ThresholdError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(ThresholdError::MessageLength {
            limit: MAX_MESSAGE,
            got: bytes.len(),
        });
    }
    let message = from_canonical(bytes).ok_or(ThresholdError::MessageEncoding)?;
    Ok(message)
}

/// Deepest nesting of a message: the map, its body, the body's fields, their list, its entries.
const DEPTH: usize = 8;

/// Decodes what encodes to the same bytes again, and nothing else.
pub(crate) fn from_canonical<T: Serialize + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Option<T> {
    let decoded: Result<T, CborError<_>> =
        ciborium::de::from_reader_with_recursion_limit(bytes, DEPTH);
    let value = decoded.ok()?;
    (*encode(&value) == *bytes).then_some(value)
}

/// The encoding.
pub(crate) fn encode<T: Serialize>(value: &T) -> Zeroizing<Vec<u8>> {
    // Room at once: growing would leave copies of secrets behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_MESSAGE));
    // A vector takes everything, and the types serialize without conditions.
    if ciborium::ser::into_writer(value, &mut *bytes).is_err() {
        bytes.clear();
    }
    bytes
}
