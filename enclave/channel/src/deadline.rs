//! Deadlines over many reads and writes.

use std::io;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A socket whose single reads and writes can be bounded.
pub trait Timeouts {
    /// Bounds each read from now on; `limit` is not zero.
    fn bound_reads(&self, limit: Duration) -> io::Result<()>;

    /// Bounds each write from now on; `limit` is not zero.
    fn bound_writes(&self, limit: Duration) -> io::Result<()>;
}

impl Timeouts for UnixStream {
    fn bound_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn bound_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

impl Timeouts for TcpStream {
    fn bound_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn bound_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }
}

impl<S: Timeouts> Timeouts for &S {
    fn bound_reads(&self, limit: Duration) -> io::Result<()> {
        (**self).bound_reads(limit)
    }

    fn bound_writes(&self, limit: Duration) -> io::Result<()> {
        (**self).bound_writes(limit)
    }
}

/// A socket with one deadline over all its reads and writes, so that a relay that lets through a
/// byte now and then delays no longer than one that lets through none.
///
/// `remaining` says how long is left, before every read and write: the caller's clock, and the
/// caller's to move.
///
/// ```
/// use std::io::Read;
/// use std::os::unix::net::UnixStream;
/// use std::time::{Duration, Instant};
///
/// use anchorhold_channel::Timed;
///
/// let (here, _there) = UnixStream::pair()?;
/// let deadline = Instant::now() + Duration::from_millis(20);
/// let mut timed = Timed::new(&here, || deadline.saturating_duration_since(Instant::now()));
/// assert!(timed.read(&mut [0; 8]).is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Timed<S, F> {
    socket: S,
    remaining: F,
}

impl<S: Timeouts, F: Fn() -> Duration> Timed<S, F> {
    /// Bounds `socket` by what `remaining` says is left.
    pub fn new(socket: S, remaining: F) -> Self {
        Self { socket, remaining }
    }

    fn left(&self) -> io::Result<Duration> {
        match (self.remaining)() {
            Duration::ZERO => Err(ErrorKind::TimedOut.into()),
            left => Ok(left),
        }
    }
}

impl<S: Timeouts + Read, F: Fn() -> Duration> Read for Timed<S, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.bound_reads(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl<S: Timeouts + Write, F: Fn() -> Duration> Write for Timed<S, F> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.socket.bound_writes(self.left()?)?;
        self.socket.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}
