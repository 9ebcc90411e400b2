//! New shares of the same key: the rounds of [`dkg`](crate::dkg), over polynomials whose value at 0 is zero.
//!
//! Every member takes part; what comes out is of the next epoch. The old share is used up: it is
//! taken by value, and whoever needs it again, because a peer failed to confirm, has it sealed.
//!
//! Shares of the old epoch stay what they were, for whoever kept t of them. That they are gone is
//! the owners' to see to: their key management refuses the old epoch's sealed shares.

use frost_ed25519::keys::refresh;
use frost_ed25519::keys::{KeyPackage, PublicKeyPackage};
use rand_core::CryptoRng;

use crate::dkg::{Committing, Method};
use crate::error::ThresholdError;
use crate::group::Session;
use crate::rng::Randomness;
use crate::share::Share;
use crate::wire::Outgoing;

/// What the new parts are added to.
pub(crate) struct Old {
    pub package: KeyPackage,
    pub public: PublicKeyPackage,
}

/// Starts a refresh of a session's shares.
///
/// # Errors
/// [`ThresholdError::ShareEpoch`]: the share is not the session's.
pub fn begin(
    session: Session,
    share: Share,
    rng: &mut impl CryptoRng,
) -> Result<(Committing, Vec<Outgoing>), ThresholdError> {
    share.check(&session)?;
    let group = session.group;
    let (secret, package) = refresh::refresh_dkg_part1(
        session.me.identifier()?,
        group.participants(),
        group.threshold(),
        Randomness(rng),
    )
    .map_err(ThresholdError::Frost)?;
    let old = Old {
        package: share.package,
        public: share.public.package,
    };
    Committing::new(session, Method::Refresh(Box::new(old)), secret, &package)
}
