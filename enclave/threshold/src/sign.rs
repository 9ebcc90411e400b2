//! A signature by t members or more, in two rounds.
//!
//! ```text
//! coordinator (one of the signers)                                          each other signer
//! Proposing     ── SignRequest: message, signers, approval ──►   Request → approved? → Committed
//!               ◄── SignCommitment ──
//! Aggregating   ── SignPackage: all commitments ──►              Committed::sign (nonces are gone)
//!               ◄── SignShare ──
//!               a signature that verifies, or the culprits
//! ```
//!
//! Nonces exist in [`Committed`] only. It cannot be cloned, printed, stored or sent; to sign takes
//! it by value, so that a second signature with them does not compile:
//!
//! ```compile_fail,E0382
//! # fn f(committed: anchorhold_threshold::sign::Committed, share: &anchorhold_threshold::Share,
//! #      peer: anchorhold_threshold::Participant, one: &[u8], two: &[u8]) {
//! let first = committed.sign(peer, one, share);
//! let second = committed.sign(peer, two, share); // value used after it was moved
//! # }
//! ```
//!
//! ```compile_fail,E0599
//! # fn f(committed: anchorhold_threshold::sign::Committed) {
//! let copy = committed.clone(); // there is no such method
//! # }
//! ```

mod coordinator;
mod signer;

pub use coordinator::{Aggregating, Proposal, Proposing};
pub use signer::{Committed, Request};

use std::collections::BTreeSet;

use frost_ed25519::round1::{self, NonceCommitment, SigningCommitments};

use crate::error::ThresholdError;
use crate::group::{Participant, Session};
use crate::limits::MAX_SIGNED;
use crate::wire::Octets;

/// An Ed25519 signature (RFC 8032 §5.1.6): R ‖ S.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// A set of signers that can sign: members, t or more, this participant among them.
fn check_signers(session: &Session, signers: &BTreeSet<Participant>) -> Result<(), ThresholdError> {
    let group = session.group;
    let enough = signers.len() >= usize::from(group.threshold());
    if !enough || !signers.contains(&session.me) || !signers.iter().all(|s| group.contains(*s)) {
        return Err(ThresholdError::Signers {
            threshold: group.threshold(),
            me: session.me,
        });
    }
    Ok(())
}

fn check_message(message: &[u8]) -> Result<(), ThresholdError> {
    match message.len() {
        got if got > MAX_SIGNED => Err(ThresholdError::SignedLength {
            limit: MAX_SIGNED,
            got,
        }),
        _ => Ok(()),
    }
}

/// A signer's two points.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Points {
    hiding: Octets<32>,
    binding: Octets<32>,
}

impl Points {
    fn of(nonces: &round1::SigningNonces) -> Result<Self, ThresholdError> {
        let commitments = nonces.commitments();
        let point = |commitment: &NonceCommitment| {
            let bytes = commitment.serialize().map_err(ThresholdError::Frost)?;
            Octets::take(&bytes).ok_or(ThresholdError::MessageEncoding)
        };
        Ok(Self {
            hiding: point(commitments.hiding())?,
            binding: point(commitments.binding())?,
        })
    }

    fn commitments(&self) -> Result<SigningCommitments, ThresholdError> {
        let point = |bytes: &Octets<32>| {
            NonceCommitment::deserialize(&bytes.0).map_err(|_| ThresholdError::Commitments)
        };
        Ok(SigningCommitments::new(
            point(&self.hiding)?,
            point(&self.binding)?,
        ))
    }
}
