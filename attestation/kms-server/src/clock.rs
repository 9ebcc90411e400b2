//! Points in time as the database and the wire write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch; times before it count as the epoch.
pub fn to_ms(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The inverse of [`to_ms`]; negative numbers count as the epoch.
pub fn from_ms(ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// Seconds since the epoch with milliseconds as fraction: JSON 1.1's timestamps.
pub fn to_wire(at: SystemTime) -> f64 {
    to_ms(at) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_come_back() {
        for ms in [0, 1, 1_700_000_000_123] {
            assert_eq!(to_ms(from_ms(ms)), ms);
        }
        assert_eq!(from_ms(-5), UNIX_EPOCH);
        assert!((to_wire(from_ms(1_700_000_000_123)) - 1_700_000_000.123).abs() < 1e-6);
    }
}
