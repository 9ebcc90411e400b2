//! A participant's share of the key, and what everyone may know of all shares.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::digest::{self, SHA384};
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity;
use frost_ed25519::VerifyingKey;
use frost_ed25519::keys::{KeyPackage, PublicKeyPackage, SigningShare, VerifyingShare};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::ThresholdError;
use crate::group::{Epoch, Group, Participant, Session};
use crate::limits::MAX_SHARE;
use crate::wire::{Octets, Secret, encode, from_canonical};

/// The public key of a group: an ordinary Ed25519 public key (RFC 8032 §5.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupKey(pub [u8; 32]);

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupKey({self})")
    }
}

/// The public side of all shares of one epoch: the group key, and for each participant the point
/// that its share is the logarithm of. Not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicShares {
    pub(crate) package: PublicKeyPackage,
    group: Group,
    key: GroupKey,
    points: BTreeMap<Participant, [u8; 32]>,
}

impl PublicShares {
    /// Takes what FROST computed, and checks that it is a sharing of its key: all points on one
    /// polynomial of degree t − 1 whose value at 0 is the group key.
    pub(crate) fn new(group: Group, package: PublicKeyPackage) -> Result<Self, ThresholdError> {
        let bytes = package.verifying_key().serialize();
        let key = exactly(&bytes.map_err(ThresholdError::Frost)?)?;
        let mut points = BTreeMap::new();
        for participant in group.members() {
            let point = package
                .verifying_shares()
                .get(&participant.identifier()?)
                .ok_or(ThresholdError::ShareEncoding)?;
            let bytes = point.serialize().map_err(ThresholdError::Frost)?;
            points.insert(participant, exactly(&bytes)?);
        }
        let public = Self {
            package,
            group,
            key: GroupKey(key),
            points,
        };
        public.check()?;
        Ok(public)
    }

    /// Takes what a peer, or a share at rest, says.
    pub(crate) fn from_points(
        group: Group,
        key: GroupKey,
        threshold: u16,
        points: &[(Participant, Octets<32>)],
    ) -> Result<Self, ThresholdError> {
        let members: Vec<_> = group.members().into_iter().collect();
        let named: Vec<_> = points.iter().map(|(participant, _)| *participant).collect();
        if threshold != group.threshold() || named != members {
            return Err(ThresholdError::ShareEncoding);
        }
        let mut shares = BTreeMap::new();
        for (participant, point) in points {
            let share = VerifyingShare::deserialize(&point.0);
            let share = share.map_err(|_| ThresholdError::ShareEncoding)?;
            shares.insert(participant.identifier()?, share);
        }
        let verifying_key =
            VerifyingKey::deserialize(&key.0).map_err(|_| ThresholdError::ShareEncoding)?;
        let package = PublicKeyPackage::new(shares, verifying_key, Some(group.threshold()));
        Self::new(group, package)
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> &Group {
        &self.group
    }

    /// The group key.
    #[must_use]
    pub const fn key(&self) -> GroupKey {
        self.key
    }

    /// A participant's point, compressed.
    #[must_use]
    pub fn point(&self, participant: Participant) -> Option<&[u8; 32]> {
        self.points.get(&participant)
    }

    pub(crate) fn points(&self) -> Vec<(Participant, Octets<32>)> {
        let points = self.points.iter();
        points.map(|(who, point)| (*who, Octets(*point))).collect()
    }

    /// SHA-384 over key and points: what tells this sharing of the key from all others.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 48] {
        let mut hash = digest::Context::new(&SHA384);
        hash.update(b"anchorhold-threshold sharing v1");
        self.update(&mut hash);
        Octets::take(hash.finish().as_ref()).map_or([0; 48], |hash| hash.0)
    }

    fn update(&self, hash: &mut digest::Context) {
        hash.update(self.group.context());
        hash.update(&self.group.threshold().to_be_bytes());
        hash.update(&self.group.participants().to_be_bytes());
        hash.update(&self.key.0);
        self.points.values().for_each(|point| hash.update(point));
    }

    /// SHA-384 over all of it in one session, for peers to compare.
    pub(crate) fn hash(&self, session: &Session, epoch: Epoch) -> Octets<48> {
        let mut hash = digest::Context::new(&SHA384);
        hash.update(b"anchorhold-threshold public shares v1");
        hash.update(session.id().as_bytes());
        hash.update(&epoch.0.to_be_bytes());
        self.update(&mut hash);
        Octets::take(hash.finish().as_ref()).unwrap_or(Octets([0; 48]))
    }

    /// Lagrange interpolation in the exponent: the first t points determine the key and all
    /// further points.
    fn check(&self) -> Result<(), ThresholdError> {
        let mut points = Vec::new();
        for (participant, bytes) in &self.points {
            let point = CompressedEdwardsY(*bytes).decompress();
            points.push((*participant, point.ok_or(ThresholdError::ShareEncoding)?));
        }
        let (base, rest) = points
            .split_at_checked(usize::from(self.group.threshold()))
            .ok_or(ThresholdError::ShareEncoding)?;
        let key = CompressedEdwardsY(self.key.0).decompress();
        let at_zero = key.is_some_and(|key| interpolate(base, 0) == key);
        let further =
            |(who, point): &(Participant, EdwardsPoint)| interpolate(base, who.number()) == *point;
        match at_zero && rest.iter().all(further) {
            true => Ok(()),
            false => Err(ThresholdError::ShareEncoding),
        }
    }
}

/// The value at `x` of the polynomial through the points.
fn interpolate(points: &[(Participant, EdwardsPoint)], x: u16) -> EdwardsPoint {
    let x = Scalar::from(x);
    let mut value = EdwardsPoint::identity();
    for (i, point) in points {
        let (mut over, mut under) = (Scalar::ONE, Scalar::ONE);
        for (j, _) in points.iter().filter(|(j, _)| j != i) {
            over *= x - Scalar::from(j.number());
            under *= Scalar::from(i.number()) - Scalar::from(j.number());
        }
        value += point * (over * under.invert());
    }
    value
}

/// A participant's share of one epoch. No `Debug`, no `Clone`; zeroized when dropped.
pub struct Share {
    pub(crate) package: KeyPackage,
    pub(crate) public: PublicShares,
    participant: Participant,
    epoch: Epoch,
}

impl Share {
    /// Takes what FROST computed; the secret has to be the logarithm of the public point.
    pub(crate) fn new(
        participant: Participant,
        epoch: Epoch,
        package: KeyPackage,
        public: PublicShares,
    ) -> Result<Self, ThresholdError> {
        let own = VerifyingShare::from(*package.signing_share());
        let point = exactly(&own.serialize().map_err(ThresholdError::Frost)?)?;
        if public.point(participant) != Some(&point) {
            return Err(ThresholdError::ShareEncoding);
        }
        Ok(Self {
            package,
            public,
            participant,
            epoch,
        })
    }

    /// Whose it is.
    #[must_use]
    pub const fn participant(&self) -> Participant {
        self.participant
    }

    /// Its epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The group key.
    #[must_use]
    pub const fn key(&self) -> GroupKey {
        self.public.key()
    }

    /// The public side of all shares of this epoch.
    #[must_use]
    pub const fn public(&self) -> &PublicShares {
        &self.public
    }

    /// Whether it is the share that a session is about.
    pub(crate) fn check(&self, session: &Session) -> Result<(), ThresholdError> {
        let same = self.epoch == session.epoch
            && session.key == Some(self.key().0)
            && session.group == *self.public.group()
            && session.me == self.participant;
        match same {
            true => Ok(()),
            false => Err(ThresholdError::ShareEpoch {
                expected: session.epoch,
                got: self.epoch,
            }),
        }
    }

    /// The share's bytes, to be sealed ([`seal`](crate::seal)) and nothing else.
    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>, ThresholdError> {
        let group = self.public.group();
        let secret = Secret::take(self.package.signing_share().serialize());
        Ok(encode(&AtRest {
            version: AT_REST,
            group: Octets(*group.context()),
            threshold: group.threshold(),
            participants: group.participants(),
            participant: self.participant,
            epoch: self.epoch,
            key: Octets(self.key().0),
            points: self.public.points(),
            secret: secret.ok_or(ThresholdError::ShareEncoding)?,
        }))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote, and checks that it is a share of its key.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, ThresholdError> {
        if bytes.len() > MAX_SHARE {
            return Err(ThresholdError::ShareEncoding);
        }
        let at_rest: AtRest = from_canonical(bytes).ok_or(ThresholdError::ShareEncoding)?;
        if at_rest.version != AT_REST {
            return Err(ThresholdError::ShareEncoding);
        }
        let (t, n) = (at_rest.threshold, at_rest.participants);
        let group = Group::new(t, n, at_rest.group.0)?;
        let key = GroupKey(at_rest.key.0);
        let public = PublicShares::from_points(group, key, t, &at_rest.points)?;
        let secret = SigningShare::deserialize(&at_rest.secret.0);
        let secret = secret.map_err(|_| ThresholdError::ShareEncoding)?;
        let package = KeyPackage::new(
            at_rest.participant.identifier()?,
            secret,
            VerifyingShare::from(secret),
            *public.package.verifying_key(),
            group.threshold(),
        );
        Self::new(at_rest.participant, at_rest.epoch, package, public)
    }
}

/// Version of the layout at rest.
const AT_REST: u8 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AtRest {
    version: u8,
    group: Octets<48>,
    threshold: u16,
    participants: u16,
    participant: Participant,
    epoch: Epoch,
    key: Octets<32>,
    points: Vec<(Participant, Octets<32>)>,
    secret: Secret,
}

fn exactly(bytes: &[u8]) -> Result<[u8; 32], ThresholdError> {
    bytes.try_into().map_err(|_| ThresholdError::ShareEncoding)
}
