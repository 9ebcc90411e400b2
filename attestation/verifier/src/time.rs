//! Time as an argument.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// A moment: milliseconds since the epoch (1970-01-01T00:00:00Z, no leap seconds), the unit of the
/// document's own timestamp. Shown and read as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `ms` milliseconds after the epoch.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment and `duration`, at most the last moment there is.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// From the seconds of a certificate's validity; before the epoch counts as the epoch.
    pub(crate) fn from_unix_seconds(seconds: i64) -> Self {
        Self(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
    }

    pub(crate) fn since_epoch(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = TimestampError;

    fn try_from(time: SystemTime) -> Result<Self, TimestampError> {
        let since = time
            .duration_since(UNIX_EPOCH)
            .map_err(|_| TimestampError::BeforeEpoch)?;
        u64::try_from(since.as_millis())
            .map(Self)
            .map_err(|_| TimestampError::TooLate)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339, such as `2025-01-10T03:40:02.571Z`.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let moment =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimestampError::NotRfc3339)?;
        let ms = moment.unix_timestamp_nanos() / 1_000_000;
        u64::try_from(ms)
            .map(Self)
            .map_err(|_| TimestampError::BeforeEpoch)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 with milliseconds; past the year 9999 the plain number of milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = i128::from(self.0) * 1_000_000;
        match OffsetDateTime::from_unix_timestamp_nanos(nanos) {
            Ok(t) => write!(
                f,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                t.year(),
                u8::from(t.month()),
                t.day(),
                t.hour(),
                t.minute(),
                t.second(),
                t.millisecond()
            ),
            Err(_) => write!(f, "{} ms after the epoch", self.0),
        }
    }
}

/// What is no moment after the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Text in another format.
    #[error("time: expected RFC 3339 such as 2025-01-10T03:40:02Z, got other text")]
    NotRfc3339,
    /// Before 1970.
    #[error("time: expected 1970 or later, got an earlier time")]
    BeforeEpoch,
    /// Past what 64 bits of milliseconds hold.
    #[error("time: expected at most 2^64 ms after 1970, got a later time")]
    TooLate,
}

impl TimestampError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NotRfc3339 => "time.rfc3339",
            Self::BeforeEpoch => "time.before-epoch",
            Self::TooLate => "time.too-late",
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-01-10",
            "2025-13-01T00:00:00Z",
            "1736480402571",
        ] {
            assert_eq!(
                text.parse::<Timestamp>(),
                Err(TimestampError::NotRfc3339),
                "{text}"
            );
        }
        assert_eq!(
            "1969-12-31T23:59:59Z".parse::<Timestamp>(),
            Err(TimestampError::BeforeEpoch)
        );
        assert_eq!(
            Timestamp::try_from(UNIX_EPOCH - Duration::from_secs(1)),
            Err(TimestampError::BeforeEpoch)
        );
    }

    #[test]
    fn a_time_survives_text() {
        let moment = Timestamp::from_millis(1_736_480_402_571);
        assert_eq!(moment.to_string(), "2025-01-10T03:40:02.571Z");
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert_eq!("2025-01-10T05:40:02.571+02:00".parse(), Ok(moment));
        assert_eq!(
            Timestamp::from_millis(u64::MAX).to_string(),
            "18446744073709551615 ms after the epoch"
        );
    }
}
