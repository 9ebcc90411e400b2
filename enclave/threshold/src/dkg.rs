//! Key generation without a dealer: three rounds, all to all.
//!
//! ```text
//! Committing  commits to a secret polynomial, proves it     ── Commitment ──►
//! Dealing     checks all proofs, deals a part to each       ── Dealt ──────►   + hash of commitments
//! Confirming  checks all parts, compares the hashes         ── Confirmation ►  hash of the result
//!             a Share, when all peers confirm the same
//! ```
//!
//! FROST's key generation wants a broadcast channel, on which nobody can tell two peers two things.
//! Pairs of channels are none; so each dealer sends the hash over all commitments, its own and
//! those it was sent, and each receiver compares it with its own ([`ThresholdError::Broadcast`]).
//! No share comes out before all peers have confirmed the result. That parts go out before the hashes
//! are compared gives nobody anything: a part goes to its recipient alone, and when the hashes
//! differ the polynomial that it is of is dropped, and never dealt from again.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{self, SHA384};
use frost_ed25519::keys::dkg::{self, round1, round2};
use frost_ed25519::keys::{KeyPackage, PublicKeyPackage, SigningShare};
use frost_ed25519::{Identifier, Signature};
use rand_core::CryptoRng;

use crate::error::ThresholdError;
use crate::group::{Epoch, Participant, Session};
use crate::inbox::Inbox;
use crate::refresh::Old;
use crate::rng::Randomness;
use crate::share::{PublicShares, Share};
use crate::wire::{self, Body, Octets, Outgoing, Purpose, Secret};

/// Starts key generation.
///
/// # Errors
/// [`ThresholdError::MessageGroup`] if the session has a key already.
pub fn begin(
    session: Session,
    rng: &mut impl CryptoRng,
) -> Result<(Committing, Vec<Outgoing>), ThresholdError> {
    if session.key.is_some() || session.epoch != Epoch::NONE {
        return Err(ThresholdError::MessageGroup);
    }
    let group = session.group;
    let (secret, package) = dkg::part1(
        session.me.identifier()?,
        group.participants(),
        group.threshold(),
        Randomness(rng),
    )
    .map_err(ThresholdError::Frost)?;
    Committing::new(session, Method::Generate, secret, &package)
}

/// What the dealt secrets are for.
pub(crate) enum Method {
    Generate,
    Refresh(Box<Old>),
}

impl Method {
    const fn purpose(&self) -> Purpose {
        match self {
            Self::Generate => Purpose::Generate,
            Self::Refresh(_) => Purpose::Refresh,
        }
    }
}

/// What a dealer committed to, as it came.
struct Commitment {
    points: Vec<Octets<32>>,
    proof: Octets<64>,
}

/// Round 1: waiting for all peers' commitments.
pub struct Committing {
    session: Session,
    method: Method,
    secret: round1::SecretPackage,
    own: Commitment,
    inbox: Inbox<Commitment>,
}

impl Committing {
    pub(crate) fn new(
        session: Session,
        method: Method,
        secret: round1::SecretPackage,
        package: &round1::Package,
    ) -> Result<(Self, Vec<Outgoing>), ThresholdError> {
        let purpose = method.purpose();
        let own = Commitment::of(package)?;
        let send = session.peers().into_iter().map(|peer| {
            let (points, proof) = (own.points.clone(), own.proof);
            let body = Body::Commitment {
                purpose,
                points,
                proof,
            };
            wire::seal(&session, peer, body)
        });
        let send = send.collect();
        let inbox = Inbox::new(purpose.commitment(), session.peers());
        let round = Self {
            session,
            method,
            secret,
            own,
            inbox,
        };
        Ok((round, send))
    }

    /// Takes a peer's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        let wanted = self.method.purpose();
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::Commitment {
                    purpose,
                    points,
                    proof,
                } if purpose == wanted => Ok(Commitment { points, proof }),
                other => Err(other),
            })
    }

    /// Whether all peers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// Checks the proofs and deals.
    ///
    /// # Errors
    /// [`ThresholdError::Commitment`] or [`ThresholdError::Proof`], with the culprit.
    pub fn deal(self) -> Result<(Dealing, Vec<Outgoing>), ThresholdError> {
        let session = self.session;
        let purpose = self.method.purpose();
        let mut commitments = self.inbox.finish()?;
        let mut packages = BTreeMap::new();
        let length = self.own.points.len();
        for (peer, commitment) in &commitments {
            let package = commitment.package(length);
            let package = package.ok_or(ThresholdError::Commitment { culprit: *peer })?;
            packages.insert(peer.identifier()?, package);
        }
        commitments.insert(session.me, self.own);
        let hash = hash(&session, purpose, &commitments);
        let dealt = match &self.method {
            Method::Generate => dkg::part2(self.secret, &packages),
            Method::Refresh(_) => {
                frost_ed25519::keys::refresh::refresh_dkg_part2(self.secret, &packages)
            }
        };
        let (secret, parts) = dealt.map_err(|error| blame(&session, error))?;
        let mut send = Vec::new();
        for peer in session.peers() {
            let part = parts.get(&peer.identifier()?);
            let part = part.and_then(|part| Secret::take(part.signing_share().serialize()));
            let body = Body::Dealt {
                purpose,
                part: part.ok_or(ThresholdError::NotAMember { got: peer })?,
                commitments: hash,
            };
            send.push(wire::seal(&session, peer, body));
        }
        let inbox = Inbox::new(purpose.dealt(), session.peers());
        let round = Dealing {
            session,
            method: self.method,
            secret,
            packages,
            hash,
            inbox,
        };
        Ok((round, send))
    }
}

impl Commitment {
    fn of(package: &round1::Package) -> Result<Self, ThresholdError> {
        let points = package.commitment().serialize();
        let points = points.map_err(ThresholdError::Frost)?;
        let points: Option<Vec<_>> = points.iter().map(|point| Octets::take(point)).collect();
        let proof = package.proof_of_knowledge().serialize();
        let proof = Octets::take(&proof.map_err(ThresholdError::Frost)?);
        match (points, proof) {
            (Some(points), Some(proof)) => Ok(Self { points, proof }),
            _ => Err(ThresholdError::MessageEncoding),
        }
    }

    /// As many points of the group as one's own, and a proof.
    fn package(&self, length: usize) -> Option<round1::Package> {
        if self.points.len() != length {
            return None;
        }
        let points = self.points.iter().map(|point| point.0);
        let commitment =
            frost_ed25519::keys::VerifiableSecretSharingCommitment::deserialize(points).ok()?;
        let proof = Signature::deserialize(&self.proof.0).ok()?;
        Some(round1::Package::new(commitment, proof))
    }
}

/// What a dealer sent: a part, and what it was told itself.
struct Dealt {
    part: Secret,
    commitments: Octets<48>,
}

/// Round 2: waiting for all peers' parts.
pub struct Dealing {
    session: Session,
    method: Method,
    secret: round2::SecretPackage,
    packages: BTreeMap<Identifier, round1::Package>,
    hash: Octets<48>,
    inbox: Inbox<Dealt>,
}

impl Dealing {
    /// Takes a peer's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        let wanted = self.method.purpose();
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::Dealt {
                    purpose,
                    part,
                    commitments,
                } if purpose == wanted => Ok(Dealt { part, commitments }),
                other => Err(other),
            })
    }

    /// Whether all peers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// Checks the parts and computes the share, which stays here until all peers confirm.
    ///
    /// # Errors
    /// [`ThresholdError::Broadcast`], or [`ThresholdError::Dealt`] with the culprit.
    pub fn confirm(self) -> Result<(Confirming, Vec<Outgoing>), ThresholdError> {
        let session = self.session;
        let purpose = self.method.purpose();
        let dealt = self.inbox.finish()?;
        let mut parts = BTreeMap::new();
        for (peer, dealt) in &dealt {
            if dealt.commitments != self.hash {
                return Err(ThresholdError::Broadcast { peer: *peer });
            }
            let part = SigningShare::deserialize(&dealt.part.0);
            let part = part.map_err(|_| ThresholdError::Dealt { culprit: *peer })?;
            parts.insert(peer.identifier()?, round2::Package::new(part));
        }
        let epoch = session.epoch.next()?;
        let (package, public) = finish(self.method, &self.secret, &self.packages, &parts)
            .map_err(|error| blame(&session, error))?;
        let public = PublicShares::new(session.group, public)?;
        let share = Share::new(session.me, epoch, package, public)?;
        let result = share.public().hash(&session, epoch);
        let confirmation = || Body::Confirmation { purpose, result };
        let send = session
            .peers()
            .into_iter()
            .map(|peer| wire::seal(&session, peer, confirmation()))
            .collect();
        let inbox = Inbox::new(purpose.confirmation(), session.peers());
        let round = Confirming {
            session,
            purpose,
            share,
            result,
            inbox,
        };
        Ok((round, send))
    }
}

fn finish(
    method: Method,
    secret: &round2::SecretPackage,
    packages: &BTreeMap<Identifier, round1::Package>,
    parts: &BTreeMap<Identifier, round2::Package>,
) -> Result<(KeyPackage, PublicKeyPackage), frost_ed25519::Error> {
    match method {
        Method::Generate => dkg::part3(secret, packages, parts),
        Method::Refresh(old) => frost_ed25519::keys::refresh::refresh_dkg_shares(
            secret,
            packages,
            parts,
            old.public,
            old.package,
        ),
    }
}

/// Round 3: waiting for all peers to confirm the result.
pub struct Confirming {
    session: Session,
    purpose: Purpose,
    share: Share,
    result: Octets<48>,
    inbox: Inbox<Octets<48>>,
}

impl Confirming {
    /// Takes a peer's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        let wanted = self.purpose;
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::Confirmation { purpose, result } if purpose == wanted => Ok(result),
                other => Err(other),
            })
    }

    /// Whether all peers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// The share, if all peers have the same result.
    ///
    /// # Errors
    /// [`ThresholdError::Confirmation`].
    pub fn finish(self) -> Result<Share, ThresholdError> {
        let confirmations = self.inbox.finish()?;
        let other = confirmations.iter().find(|(_, got)| **got != self.result);
        match other {
            Some((peer, _)) => Err(ThresholdError::Confirmation { peer: *peer }),
            None => Ok(self.share),
        }
    }
}

/// SHA-384 over all commitments of the session, in the order of the participants.
fn hash(
    session: &Session,
    purpose: Purpose,
    commitments: &BTreeMap<Participant, Commitment>,
) -> Octets<48> {
    let mut hash = digest::Context::new(&SHA384);
    hash.update(b"anchorhold-threshold commitments v1");
    hash.update(purpose.commitment().as_bytes());
    hash.update(session.group.context());
    hash.update(session.id.as_bytes());
    for (participant, commitment) in commitments {
        hash.update(&participant.number().to_be_bytes());
        hash.update(&(commitment.points.len() as u64).to_be_bytes());
        commitment
            .points
            .iter()
            .for_each(|point| hash.update(&point.0));
        hash.update(&commitment.proof.0);
    }
    Octets::take(hash.finish().as_ref()).unwrap_or(Octets([0; 48]))
}

/// FROST's refusal, with the participant's number.
fn blame(session: &Session, error: frost_ed25519::Error) -> ThresholdError {
    let named = |identifier: &Identifier| {
        let mut members = session.group.members().into_iter();
        members.find(|who| who.identifier().is_ok_and(|id| id == *identifier))
    };

    match &error {
        frost_ed25519::Error::InvalidProofOfKnowledge { culprit } => {
            named(culprit).map(|culprit| ThresholdError::Proof { culprit })
        }
        frost_ed25519::Error::InvalidSecretShare {
            culprit: Some(culprit),
        } => named(culprit).map(|culprit| ThresholdError::Dealt { culprit }),
        _ => None,
    }
    .unwrap_or(ThresholdError::Frost(error))
}
