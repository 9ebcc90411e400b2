//! The chain under the platform's root, re-minted before it expires.

use std::time::{Duration, SystemTime};

use rand_core::CryptoRng;

use crate::identity::{Identity, Period};
use crate::instance::InstanceId;
use crate::mint::{self, MintError, Role};

/// How long certificates live, as on AWS.
pub mod lifetimes {
    use std::time::Duration;

    /// 30 years of 365.25 days.
    pub const ROOT: Duration = Duration::from_secs(30 * 31_557_600);
    /// 20 days.
    pub const REGIONAL: Duration = Duration::from_secs(20 * 86_400);
    /// 5.6 days.
    pub const ZONAL: Duration = Duration::from_secs(56 * 8_640);
    /// 24 hours.
    pub const INSTANCE: Duration = Duration::from_secs(86_400);
    /// 3 hours and the 3 seconds that it begins in the past.
    pub const LEAF: Duration = Duration::from_secs(3 * 3_600 + 3);
    /// What is left of a leaf when it is replaced: documents stay valid at least so long.
    pub const LEAF_RESERVE: Duration = Duration::from_secs(3_600);
}

/// Issuing certificates begin an hour in the past, so that they enclose what they issue.
pub(crate) const ISSUERS_BEGIN_BEFORE: Duration = Duration::from_secs(3_600);

/// Leaves begin 3 seconds in the past, as on AWS: room for a verifier's clock.
const LEAF_BEGINS_BEFORE: Duration = Duration::from_secs(3);

/// One certificate of the chain.
struct Level {
    kind: Kind,
    role: Role,
    begins_before: Duration,
    lifetime: Duration,
    /// Least validity left at which it is still used: for an issuer, what it issues lives.
    reserve: Duration,
}

#[derive(Clone, Copy)]
enum Kind {
    Regional,
    Zonal,
    Instance,
    Leaf,
}

const LEVELS: [Level; 4] = [
    Level {
        kind: Kind::Regional,
        role: Role::Authority { path_length: 2 },
        begins_before: ISSUERS_BEGIN_BEFORE,
        lifetime: lifetimes::REGIONAL,
        reserve: lifetimes::ZONAL,
    },
    Level {
        kind: Kind::Zonal,
        role: Role::Authority { path_length: 1 },
        begins_before: ISSUERS_BEGIN_BEFORE,
        lifetime: lifetimes::ZONAL,
        reserve: lifetimes::INSTANCE,
    },
    Level {
        kind: Kind::Instance,
        role: Role::Instance,
        begins_before: ISSUERS_BEGIN_BEFORE,
        lifetime: lifetimes::INSTANCE,
        reserve: lifetimes::LEAF,
    },
    Level {
        kind: Kind::Leaf,
        role: Role::Leaf,
        begins_before: LEAF_BEGINS_BEFORE,
        lifetime: lifetimes::LEAF,
        reserve: lifetimes::LEAF_RESERVE,
    },
];

/// Regional, zonal, instance and leaf certificate with their keys, as far as they are minted.
#[derive(Default)]
pub(crate) struct Chain(Vec<Identity>);

/// Whose chain it is.
pub(crate) struct Owner<'a> {
    pub(crate) root: &'a Identity,
    pub(crate) instance: &'a InstanceId,
    pub(crate) module_id: &'a str,
}

impl Chain {
    /// Replaces what is not valid at `now`, or not for long enough, and all that hangs on it.
    pub(crate) fn refresh(
        &mut self,
        owner: &Owner<'_>,
        now: SystemTime,
        rng: &mut impl CryptoRng,
    ) -> Result<(), MintError> {
        if !owner.root.period.covers(now, lifetimes::REGIONAL) {
            return Err(MintError::RootPeriod);
        }
        let good = self
            .0
            .iter()
            .zip(&LEVELS)
            .take_while(|(identity, level)| identity.period.covers(now, level.reserve))
            .count();
        self.0.truncate(good);
        for level in LEVELS.iter().skip(good) {
            let issuer = self.0.last().unwrap_or(owner.root);
            let period = Period::around(now, level.begins_before, level.lifetime)?;
            let subject = mint::name(&level.common_name(owner, rng))?;
            let identity = mint::issue(issuer, level.role, subject, period, rng)?;
            self.0.push(identity);
        }
        Ok(())
    }

    /// The leaf, and the certificates above it from the root on; none before the first refresh.
    pub(crate) fn leaf_and_bundle(&self, root: &Identity) -> Option<(&Identity, Vec<Vec<u8>>)> {
        let (leaf, issuers) = self.0.split_last()?;
        let bundle = std::iter::once(root).chain(issuers);
        Some((
            leaf,
            bundle
                .map(|identity| identity.certificate.clone())
                .collect(),
        ))
    }
}

impl Level {
    /// AWS's patterns with an ending that is not AWS's.
    fn common_name(&self, owner: &Owner<'_>, rng: &mut impl CryptoRng) -> String {
        let mut random = [0; 8];
        rng.fill_bytes(&mut random);
        let random = hex::encode(random);
        match self.kind {
            Kind::Regional => format!("{random}.local.anchorhold"),
            Kind::Zonal => format!("{random}.zonal.local.anchorhold"),
            Kind::Instance => format!("{}.local.anchorhold", owner.instance),
            Kind::Leaf => format!("{}.local.anchorhold", owner.module_id),
        }
    }
}
