//! What a session is opened with: the first message of every ceremony.

use std::collections::BTreeSet;
use std::fmt::Debug;

use anchorhold_threshold::{Epoch, GroupKey, Participant, SessionId};
use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// Characters of what a peer told that a refusal shows.
const SHOWN: usize = 96;

/// What the lowest participant tells the others, in JSON. Each compares it with its own command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opening {
    ceremony: String,
    epoch: Epoch,
    key: Option<String>,
    members: BTreeSet<Participant>,
    session: String,
}

impl Opening {
    /// What a participant opens, or expects to be opened.
    pub fn new(
        ceremony: &str,
        epoch: Epoch,
        key: Option<&GroupKey>,
        members: &BTreeSet<Participant>,
        session: SessionId,
    ) -> Self {
        Self {
            ceremony: ceremony.to_owned(),
            epoch,
            key: key.map(GroupKey::to_string),
            members: members.clone(),
            session: session.to_string(),
        }
    }

    /// Its bytes.
    ///
    /// # Errors
    /// None that a peer could cause.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Refusal> {
        serde_json::to_vec(self).map_err(malformed)
    }

    /// Reads what a peer opens with; the channel bounds its length.
    ///
    /// # Errors
    /// `session.opening`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(bytes).map_err(malformed)
    }

    /// The session's id, which the one who opens it drew.
    ///
    /// # Errors
    /// `session.opening`: not 32 bytes in hex.
    pub fn session(&self) -> Result<SessionId, Refusal> {
        let mut id = [0; 32];
        hex::decode_to_slice(&self.session, &mut id).map_err(malformed)?;
        Ok(SessionId::from_bytes(id))
    }

    /// Whether a peer opens the same: the refusal says in what it differs.
    ///
    /// # Errors
    /// `session.opening`.
    pub fn check(&self, told: &Self, from: Participant) -> Result<(), Refusal> {
        let differs = |what: &str, expected: &dyn Debug, got: &dyn Debug| {
            let got: String = format!("{got:?}").chars().take(SHOWN).collect();
            let message =
                format!("{what}: expected {expected:?}, participant {from} opens with {got}");
            Err(Refusal::new("session.opening", message))
        };
        if self.ceremony != told.ceremony {
            return differs("ceremony", &self.ceremony, &told.ceremony);
        }
        if self.epoch != told.epoch {
            return differs("epoch", &self.epoch.0, &told.epoch.0);
        }
        if self.key != told.key {
            return differs("key", &self.key, &told.key);
        }
        if self.members != told.members {
            return differs("members", &self.members, &told.members);
        }
        Ok(())
    }
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::new("session.opening", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(number: u16) -> Participant {
        Participant::new(number).unwrap()
    }

    #[test]
    fn an_opening_that_differs_is_refused_by_what_differs() {
        let key = GroupKey([7; 32]);
        let all: BTreeSet<_> = [1, 2, 3].map(who).into();
        let pair: BTreeSet<_> = [1, 2].map(who).into();
        let id = SessionId::from_bytes([1; 32]);
        let opening = Opening::new("sign", Epoch(2), Some(&key), &all, id);
        let others = [
            (
                "ceremony",
                Opening::new("repair", Epoch(2), Some(&key), &all, id),
            ),
            (
                "epoch",
                Opening::new("sign", Epoch(1), Some(&key), &all, id),
            ),
            ("key", Opening::new("sign", Epoch(2), None, &all, id)),
            (
                "members",
                Opening::new("sign", Epoch(2), Some(&key), &pair, id),
            ),
        ];
        for (what, other) in others {
            let refusal = opening.check(&other, who(1)).unwrap_err();
            assert_eq!(refusal.rule, "session.opening");
            assert!(refusal.message.starts_with(what), "{}", refusal.message);
        }
        let long = Opening::new(&"x".repeat(60_000), Epoch(2), Some(&key), &all, id);
        let refusal = opening.check(&long, who(1)).unwrap_err();
        assert!(refusal.message.len() < 300, "a peer cannot fill the log");
        let again = Opening::parse(&opening.to_bytes().unwrap()).unwrap();
        assert_eq!(again.session().unwrap(), id);
        opening.check(&again, who(1)).unwrap();
    }

    #[test]
    fn openings_that_are_none() {
        let member =
            r#"{"ceremony":"dkg","epoch":0,"key":null,"members":[MEMBERS],"session":"SESSION"}"#;
        let with = |members: &str, session: &str| {
            let text = member
                .replace("MEMBERS", members)
                .replace("SESSION", session);
            Opening::parse(text.as_bytes()).and_then(|opening| opening.session())
        };
        let session = "ab".repeat(32);
        assert!(with("1,2", &session).is_ok());
        for (members, session) in [("0", &*session), ("33", &session), ("1", "ab"), ("1", "")] {
            let rule = with(members, session).unwrap_err().rule;
            assert_eq!(rule, "session.opening", "{members} {session}");
        }
        assert!(Opening::parse(b"{}").is_err());
        assert!(Opening::parse(&[b'['; 100_000]).is_err());
    }
}
