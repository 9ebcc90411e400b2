//! Who takes part, in what, and when.

use std::collections::BTreeSet;
use std::fmt;

use frost_ed25519::Identifier;
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};

use crate::error::ThresholdError;
use crate::limits::MAX_PARTICIPANTS;

/// The number of a participant: 1 to n.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Participant(u16);

impl Participant {
    /// The participant of a number that is not 0.
    ///
    /// # Errors
    /// [`ThresholdError::Participant`]: 0 or beyond [`MAX_PARTICIPANTS`].
    pub const fn new(number: u16) -> Result<Self, ThresholdError> {
        match number {
            1..=MAX_PARTICIPANTS => Ok(Self(number)),
            got => Err(ThresholdError::Participant { got }),
        }
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The x-coordinate of the participant's share.
    pub(crate) fn identifier(self) -> Result<Identifier, ThresholdError> {
        Identifier::try_from(self.0).map_err(|_| ThresholdError::Participant { got: self.0 })
    }
}

impl TryFrom<u16> for Participant {
    type Error = ThresholdError;

    fn try_from(number: u16) -> Result<Self, ThresholdError> {
        Self::new(number)
    }
}

impl From<Participant> for u16 {
    fn from(participant: Participant) -> Self {
        participant.0
    }
}

impl fmt::Display for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How often the shares were exchanged: 0 before there are any, 1 after key generation, and one
/// more after each refresh.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Before the key exists.
    pub const NONE: Self = Self(0);

    /// The one after this.
    ///
    /// # Errors
    /// [`ThresholdError::EpochsExhausted`].
    pub fn next(self) -> Result<Self, ThresholdError> {
        let next = self.0.checked_add(1);
        next.map(Self).ok_or(ThresholdError::EpochsExhausted)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The agreed frame of everything: n participants, t of whom sign, and the hash of the document
/// that they agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group {
    threshold: u16,
    participants: u16,
    context: [u8; 48],
}

impl Group {
    /// t of n, under an agreement's SHA-384: the hash that is also the channels' session context.
    ///
    /// # Errors
    /// [`ThresholdError::GroupSize`] unless 2 ≤ t ≤ n ≤ [`MAX_PARTICIPANTS`].
    pub const fn new(
        threshold: u16,
        participants: u16,
        context: [u8; 48],
    ) -> Result<Self, ThresholdError> {
        if threshold < 2 || threshold > participants || participants > MAX_PARTICIPANTS {
            return Err(ThresholdError::GroupSize {
                threshold,
                participants,
            });
        }
        Ok(Self {
            threshold,
            participants,
            context,
        })
    }

    /// Two of three, the least that survives one loss.
    #[must_use]
    pub const fn two_of_three(context: [u8; 48]) -> Self {
        Self {
            threshold: 2,
            participants: 3,
            context,
        }
    }

    /// How many sign.
    #[must_use]
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// How many there are.
    #[must_use]
    pub const fn participants(&self) -> u16 {
        self.participants
    }

    /// The agreement's hash.
    #[must_use]
    pub const fn context(&self) -> &[u8; 48] {
        &self.context
    }

    /// All of them.
    #[must_use]
    pub fn members(&self) -> BTreeSet<Participant> {
        (1..=self.participants).map(Participant).collect()
    }

    /// Whether the participant is one of the group.
    #[must_use]
    pub const fn contains(&self, participant: Participant) -> bool {
        participant.0 <= self.participants
    }
}

/// What tells one run of a ceremony from all others: 32 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// Draws one.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let mut id = [0; 32];
        rng.fill_bytes(&mut id);
        Self(id)
    }

    /// One that a peer drew.
    #[must_use]
    pub const fn from_bytes(id: [u8; 32]) -> Self {
        Self(id)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// One run of a ceremony as one participant sees it.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) group: Group,
    pub(crate) id: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) me: Participant,
}

impl Session {
    /// A run among the members of a group: `epoch` and `key` are those of the shares that go into
    /// it; before key generation there are none.
    ///
    /// # Errors
    /// [`ThresholdError::NotAMember`]: `me` is not of the group.
    pub fn new(
        group: Group,
        id: SessionId,
        epoch: Epoch,
        key: Option<[u8; 32]>,
        me: Participant,
    ) -> Result<Self, ThresholdError> {
        if !group.contains(me) {
            return Err(ThresholdError::NotAMember { got: me });
        }
        Ok(Self {
            group,
            id,
            epoch,
            key,
            me,
        })
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// The run's id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The epoch of the shares that go in.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Which participant this is.
    #[must_use]
    pub const fn me(&self) -> Participant {
        self.me
    }

    /// All members but this one.
    pub(crate) fn peers(&self) -> BTreeSet<Participant> {
        let mut peers = self.group.members();
        peers.remove(&self.me);
        peers
    }
}
