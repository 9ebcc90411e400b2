//! What a participant stands on: its security module, the ways to its peers, its owner's KMS.
//!
//! In an enclave that is a [`Machine`]. Everything else in this crate knows the trait only, so that
//! several participants can be run in one process, over security modules and streams of a test's.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use anchorhold_channel::Timeouts;
use anchorhold_document::{Pcr, PcrIndex};
use anchorhold_enclave::AccessKey;
use anchorhold_enclave::nsm::{Nsm, NsmError};
use anchorhold_enclave::transport::{Connector, Vsock};
use anchorhold_enclave_sys::vsock::{self, VsockListener, VsockStream};

use crate::agreement::Kms;
use crate::error::{Refusal, chain};
use crate::vault::{AttestedKms, KeyService};

/// Where peers' relays connect to.
pub const PEER_PORT: u32 = 5006;

/// What a participant stands on.
pub trait Surroundings: Send {
    /// An attestation document over these fields.
    ///
    /// # Errors
    /// The security module does not give one.
    fn attest(
        &self,
        public_key: Option<&[u8]>,
        user_data: Option<&[u8]>,
        nonce: Option<&[u8]>,
    ) -> Result<Vec<u8>, NsmError>;

    /// The value of a register.
    ///
    /// # Errors
    /// The security module does not give it.
    fn register(&self, index: PcrIndex) -> Result<Pcr, NsmError>;

    /// Calls whoever the parent's vsock port leads to.
    ///
    /// # Errors
    /// Nobody answers within `timeout`.
    fn call(&self, port: u32, timeout: Duration) -> io::Result<Link>;

    /// Takes a call that waits, and waits for none.
    ///
    /// # Errors
    /// There can be no more calls.
    fn answer(&self) -> io::Result<Option<Link>>;

    /// The owner's KMS, which the agreement names.
    ///
    /// # Errors
    /// The agreement's KMS or the credentials cannot be used.
    fn keys(&self, kms: &Kms, credentials: &AccessKey) -> Result<Box<dyn KeyService>, Refusal>;
}

/// A socket that one thread reads and writes.
pub trait Socket: Send + Sync {
    /// As [`Read::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// As [`Write::write`].
    ///
    /// # Errors
    /// As there.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Bounds each read from now on; `limit` is not zero.
    ///
    /// # Errors
    /// The socket is broken.
    fn bound_reads(&self, limit: Duration) -> io::Result<()>;

    /// Bounds each write from now on; `limit` is not zero.
    ///
    /// # Errors
    /// The socket is broken.
    fn bound_writes(&self, limit: Duration) -> io::Result<()>;

    /// Ends both directions. One that has ended already needs it not.
    fn end(&self);
}

/// A stream to a peer's relay. Clones are the same stream, which closes with the last of them.
#[derive(Clone)]
pub struct Link(Arc<dyn Socket>);

impl Link {
    /// The stream of a socket.
    pub fn new(socket: impl Socket + 'static) -> Self {
        Self(Arc::new(socket))
    }

    /// Ends both directions.
    pub fn end(&self) {
        self.0.end();
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Timeouts for Link {
    fn bound_reads(&self, limit: Duration) -> io::Result<()> {
        self.0.bound_reads(limit)
    }

    fn bound_writes(&self, limit: Duration) -> io::Result<()> {
        self.0.bound_writes(limit)
    }
}

impl Socket for VsockStream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = self;
        Read::read(&mut stream, buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = self;
        Write::write(&mut stream, bytes)
    }

    fn bound_reads(&self, limit: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(limit))
    }

    fn bound_writes(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))
    }

    fn end(&self) {
        // What fails has ended.
        let _ = self.shutdown(Shutdown::Both);
    }
}

/// The enclave that this program runs in.
pub struct Machine {
    nsm: Arc<Nsm>,
    listener: VsockListener,
}

impl Machine {
    /// Opens the security module, and listens for peers on [`PEER_PORT`].
    ///
    /// # Errors
    /// One of them is not there.
    pub fn open() -> Result<Self, Refusal> {
        let refused = |error: vsock::VsockError| Refusal::new(error.rule(), chain(&error));
        let nsm = Arc::new(Nsm::open()?);
        let listener = vsock::listen(PEER_PORT).map_err(refused)?;
        listener
            .set_nonblocking(true)
            .map_err(|error| Refusal::new("vsock.listen", error))?;
        Ok(Self { nsm, listener })
    }
}

impl Surroundings for Machine {
    fn attest(
        &self,
        public_key: Option<&[u8]>,
        user_data: Option<&[u8]>,
        nonce: Option<&[u8]>,
    ) -> Result<Vec<u8>, NsmError> {
        self.nsm.attest(public_key, user_data, nonce)
    }

    fn register(&self, index: PcrIndex) -> Result<Pcr, NsmError> {
        self.nsm.describe_pcr(index).map(|(pcr, _)| pcr)
    }

    fn call(&self, port: u32, timeout: Duration) -> io::Result<Link> {
        Vsock::parent(port).connect(timeout).map(Link::new)
    }

    fn answer(&self) -> io::Result<Option<Link>> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                Ok(Some(Link::new(stream)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn keys(&self, kms: &Kms, credentials: &AccessKey) -> Result<Box<dyn KeyService>, Refusal> {
        let keys = AttestedKms::new(kms, credentials, Arc::clone(&self.nsm))?;
        Ok(Box::new(keys))
    }
}
