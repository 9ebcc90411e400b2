//! A lost share comes back (Stinson and Wei, <https://eprint.iacr.org/2017/1155>).
//!
//! t helpers or more each have a summand of the lost share, and none may show it. Each splits its
//! summand among all helpers ([`Helping`]), each helper adds what it was given, and only the sums
//! go to the one who lost its share ([`Lost`]), which adds them. A helper sees random numbers; the
//! one who is repaired sees sums that say no more than its share does.
//!
//! The repaired participant holds nothing that it could check a share by, so it checks the public
//! shares: all helpers must tell the same, under the group key that its owner knows, and they must
//! be a sharing of that key.

use std::collections::BTreeSet;

use frost_ed25519::keys::repairable::{self, Delta, Sigma};
use frost_ed25519::{Ed25519Sha512, Identifier};
use rand_core::CryptoRng;

use crate::error::ThresholdError;
use crate::group::{Participant, Session};
use crate::inbox::Inbox;
use crate::rng::Randomness;
use crate::share::{GroupKey, PublicShares, Share};
use crate::wire::{self, Body, Octets, Outgoing, Secret};

/// A helper, waiting for the other helpers' summands.
pub struct Helping<'a> {
    session: Session,
    share: &'a Share,
    lost: Participant,
    own: Delta,
    inbox: Inbox<Secret>,
}

impl<'a> Helping<'a> {
    /// Starts to help `lost`, together with the other `helpers` (this participant among them).
    ///
    /// # Errors
    /// [`ThresholdError::ShareEpoch`], [`ThresholdError::Helpers`].
    pub fn begin(
        session: Session,
        share: &'a Share,
        helpers: &BTreeSet<Participant>,
        lost: Participant,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Vec<Outgoing>), ThresholdError> {
        share.check(&session)?;
        check_helpers(&session, helpers, lost)?;
        if !helpers.contains(&session.me) {
            return Err(ThresholdError::NotAMember { got: session.me });
        }
        let identifiers: Result<Vec<Identifier>, _> =
            helpers.iter().map(|helper| helper.identifier()).collect();
        let mut summands = repairable::repair_share_part1::<Ed25519Sha512, _>(
            &identifiers?,
            &share.package,
            &mut Randomness(rng),
            lost.identifier()?,
        )
        .map_err(ThresholdError::Frost)?;
        let mut send = Vec::new();
        let mut others = helpers.clone();
        others.remove(&session.me);
        let missing = |got| ThresholdError::NotAMember { got };
        for helper in &others {
            let summand = summands.remove(&helper.identifier()?);
            let summand = summand.and_then(|delta| Secret::take(delta.serialize()));
            let summand = summand.ok_or(missing(*helper))?;
            let body = Body::RepairSummand { lost, summand };
            send.push(wire::seal(&session, *helper, body));
        }
        let own = summands.remove(&session.me.identifier()?);
        let own = own.ok_or(missing(session.me))?;
        let helping = Self {
            session,
            share,
            lost,
            own,
            inbox: Inbox::new("a repair summand", others),
        };
        Ok((helping, send))
    }

    /// Takes another helper's message.
    ///
    /// # Errors
    /// It is not the one that this round waits for; the round stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        let wanted = self.lost;
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::RepairSummand { lost, summand } if lost == wanted => Ok(summand),
                other => Err(other),
            })
    }

    /// Whether all other helpers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// The sum, for the one who lost its share.
    ///
    /// # Errors
    /// A summand is missing or no scalar.
    pub fn finish(self) -> Result<Outgoing, ThresholdError> {
        let mut summands = vec![self.own];
        for summand in self.inbox.finish()?.values() {
            let delta = Delta::deserialize(&summand.0);
            summands.push(delta.map_err(|_| ThresholdError::MessageEncoding)?);
        }
        let sum = repairable::repair_share_part2(&summands);
        let sum = Secret::take(sum.serialize()).ok_or(ThresholdError::MessageEncoding)?;
        let public = self.share.public();
        let body = Body::RepairSum {
            sum,
            threshold: public.group().threshold(),
            public: public.points(),
        };
        Ok(wire::seal(&self.session, self.lost, body))
    }
}

/// The one who lost its share, waiting for the helpers' sums.
pub struct Lost {
    session: Session,
    key: GroupKey,
    inbox: Inbox<Told>,
}

struct Told {
    sum: Secret,
    threshold: u16,
    public: Vec<(Participant, Octets<32>)>,
}

impl Lost {
    /// Waits for these helpers. The session's key is the group key that the owner knows.
    ///
    /// # Errors
    /// [`ThresholdError::Helpers`], or [`ThresholdError::MessageGroup`] without a key.
    pub fn begin(
        session: Session,
        helpers: &BTreeSet<Participant>,
    ) -> Result<Self, ThresholdError> {
        check_helpers(&session, helpers, session.me)?;
        let key = session.key.ok_or(ThresholdError::MessageGroup)?;
        Ok(Self {
            session,
            key: GroupKey(key),
            inbox: Inbox::new("a repair sum", helpers.clone()),
        })
    }

    /// Takes a helper's message.
    ///
    /// # Errors
    /// It is not the one that is waited for; the state stands as it stood.
    pub fn receive(&mut self, peer: Participant, bytes: &[u8]) -> Result<(), ThresholdError> {
        self.inbox
            .receive(&self.session, peer, bytes, |body| match body {
                Body::RepairSum {
                    sum,
                    threshold,
                    public,
                } => Ok(Told {
                    sum,
                    threshold,
                    public,
                }),
                other => Err(other),
            })
    }

    /// Whether all helpers have sent theirs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.inbox.is_complete()
    }

    /// The share.
    ///
    /// # Errors
    /// [`ThresholdError::PublicShares`], [`ThresholdError::Repaired`].
    pub fn finish(self) -> Result<Share, ThresholdError> {
        let session = self.session;
        let mut public: Option<PublicShares> = None;
        let mut sums = Vec::new();
        for (helper, told) in self.inbox.finish()? {
            let refused = ThresholdError::PublicShares { from: helper };
            let shares =
                PublicShares::from_points(session.group, self.key, told.threshold, &told.public);
            match (&public, shares) {
                (None, Ok(shares)) => public = Some(shares),
                (Some(first), Ok(shares)) if *first == shares => {}
                _ => return Err(refused),
            }
            let sum = Sigma::deserialize(&told.sum.0);
            sums.push(sum.map_err(|_| ThresholdError::Repaired)?);
        }
        let public = public.ok_or(ThresholdError::Repaired)?;
        let package =
            repairable::repair_share_part3(&sums, session.me.identifier()?, &public.package)
                .map_err(ThresholdError::Frost)?;
        let share = Share::new(session.me, session.epoch, package, public);
        share.map_err(|_| ThresholdError::Repaired)
    }
}

fn check_helpers(
    session: &Session,
    helpers: &BTreeSet<Participant>,
    lost: Participant,
) -> Result<(), ThresholdError> {
    let group = session.group;
    let stranger = helpers.iter().find(|helper| !group.contains(**helper));
    if let Some(got) = stranger {
        return Err(ThresholdError::NotAMember { got: *got });
    }
    if !group.contains(lost) {
        return Err(ThresholdError::NotAMember { got: lost });
    }
    let threshold = group.threshold();
    if helpers.contains(&lost) || helpers.len() < usize::from(threshold) {
        return Err(ThresholdError::Helpers { threshold, lost });
    }
    Ok(())
}
