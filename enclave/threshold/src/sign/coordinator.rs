//! The side that asks, and signs too.

use std::collections::{BTreeMap, BTreeSet};

use frost_ed25519::{CheaterDetection, SigningPackage, round2};
use rand_core::CryptoRng;

use super::signer::{Nonces, package};
use super::{Points, Signature, check_message, check_signers};
use crate::error::ThresholdError;
use crate::group::{Participant, Session};
use crate::inbox::Inbox;
use crate::limits::MAX_APPROVAL;
use crate::share::Share;
use crate::wire::{self, Blob, Body, Octets, Outgoing};

/// What shall be signed, by whom.
pub struct Proposal {
    /// The message.
    pub message: Vec<u8>,
    /// The signers, the coordinator among them.
    pub signers: BTreeSet<Participant>,
    /// For each other signer, its owner's approval; empty where there is none.
    pub approvals: BTreeMap<Participant, Vec<u8>>,
}

/// The coordinator, waiting for all other signers' commitments.
pub struct Proposing {
    session: Session,
    message: Vec<u8>,
    nonces: Nonces,
    inbox: Inbox<Points>,
}

impl Proposing {
    /// Asks the signers. The coordinator's own nonces are drawn.
    ///
    /// # Errors
    /// [`ThresholdError::Signers`], [`ThresholdError::SignedLength`],
    /// [`ThresholdError::MessageLength`] (an approval), [`ThresholdError::ShareEpoch`].
    pub fn begin(
        session: Session,
        share: &Share,
        mut proposal: Proposal,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Vec<Outgoing>), ThresholdError> {
        check_signers(&session, &proposal.signers)?;
        check_message(&proposal.message)?;
        let too_long = proposal.approvals.values().find(|a| a.len() > MAX_APPROVAL);
        if let Some(approval) = too_long {
            return Err(ThresholdError::MessageLength {
                limit: MAX_APPROVAL,
                got: approval.len(),
            });
        }
        let nonces = Nonces::draw(&session, share, rng)?;
        let signers: Vec<_> = proposal.signers.iter().copied().collect();
        let mut others = proposal.signers;
        others.remove(&session.me);
        let mut send = Vec::new();
        for signer in &others {
            let body = Body::SignRequest {
                message: Blob(proposal.message.clone()),
                signers: signers.clone(),
                approval: Blob(proposal.approvals.remove(signer).unwrap_or_default()),
            };
            send.push(wire::seal(&session, *signer, body));
        }
        let proposing = Self {
            session,
            message: proposal.message,
            nonces,
            inbox: Inbox::new("a signer's commitments", others),
        };
        Ok((proposing, send))
    }

    /// Takes a signer's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::SignCommitment { hiding, binding } => Ok(Points { hiding, binding }),
                other => Err(other),
            })
    }

    /// Whether all other signers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// Signs, and tells the signers all commitments.
    ///
    /// # Errors
    /// A commitment is missing or no point of the group.
    pub fn package(self, share: &Share) -> Result<(Aggregating, Vec<Outgoing>), ThresholdError> {
        share.check(&self.session)?;
        let session = self.session;
        let mut commitments = self.inbox.finish()?;
        let others: BTreeSet<_> = commitments.keys().copied().collect();
        commitments.insert(session.me, self.nonces.points);
        let package = package(&self.message, &commitments)?;
        let own = self
            .nonces
            .sign(session.me, &package, &commitments, share)?;
        let listed: Vec<_> = commitments
            .iter()
            .map(|(who, points)| (*who, points.hiding, points.binding))
            .collect();
        let send = others
            .iter()
            .map(|signer| {
                let commitments = listed.clone();
                wire::seal(&session, *signer, Body::SignPackage { commitments })
            })
            .collect();
        let aggregating = Aggregating {
            session,
            package,
            own,
            inbox: Inbox::new("a signature share", others),
        };
        Ok((aggregating, send))
    }
}

/// The coordinator, waiting for all other signers' shares of the signature.
pub struct Aggregating {
    session: Session,
    package: SigningPackage,
    own: Octets<32>,
    inbox: Inbox<Octets<32>>,
}

impl Aggregating {
    /// Takes a signer's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::SignShare { share } => Ok(share),
                other => Err(other),
            })
    }

    /// Whether all other signers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// The signature, verified under the group key.
    ///
    /// # Errors
    /// [`ThresholdError::SignatureShare`] names every signer whose share is wrong.
    pub fn finish(self, share: &Share) -> Result<Signature, ThresholdError> {
        share.check(&self.session)?;
        let mut listed = self.inbox.finish()?;
        listed.insert(self.session.me, self.own);
        let mut shares = BTreeMap::new();
        let mut named = BTreeMap::new();
        let mut culprits = Vec::new();
        for (signer, bytes) in &listed {
            let identifier = signer.identifier()?;
            named.insert(identifier, *signer);
            match round2::SignatureShare::deserialize(&bytes.0) {
                Ok(share) => drop(shares.insert(identifier, share)),
                Err(_) => culprits.push(*signer),
            }
        }
        if !culprits.is_empty() {
            return Err(ThresholdError::SignatureShare { culprits });
        }
        let public = &share.public().package;
        let all = CheaterDetection::AllCheaters;
        let signature = frost_ed25519::aggregate_custom(&self.package, &shares, public, all)
            .map_err(|error| {
                let culprits = error.culprits();
                let culprits = culprits.iter().filter_map(|id| named.get(id).copied());
                match culprits.collect::<Vec<_>>() {
                    none if none.is_empty() => ThresholdError::Frost(error),
                    culprits => ThresholdError::SignatureShare { culprits },
                }
            })?;
        let bytes = signature.serialize().map_err(ThresholdError::Frost)?;
        let bytes = bytes.as_slice().try_into();
        bytes
            .map(Signature)
            .map_err(|_| ThresholdError::MessageEncoding)
    }
}
