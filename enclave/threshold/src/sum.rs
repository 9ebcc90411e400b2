//! Sums over inputs that nobody sees: additive sharing modulo 2¹²⁸.
//!
//! Each owner splits its own values ([`split`]), outside every enclave, into one [`Piece`] per
//! participant, and gives each participant's enclave that piece alone. All pieces but one are
//! uniform random numbers and the last is what is missing, so that any n − 1 of them, in whatever
//! hands, say nothing. Each enclave adds what it was given ([`Gathering`]), once per owner, and all
//! tell each other their partial sums ([`Exchanging`]), which add up to the sum of the values.
//!
//! What an enclave sees beside its own pieces are n − 1 partial sums, uniform but for their total.
//! So an enclave, or all but one together, learn the sums and what follows from the sums and no
//! more. That no sum is asked for that gives a single owner away (two runs that differ by one
//! owner, a group of two) is for the owners to decide; every owner is in every sum here.

use std::collections::{BTreeMap, BTreeSet};

use rand_core::CryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::error::ThresholdError;
use crate::group::{Group, Participant, Session};
use crate::inbox::Inbox;
use crate::limits::MAX_VALUES;
use crate::wire::{self, Body, Octets, Outgoing};

/// One participant's piece of one owner's values. No `Debug`; zeroized when dropped.
#[derive(Zeroize, ZeroizeOnDrop, PartialEq, Eq)]
pub struct Piece(Vec<u128>);

impl Piece {
    /// The piece's bytes: 16 for each value, big-endian.
    #[must_use]
    pub fn to_bytes(&self) -> zeroize::Zeroizing<Vec<u8>> {
        let mut bytes = zeroize::Zeroizing::new(Vec::with_capacity(self.0.len() * 16));
        for value in &self.0 {
            bytes.extend_from_slice(&value.to_be_bytes());
        }
        bytes
    }

    /// Reads a piece.
    ///
    /// # Errors
    /// [`ThresholdError::Values`]: no values, more than [`MAX_VALUES`], or a broken one.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ThresholdError> {
        let (values, rest) = bytes.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(ThresholdError::Values {
                expected: values.len(),
                got: values.len() + 1,
            });
        }
        check_length(values.len())?;
        Ok(Self(
            values.iter().map(|v| u128::from_be_bytes(*v)).collect(),
        ))
    }

    /// How many values it is a piece of.
    #[must_use]
    pub fn values(&self) -> usize {
        self.0.len()
    }
}

/// Splits an owner's values into a piece for each participant.
///
/// # Errors
/// [`ThresholdError::Values`]: no values, or more than [`MAX_VALUES`].
pub fn split(
    group: &Group,
    values: &[u128],
    rng: &mut impl CryptoRng,
) -> Result<BTreeMap<Participant, Piece>, ThresholdError> {
    check_length(values.len())?;
    let mut rest = values.to_vec();
    let mut members: Vec<_> = group.members().into_iter().collect();
    let last = members.pop();
    let mut pieces = BTreeMap::new();
    for member in members {
        let random: Vec<u128> = values.iter().map(|_| random(rng)).collect();
        for (rest, random) in rest.iter_mut().zip(&random) {
            *rest = rest.wrapping_sub(*random);
        }
        pieces.insert(member, Piece(random));
    }
    if let Some(last) = last {
        pieces.insert(last, Piece(rest));
    }
    Ok(pieces)
}

fn random(rng: &mut impl CryptoRng) -> u128 {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    u128::from_be_bytes(bytes)
}

fn check_length(got: usize) -> Result<(), ThresholdError> {
    match got {
        1..=MAX_VALUES => Ok(()),
        got => Err(ThresholdError::Values {
            expected: MAX_VALUES,
            got,
        }),
    }
}

/// An enclave, waiting for each owner's piece. The owners are the participants'.
pub struct Gathering {
    session: Session,
    values: usize,
    given: BTreeSet<Participant>,
    sums: Piece,
}

impl Gathering {
    /// Waits for pieces of so many values.
    ///
    /// # Errors
    /// [`ThresholdError::Values`].
    pub fn begin(session: Session, values: usize) -> Result<Self, ThresholdError> {
        check_length(values)?;
        Ok(Self {
            session,
            values,
            given: BTreeSet::new(),
            sums: Piece(vec![0; values]),
        })
    }

    /// Adds an owner's piece.
    ///
    /// # Errors
    /// [`ThresholdError::NotAMember`], [`ThresholdError::MessageDuplicate`],
    /// [`ThresholdError::Values`]; nothing is added then.
    pub fn add(&mut self, owner: Participant, piece: &Piece) -> Result<(), ThresholdError> {
        if !self.session.group.contains(owner) {
            return Err(ThresholdError::NotAMember { got: owner });
        }
        if self.given.contains(&owner) {
            let (from, kind) = (owner, "a piece of the values");
            return Err(ThresholdError::MessageDuplicate { from, kind });
        }
        if piece.values() != self.values {
            let (expected, got) = (self.values, piece.values());
            return Err(ThresholdError::Values { expected, got });
        }
        self.given.insert(owner);
        accumulate(&mut self.sums.0, piece.0.iter().copied());
        Ok(())
    }

    /// Tells all peers the partial sums.
    ///
    /// # Errors
    /// [`ThresholdError::RoundIncomplete`]: an owner's piece is missing.
    pub fn exchange(self) -> Result<(Exchanging, Vec<Outgoing>), ThresholdError> {
        let members = self.session.group.members();
        if let Some(missing) = members.difference(&self.given).next() {
            return Err(ThresholdError::RoundIncomplete {
                missing: *missing,
                kind: "a piece of the values",
            });
        }
        let sums = || self.sums.0.iter().map(|sum| Octets(sum.to_be_bytes()));
        let peers = self.session.peers();
        let send = peers.iter().map(|peer| {
            let sums = sums().collect();
            wire::seal(&self.session, *peer, Body::Partial { sums })
        });
        let send = send.collect();
        let exchanging = Exchanging {
            session: self.session,
            own: self.sums,
            inbox: Inbox::new("partial sums", peers),
        };
        Ok((exchanging, send))
    }
}

/// An enclave, waiting for all peers' partial sums.
pub struct Exchanging {
    session: Session,
    own: Piece,
    inbox: Inbox<Vec<Octets<16>>>,
}

impl Exchanging {
    /// Takes a peer's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::Partial { sums } => Ok(sums),
                other => Err(other),
            })
    }

    /// Whether all peers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// The sums modulo 2¹²⁸.
    ///
    /// # Errors
    /// [`ThresholdError::Values`]: a peer told more or fewer sums.
    pub fn finish(self) -> Result<Vec<u128>, ThresholdError> {
        let mut total = self.own.0.clone();
        for sums in self.inbox.finish()?.values() {
            if sums.len() != total.len() {
                return Err(ThresholdError::Values {
                    expected: total.len(),
                    got: sums.len(),
                });
            }
            accumulate(
                &mut total,
                sums.iter().map(|sum| u128::from_be_bytes(sum.0)),
            );
        }
        Ok(total)
    }
}

fn accumulate(sums: &mut [u128], values: impl Iterator<Item = u128>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum = sum.wrapping_add(value);
    }
}
