//! One message from each peer of a round.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::ThresholdError;
use crate::group::{Participant, Session};
use crate::wire::{self, Body};

/// Collects the messages of one round.
pub(crate) struct Inbox<T> {
    kind: &'static str,
    expected: BTreeSet<Participant>,
    received: BTreeMap<Participant, T>,
}

impl<T> Inbox<T> {
    pub fn new(kind: &'static str, expected: BTreeSet<Participant>) -> Self {
        Self {
            kind,
            expected,
            received: BTreeMap::new(),
        }
    }

    /// Takes the peer's message. `take` gives back a body of another kind. After a refusal the
    /// round stands as it stood.
    pub fn receive(
        &mut self,
        session: &Session,
        peer: Participant,
        bytes: &[u8],
        take: impl FnOnce(Body) -> Result<T, Body>,
    ) -> Result<(), ThresholdError> {
        if !self.expected.contains(&peer) {
            return Err(ThresholdError::NotAMember { got: peer });
        }
        let body = wire::open(session, peer, bytes)?;
        let value = take(body).map_err(|other| ThresholdError::MessageOrder {
            expected: self.kind,
            got: other.kind(),
        })?;
        if self.received.contains_key(&peer) {
            let (from, kind) = (peer, self.kind);
            return Err(ThresholdError::MessageDuplicate { from, kind });
        }
        self.received.insert(peer, value);
        Ok(())
    }

    /// Whether all have sent theirs.
    pub fn is_complete(&self) -> bool {
        self.received.len() == self.expected.len()
    }

    /// All messages, or who is missing.
    pub fn finish(self) -> Result<BTreeMap<Participant, T>, ThresholdError> {
        let missing = self
            .expected
            .iter()
            .find(|p| !self.received.contains_key(p));
        match missing {
            Some(missing) => Err(ThresholdError::RoundIncomplete {
                missing: *missing,
                kind: self.kind,
            }),
            None => Ok(self.received),
        }
    }
}
