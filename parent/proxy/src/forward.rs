//! One TCP port of the parent, forwarded to one vsock port of an enclave: how the enclaves of other
//! hosts call. The other direction of [`proxy`](crate::proxy).
//!
//! There is no allowlist of callers: whoever reaches the address reaches the enclave, which must
//! know its peers itself. Bind it to loopback or to a private network.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::copy::{self, Copied};
use crate::hybrid::{self, HybridError};

/// Connections served at the same time when nobody says otherwise.
pub const DEFAULT_WORKERS: usize = 8;

/// How long a worker rests when `accept` fails for want of descriptors or memory.
const REST: Duration = Duration::from_millis(100);

/// Stack of a worker, in bytes; the buffers are on the heap.
const STACK: usize = 256 * 1024;

/// A listening forwarder.
#[derive(Debug)]
pub struct Forwarder {
    listener: TcpListener,
    vsock_sock: PathBuf,
    port: u32,
    workers: usize,
    idle: Duration,
}

impl Forwarder {
    /// Listens on `address`, for the vsock `port` of the enclave whose socket is `vsock_sock`.
    ///
    /// # Errors
    /// The address is in use, or not this machine's.
    pub fn bind(address: SocketAddr, vsock_sock: PathBuf, port: u32) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            vsock_sock,
            port,
            workers: DEFAULT_WORKERS,
            idle: copy::IDLE,
        })
    }

    /// Connections served at the same time; further ones wait to be accepted. At least one.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        let workers = workers.max(1);
        Self { workers, ..self }
    }

    /// How long a connection may be silent, instead of [`copy::IDLE`].
    #[must_use]
    pub fn idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// `getsockname(2)`'s.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` becomes readable, which also ends the connections that are open.
    ///
    /// # Errors
    /// A worker cannot be started.
    pub fn run(
        self,
        stop: OwnedFd,
        report: Arc<dyn Fn(Result<Copied, CallError>) + Send + Sync>,
    ) -> io::Result<()> {
        let (shared, stop) = (Arc::new(self), Arc::new(stop));
        let workers: Vec<_> = (0..shared.workers)
            .map(|_| {
                let (shared, stop, report) = (shared.clone(), stop.clone(), report.clone());
                thread::Builder::new()
                    .name("forward".to_owned())
                    .stack_size(STACK)
                    .spawn(move || shared.work(stop.as_fd(), &*report))
            })
            .collect::<Result<_, _>>()?;
        for worker in workers {
            // A worker that panicked has said so; the others go on.
            let _ = worker.join();
        }
        Ok(())
    }

    /// One worker: takes a connection, serves it to its end, takes the next. That there are so many
    /// workers and no more is the bound on connections.
    fn work(&self, stop: BorrowedFd<'_>, report: &dyn Fn(Result<Copied, CallError>)) {
        while let Some(caller) = self.next(stop) {
            report(self.serve(&caller, stop));
        }
    }

    /// The next connection; `None` when the forwarder stops.
    fn next(&self, stop: BorrowedFd<'_>) -> Option<TcpStream> {
        loop {
            let mut fds = [
                PollFd::new(stop, PollFlags::POLLIN),
                PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
            }
            if fds.first().and_then(PollFd::any) == Some(true) {
                return None;
            }
            match self.listener.accept() {
                Ok((caller, _)) => return Some(caller),
                // Another worker was faster.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(REST),
            }
        }
    }

    fn serve(&self, caller: &TcpStream, stop: BorrowedFd<'_>) -> Result<Copied, CallError> {
        caller.set_nodelay(true).map_err(CallError::Copy)?;
        let enclave = hybrid::connect(&self.vsock_sock, self.port)?;
        let joined = copy::join(caller.as_fd(), enclave.as_fd(), stop, self.idle);
        joined.map_err(CallError::Copy)
    }
}

/// Why one call was not forwarded, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The enclave cannot be reached.
    #[error(transparent)]
    Enclave(#[from] HybridError),
    /// A stream broke.
    #[error("a call's stream broke: {0}")]
    Copy(io::Error),
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::mpsc;

    use super::*;

    /// A switch that takes calls to one port and sends back what comes.
    fn echo(path: &std::path::Path, accepts: bool) -> thread::JoinHandle<()> {
        let listener = UnixListener::bind(path).expect("bind");
        thread::spawn(move || {
            let (stream, _) = listener.accept().expect("accept");
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().expect("clone"));
            reader.read_line(&mut line).expect("read");
            assert_eq!(line, "CONNECT 5006\n");
            if accepts {
                (&stream).write_all(b"OK 1024\n").expect("write");
                let mut got = Vec::new();
                reader.read_to_end(&mut got).expect("read");
                (&stream).write_all(&got).expect("write");
            }
        })
    }

    struct Running {
        address: SocketAddr,
        stop: UnixStream,
        told: mpsc::Receiver<Result<Copied, CallError>>,
        thread: thread::JoinHandle<()>,
    }

    fn start(path: &std::path::Path) -> Running {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let forwarder = Forwarder::bind(any, path.to_owned(), 5006).expect("bind");
        let address = forwarder.workers(2).address_and_self();
        let (address, forwarder) = address;
        let (stop, stopped) = UnixStream::pair().expect("pair");
        let (tell, told) = mpsc::channel();
        let report = move |event| tell.send(event).expect("the test waits");
        let thread = thread::spawn(move || {
            forwarder
                .run(stopped.into(), Arc::new(report))
                .expect("workers");
        });
        Running {
            address,
            stop,
            told,
            thread,
        }
    }

    impl Forwarder {
        fn address_and_self(self) -> (SocketAddr, Self) {
            (self.address().expect("address"), self)
        }
    }

    #[test]
    fn a_call_reaches_the_enclave_and_its_answer_comes_back() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("vsock.sock");
        let enclave = echo(&path, true);
        let running = start(&path);
        let mut caller = TcpStream::connect(running.address).expect("connect");
        caller.write_all(b"hello").expect("write");
        caller.shutdown(Shutdown::Write).expect("half-close");
        let mut got = Vec::new();
        caller.read_to_end(&mut got).expect("read");
        assert_eq!(got, b"hello");
        let copied = running.told.recv().expect("told").expect("forwarded");
        assert_eq!((copied.forward, copied.backward), (5, 5));
        enclave.join().expect("enclave");
        drop(running.stop);
        running.thread.join().expect("forwarder");
    }

    #[test]
    fn a_call_that_nobody_takes_is_closed_and_told() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("vsock.sock");
        let enclave = echo(&path, false);
        let running = start(&path);
        let mut caller = TcpStream::connect(running.address).expect("connect");
        let mut got = Vec::new();
        // Closed, or reset with what was not read.
        let _ = caller.read_to_end(&mut got);
        assert!(got.is_empty());
        let refused = running.told.recv().expect("told").expect_err("refused");
        assert!(matches!(
            refused,
            CallError::Enclave(HybridError::Refused { port: 5006, .. })
        ));
        enclave.join().expect("enclave");
        drop(running.stop);
        running.thread.join().expect("forwarder");
    }
}
