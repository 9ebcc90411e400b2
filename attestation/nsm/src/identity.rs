//! A certificate and the key it is for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use der::DateTime;
use p384::ecdsa::SigningKey;
use x509_cert::name::Name;
use x509_cert::time::Validity;

use crate::mint::MintError;

/// Who can sign under which certificate. The key is zeroized on drop.
pub(crate) struct Identity {
    pub(crate) key: SigningKey,
    pub(crate) subject: Name,
    pub(crate) certificate: Vec<u8>,
    pub(crate) period: Period,
}

/// A certificate's validity, in seconds since the epoch, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    from: u64,
    until: u64,
}

impl Period {
    /// A period of `lifetime` that began `before` ago.
    pub(crate) fn around(
        now: SystemTime,
        before: Duration,
        lifetime: Duration,
    ) -> Result<Self, MintError> {
        let now = seconds(now)?;
        let from = now.checked_sub(before.as_secs()).ok_or(MintError::Clock)?;
        let until = from
            .checked_add(lifetime.as_secs())
            .ok_or(MintError::Clock)?;
        Ok(Self { from, until })
    }

    /// The period of a certificate that was read.
    pub(crate) fn of(validity: &Validity) -> Self {
        Self {
            from: validity.not_before.to_unix_duration().as_secs(),
            until: validity.not_after.to_unix_duration().as_secs(),
        }
    }

    /// Whether `now` lies in the period with at least `reserve` of it left.
    pub(crate) fn covers(&self, now: SystemTime, reserve: Duration) -> bool {
        let Ok(now) = seconds(now) else { return false };
        self.from <= now
            && now
                .checked_add(reserve.as_secs())
                .is_some_and(|needed| needed <= self.until)
    }

    /// The period in a certificate's form.
    pub(crate) fn validity(&self) -> Result<Validity, MintError> {
        let time = |seconds| {
            DateTime::from_unix_duration(Duration::from_secs(seconds))
                .map(x509_cert::time::Time::from)
                .map_err(|_| MintError::Clock)
        };
        Ok(Validity::new(time(self.from)?, time(self.until)?))
    }
}

fn seconds(time: SystemTime) -> Result<u64, MintError> {
    time.duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .map_err(|_| MintError::Clock)
}
