//! Refusals, by fault.

use anchorhold_envelope::{OpenError, SealError};

use crate::group::{Epoch, Participant, SessionId};

/// Why something was not done. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ThresholdError {
    /// The caller's: no such group.
    #[error(
        "group: expected 2 <= threshold <= participants <= 32, got {threshold} of {participants}"
    )]
    GroupSize {
        /// The threshold.
        threshold: u16,
        /// The number of participants.
        participants: u16,
    },
    /// A number that no participant has.
    #[error("participant: expected 1 to 32, got {got}")]
    Participant {
        /// The number.
        got: u16,
    },
    /// A participant that is not of the group, or not of this round.
    #[error("participant: {got} takes no part in this")]
    NotAMember {
        /// Who it is.
        got: Participant,
    },
    /// 2^64 refreshes.
    #[error("epoch: there is none after the last")]
    EpochsExhausted,
    /// The peer's: too many bytes.
    #[error("message: expected at most {limit} bytes, got {got}")]
    MessageLength {
        /// The limit.
        limit: usize,
        /// What came.
        got: usize,
    },
    /// The peer's: not the one encoding of a message.
    #[error("message: not a message in its canonical encoding")]
    MessageEncoding,
    /// The peer's: another version.
    #[error("message: expected version {expected}, got {got}")]
    MessageVersion {
        /// The version spoken here.
        expected: u8,
        /// The message's.
        got: u8,
    },
    /// The peer's: a message of another group or another key.
    #[error("message: of another group or another group key")]
    MessageGroup,
    /// The peer's, or a replay: a message of another run.
    #[error("message: expected session {expected}, got {got}")]
    MessageSession {
        /// This run.
        expected: SessionId,
        /// The message's run.
        got: SessionId,
    },
    /// The peer's: a message of another epoch.
    #[error("message: expected epoch {expected}, got {got}")]
    MessageEpoch {
        /// The epoch of this run.
        expected: Epoch,
        /// The message's.
        got: Epoch,
    },
    /// The peer's: it names another sender than the channel does.
    #[error("message: came from participant {expected}, says that it is from {got}")]
    MessageSender {
        /// Whom the channel belongs to.
        expected: Participant,
        /// Whom the message names.
        got: Participant,
    },
    /// The peer's: a message to somebody else.
    #[error("message: expected one to participant {expected}, got one to {got}")]
    MessageRecipient {
        /// This participant.
        expected: Participant,
        /// Whom it is addressed to.
        got: Participant,
    },
    /// The peer's: a message of another round.
    #[error("message: expected {expected}, got {got}")]
    MessageOrder {
        /// The kind that this round waits for.
        expected: &'static str,
        /// The kind that came.
        got: &'static str,
    },
    /// The peer's: a second message of the round.
    #[error("message: participant {from} has sent its {kind} already")]
    MessageDuplicate {
        /// Who.
        from: Participant,
        /// The kind.
        kind: &'static str,
    },
    /// The caller's: the next round before all messages of this one.
    #[error("round: still waiting for {kind} from participant {missing}")]
    RoundIncomplete {
        /// One who has not sent it.
        missing: Participant,
        /// The kind.
        kind: &'static str,
    },
    /// A peer's commitment is no list of t points of the group.
    #[error("key generation: participant {culprit} sent no valid commitment")]
    Commitment {
        /// Who.
        culprit: Participant,
    },
    /// A peer does not know the secret that it committed to.
    #[error("key generation: participant {culprit} does not prove its secret")]
    Proof {
        /// Who.
        culprit: Participant,
    },
    /// A peer's share does not fit its commitment.
    #[error(
        "key generation: participant {culprit} dealt a share that its commitment does not hold"
    )]
    Dealt {
        /// Who.
        culprit: Participant,
    },
    /// A peer was told other commitments than this participant: somebody said two things.
    #[error("key generation: participant {peer} was told other commitments than this one")]
    Broadcast {
        /// Who saw something else, which does not say who caused it.
        peer: Participant,
    },
    /// A peer arrived at other public shares.
    #[error("key generation: participant {peer} confirms another result")]
    Confirmation {
        /// Who.
        peer: Participant,
    },
    /// Not t or more members, or without the one who is asked.
    #[error("signing: expected {threshold} or more members with participant {me} among them")]
    Signers {
        /// The threshold.
        threshold: u16,
        /// Who is asked.
        me: Participant,
    },
    /// Too long to be signed.
    #[error("signing: expected a message of at most {limit} bytes, got {got}")]
    SignedLength {
        /// The limit.
        limit: usize,
        /// The message's length.
        got: usize,
    },
    /// The coordinator's: other signers than asked for, or not this signer's own commitment.
    #[error("signing: the commitments are not those of the request")]
    Commitments,
    /// Signature shares that are wrong, by name.
    #[error("signing: wrong signature shares from participants {}", list(culprits))]
    SignatureShare {
        /// Who.
        culprits: Vec<Participant>,
    },
    /// The share to sign with is not of the session's epoch or key.
    #[error("share: expected one of epoch {expected}, got one of epoch {got}, or of another key")]
    ShareEpoch {
        /// The session's.
        expected: Epoch,
        /// The share's.
        got: Epoch,
    },
    /// Too few helpers, or the lost one among them.
    #[error("repair: expected {threshold} or more helpers other than participant {lost}")]
    Helpers {
        /// The threshold.
        threshold: u16,
        /// Who lost its share.
        lost: Participant,
    },
    /// Helpers that disagree about the public shares, or agree on shares of no such key.
    #[error("repair: the public shares from participant {from} are not those of the group key")]
    PublicShares {
        /// Whose.
        from: Participant,
    },
    /// The helpers' values do not add up to the lost share.
    #[error("repair: what the helpers sent does not add up to the share")]
    Repaired,
    /// A share's bytes are not a share, or not one that fits its public shares.
    #[error("share: not the encoding of a share that fits its public shares")]
    ShareEncoding,
    /// The sealed share does not open as the one that is wanted.
    #[error("sealed share: does not open as the share that is wanted")]
    Sealed(#[source] OpenError),
    /// Sealing failed.
    #[error("sealed share: cannot be sealed")]
    Seal(#[source] SealError),
    /// Not one to [`MAX_VALUES`](crate::limits::MAX_VALUES) values, or not as many as the others'.
    #[error("sum: expected {expected} values, got {got}")]
    Values {
        /// How many, or the limit.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// What the FROST crate refuses though the checks here let it pass.
    #[error("frost: refused")]
    Frost(#[source] frost_ed25519::Error),
}

impl ThresholdError {
    /// The stable name of the rule that was broken.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::GroupSize { .. } => "group.size",
            Self::Participant { .. } => "participant.number",
            Self::NotAMember { .. } => "participant.member",
            Self::EpochsExhausted => "epoch.last",
            Self::MessageLength { .. } => "message.length",
            Self::MessageEncoding => "message.encoding",
            Self::MessageVersion { .. } => "message.version",
            Self::MessageGroup => "message.group",
            Self::MessageSession { .. } => "message.session",
            Self::MessageEpoch { .. } => "message.epoch",
            Self::MessageSender { .. } => "message.sender",
            Self::MessageRecipient { .. } => "message.recipient",
            Self::MessageOrder { .. } => "message.order",
            Self::MessageDuplicate { .. } => "message.duplicate",
            Self::RoundIncomplete { .. } => "round.incomplete",
            Self::Commitment { .. } => "dkg.commitment",
            Self::Proof { .. } => "dkg.proof",
            Self::Dealt { .. } => "dkg.share",
            Self::Broadcast { .. } => "dkg.broadcast",
            Self::Confirmation { .. } => "dkg.confirmation",
            Self::Signers { .. } => "sign.signers",
            Self::SignedLength { .. } => "sign.length",
            Self::Commitments => "sign.commitments",
            Self::SignatureShare { .. } => "sign.share",
            Self::ShareEpoch { .. } => "share.epoch",
            Self::Helpers { .. } => "repair.helpers",
            Self::PublicShares { .. } => "repair.public-shares",
            Self::Repaired => "repair.share",
            Self::ShareEncoding => "share.encoding",
            Self::Sealed(source) => source.rule(),
            Self::Seal(_) => "share.seal",
            Self::Values { .. } => "sum.values",
            Self::Frost(_) => "frost",
        }
    }

    /// Who is proved to have misbehaved. Empty where a fault cannot be told from a host's.
    #[must_use]
    pub fn culprits(&self) -> Vec<Participant> {
        match self {
            Self::Commitment { culprit } | Self::Proof { culprit } | Self::Dealt { culprit } => {
                vec![*culprit]
            }
            Self::SignatureShare { culprits } => culprits.clone(),
            _ => Vec::new(),
        }
    }
}

fn list(participants: &[Participant]) -> String {
    let numbers: Vec<_> = participants.iter().map(ToString::to_string).collect();
    numbers.join(", ")
}
