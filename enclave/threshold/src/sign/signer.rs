//! The side that is asked.

use std::collections::{BTreeMap, BTreeSet};

use frost_ed25519::round1::SigningNonces;
use frost_ed25519::{SigningPackage, round1, round2};
use rand_core::CryptoRng;

use super::{Points, check_message, check_signers};
use crate::error::ThresholdError;
use crate::group::{Participant, Session};
use crate::rng::Randomness;
use crate::share::Share;
use crate::wire::{self, Body, Octets, Outgoing};

/// A request that came from a coordinator. Nothing is committed yet.
pub struct Request {
    session: Session,
    coordinator: Participant,
    message: Vec<u8>,
    signers: BTreeSet<Participant>,
    approval: Vec<u8>,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// It is none, or its signers cannot sign.
    pub fn read(
        session: Session,
        coordinator: Participant,
        bytes: &[u8],
    ) -> Result<Self, ThresholdError> {
        if !session.peers().contains(&coordinator) {
            return Err(ThresholdError::NotAMember { got: coordinator });
        }
        let (message, listed, approval) = match wire::open(&session, coordinator, bytes)? {
            Body::SignRequest {
                message,
                signers,
                approval,
            } => (message.0, signers, approval.0),
            other => {
                return Err(ThresholdError::MessageOrder {
                    expected: "a request to sign",
                    got: other.kind(),
                });
            }
        };
        check_message(&message)?;
        let signers: BTreeSet<_> = listed.iter().copied().collect();
        check_signers(&session, &signers)?;
        if signers.len() != listed.len() || !signers.contains(&coordinator) {
            return Err(ThresholdError::Signers {
                threshold: session.group.threshold(),
                me: session.me,
            });
        }
        Ok(Self {
            session,
            coordinator,
            message,
            signers,
            approval,
        })
    }

    /// What shall be signed.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Who shall sign it.
    #[must_use]
    pub const fn signers(&self) -> &BTreeSet<Participant> {
        &self.signers
    }

    /// What this participant's owner is said to have approved it with. **Check it before
    /// [`commit`](Self::commit)**: a group whose enclaves sign what any coordinator asks for is a
    /// signing oracle for every host.
    #[must_use]
    pub fn approval(&self) -> &[u8] {
        &self.approval
    }

    /// Draws the nonces and commits to them.
    ///
    /// # Errors
    /// [`ThresholdError::ShareEpoch`].
    pub fn commit(
        self,
        share: &Share,
        rng: &mut impl CryptoRng,
    ) -> Result<(Committed, Outgoing), ThresholdError> {
        let nonces = Nonces::draw(&self.session, share, rng)?;
        let Points { hiding, binding } = nonces.points;
        let body = Body::SignCommitment { hiding, binding };
        let send = wire::seal(&self.session, self.coordinator, body);
        let committed = Committed {
            session: self.session,
            coordinator: self.coordinator,
            message: self.message,
            signers: self.signers,
            nonces,
        };
        Ok((committed, send))
    }
}

/// A signer that has committed to nonces, which are in here and nowhere else.
pub struct Committed {
    session: Session,
    coordinator: Participant,
    message: Vec<u8>,
    signers: BTreeSet<Participant>,
    nonces: Nonces,
}

impl Committed {
    /// Signs with the nonces, or refuses; either way they are gone.
    ///
    /// # Errors
    /// The package is not of this request: [`ThresholdError::Commitments`] and those of messages.
    pub fn sign(
        self,
        peer: Participant,
        bytes: &[u8],
        share: &Share,
    ) -> Result<Outgoing, ThresholdError> {
        share.check(&self.session)?;
        if peer != self.coordinator {
            return Err(ThresholdError::NotAMember { got: peer });
        }
        let listed = match wire::open(&self.session, peer, bytes)? {
            Body::SignPackage { commitments } => commitments,
            other => {
                return Err(ThresholdError::MessageOrder {
                    expected: "all signers' commitments",
                    got: other.kind(),
                });
            }
        };
        let commitments: BTreeMap<_, _> = listed
            .iter()
            .map(|(who, hiding, binding)| {
                let (hiding, binding) = (*hiding, *binding);
                (*who, Points { hiding, binding })
            })
            .collect();
        let named: BTreeSet<_> = commitments.keys().copied().collect();
        if listed.len() != commitments.len() || named != self.signers {
            return Err(ThresholdError::Commitments);
        }
        let me = self.session.me;
        let package = package(&self.message, &commitments)?;
        let share = self.nonces.sign(me, &package, &commitments, share)?;
        let body = Body::SignShare { share };
        Ok(wire::seal(&self.session, peer, body))
    }
}

/// Nonces of one signature: zeroized when dropped.
pub(super) struct Nonces {
    secret: SigningNonces,
    pub points: Points,
}

impl Nonces {
    pub fn draw(
        session: &Session,
        share: &Share,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ThresholdError> {
        share.check(session)?;
        let (secret, _) = round1::commit(share.package.signing_share(), &mut Randomness(rng));
        let points = Points::of(&secret)?;
        Ok(Self { secret, points })
    }

    /// The signature share; takes the nonces.
    pub fn sign(
        self,
        me: Participant,
        package: &SigningPackage,
        commitments: &BTreeMap<Participant, Points>,
        share: &Share,
    ) -> Result<Octets<32>, ThresholdError> {
        if commitments.get(&me) != Some(&self.points) {
            return Err(ThresholdError::Commitments);
        }
        let signed = round2::sign(package, &self.secret, &share.package);
        let signed = signed.map_err(ThresholdError::Frost)?.serialize();
        Octets::take(&signed).ok_or(ThresholdError::MessageEncoding)
    }
}

/// FROST's signing package.
pub(super) fn package(
    message: &[u8],
    commitments: &BTreeMap<Participant, Points>,
) -> Result<SigningPackage, ThresholdError> {
    let mut points = BTreeMap::new();
    for (participant, commitment) in commitments {
        points.insert(participant.identifier()?, commitment.commitments()?);
    }
    Ok(SigningPackage::new(points, message))
}
