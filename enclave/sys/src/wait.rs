//! Waiting for a descriptor, never longer than until a deadline.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until one of `wanted`, or an error or hang-up, is reported for `fd`, and
/// says what was; [`io::ErrorKind::TimedOut`] once `deadline` has passed.
pub(crate) fn until_ready(
    fd: impl AsFd,
    wanted: PollFlags,
    deadline: Instant,
) -> io::Result<PollFlags> {
    loop {
        let mut polled = [PollFd::new(fd.as_fd(), wanted)];
        match poll(&mut polled, remaining(deadline)) {
            Ok(0) if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            Ok(0) | Err(Errno::EINTR) => continue,
            Ok(_) => return Ok(polled[0].revents().unwrap_or(PollFlags::POLLERR)),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The time left, rounded up to the milliseconds that `poll` counts in.
fn remaining(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    let milliseconds = left.as_micros().div_ceil(1000);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}
