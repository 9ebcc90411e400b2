//! Setting the clock.

use std::io;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

/// Sets `CLOCK_REALTIME` to `since_epoch` after 1970-01-01T00:00:00Z. Needs
/// `CAP_SYS_TIME`.
///
/// # Errors
/// What the kernel answers; `EINVAL` for a time it cannot represent.
pub fn set(since_epoch: Duration) -> io::Result<()> {
    if i64::try_from(since_epoch.as_secs()).is_err() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    clock_settime(
        ClockId::CLOCK_REALTIME,
        TimeSpec::from_duration(since_epoch),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_time_is_refused() {
        let error = set(Duration::from_secs(u64::MAX)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
