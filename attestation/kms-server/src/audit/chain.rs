//! The hash chain over audit events, and the seal on each link.
//!
//! ```text
//! hash(0) = 32 zero bytes
//! hash(n) = SHA-256("anchorhold audit v1\n" ‖ n as u64 big-endian ‖ hash(n-1) ‖ event(n))
//! seal(n) = HMAC-SHA-256(audit key, "anchorhold audit seal v1\n" ‖ hash(n))
//! ```
//!
//! `event(n)` is the event's JSON exactly as it is stored and exported. The hashes
//! can be checked by anybody who has an export; the seals need the audit key, which
//! is wrapped under the root key, so that somebody who can write the table only
//! cannot compute a new chain. Neither shows that events at the end are missing:
//! for that, keep a head from time to time and give it to `audit verify --expect`.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

const LINK_DOMAIN: &[u8] = b"anchorhold audit v1\n";
const SEAL_DOMAIN: &[u8] = b"anchorhold audit seal v1\n";

/// The place of one event in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Number of the event, from 1; 0 is before the first.
    pub sequence: i64,
    /// Hash over this event and, through its predecessor, all earlier ones.
    pub hash: [u8; 32],
}

impl Link {
    /// What the first event follows.
    pub const GENESIS: Self = Self {
        sequence: 0,
        hash: [0; 32],
    };

    /// The link of `event` after this one.
    pub fn next(&self, event: &str) -> Self {
        let sequence = self.sequence.saturating_add(1);
        let hash = Sha256::new()
            .chain_update(LINK_DOMAIN)
            .chain_update(sequence.to_be_bytes())
            .chain_update(self.hash)
            .chain_update(event.as_bytes())
            .finalize();
        Self {
            sequence,
            hash: hash.into(),
        }
    }
}

/// The key of the seals.
pub struct Sealer(Zeroizing<[u8; 32]>);

impl Sealer {
    /// Takes the audit key.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self(key)
    }

    /// The seal of a link.
    pub fn seal(&self, link: &Link) -> [u8; 32] {
        // RFC 2104 takes keys of any length, so `new_from_slice` has no error to give.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) else {
            unreachable!("HMAC takes keys of every length")
        };
        mac.update(SEAL_DOMAIN);
        mac.update(&link.hash);
        mac.finalize().into_bytes().into()
    }

    /// Whether `seal` is the seal of this link. In constant time.
    pub fn fits(&self, link: &Link, seal: &[u8]) -> bool {
        bool::from(self.seal(link).ct_eq(seal))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_part_counts() {
        let one = Link::GENESIS.next("{}");
        assert_ne!(one.hash, Link::GENESIS.next("[]").hash);
        assert_ne!(
            one.hash,
            Link {
                sequence: 1,
                ..Link::GENESIS
            }
            .next("{}")
            .hash
        );
        assert_ne!(one.next("{}").hash, Link::GENESIS.next("").next("{}").hash);
    }

    #[test]
    fn another_key_makes_another_seal() {
        let link = Link::GENESIS.next("{}");
        let [a, b] = [[1; 32], [2; 32]].map(|key| Sealer::new(Zeroizing::new(key)));
        assert!(a.fits(&link, &a.seal(&link)));
        assert!(!b.fits(&link, &a.seal(&link)));
        assert!(!a.fits(&link, b""));
    }

    /// The formula of the module's documentation, computed with Python's hashlib.
    #[test]
    fn the_chain_is_the_documented_one() {
        let one = Link::GENESIS.next("{\"a\":1}");
        assert_eq!(
            hex::encode(one.hash),
            "2d04f6e2797a220392a4ceaffdc121aa93c47a8fb27e53f6cad7bafcf887ac68"
        );
    }

    proptest! {
        #[test]
        fn a_changed_event_changes_every_later_hash(
            events in proptest::collection::vec("[a-z]{0,8}", 1..8),
            index in any::<prop::sample::Index>(),
        ) {
            let chain = |events: &[String]| events.iter().fold(Link::GENESIS, |link, e| link.next(e));
            let mut changed = events.clone();
            let at = index.index(changed.len());
            changed[at].push('!');
            prop_assert_ne!(chain(&events).hash, chain(&changed).hash);
        }
    }
}
