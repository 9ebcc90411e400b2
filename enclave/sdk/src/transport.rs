//! How the KMS is reached: over vsock from inside an enclave, over TCP from elsewhere.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use anchorhold_enclave_sys::vsock::{VsockError, VsockStream, connect_parent};

/// Opens streams to the KMS.
pub trait Connector {
    /// What a stream is.
    type Stream: Stream;

    /// Opens a stream within `timeout`, which is not zero.
    ///
    /// # Errors
    /// Nobody answers.
    fn connect(&self, timeout: Duration) -> io::Result<Self::Stream>;
}

/// A stream of bytes that does not wait for ever.
pub trait Stream: Read + Write {
    /// How long each read and each write may wait from now on; never zero.
    ///
    /// # Errors
    /// The stream is broken.
    fn set_timeout(&self, timeout: Duration) -> io::Result<()>;
}

/// The parent instance over vsock, by [`connect_parent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vsock {
    port: u32,
}

impl Vsock {
    /// This port of the parent; 8000 is where a parent forwards to the KMS.
    #[must_use]
    pub const fn parent(port: u32) -> Self {
        Self { port }
    }
}

impl Connector for Vsock {
    type Stream = VsockStream;

    fn connect(&self, timeout: Duration) -> io::Result<VsockStream> {
        connect_parent(self.port, timeout).map_err(|error| match &error {
            VsockError::Connect { source, .. } => io::Error::new(source.kind(), error),
            VsockError::Listen { .. } => io::Error::other(error),
        })
    }
}

impl Stream for VsockStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

/// An address over TCP, for the data owner's tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tcp {
    address: String,
}

impl Tcp {
    /// `host:port`; the name is resolved at each connection. TLS checks the endpoint's host name,
    /// not this one.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
        }
    }
}

impl Connector for Tcp {
    type Stream = TcpStream;

    fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, timeout) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

impl Stream for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }
}

/// A stream with one deadline for all that happens on it: a peer that sends a byte now and then does
/// not keep it open.
pub(crate) struct Timed<S> {
    stream: S,
    deadline: Instant,
}

impl<S: Stream> Timed<S> {
    pub(crate) const fn new(stream: S, deadline: Instant) -> Self {
        Self { stream, deadline }
    }

    fn arm(&self) -> io::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_timeout(left.max(Duration::from_millis(1)))
    }
}

/// What a socket's time-out is called differs between reads and systems.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}

impl<S: Stream> Read for Timed<S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.arm()?;
        self.stream.read(out).map_err(named)
    }
}

impl<S: Stream> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arm()?;
        self.stream.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.arm()?;
        self.stream.flush().map_err(named)
    }
}
