//! One vsock port of the parent, forwarded to one TCP target.

mod event;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VMADDR_CID_HYPERVISOR, VsockListener};

use crate::allowlist::Allowlist;
use crate::copy::{self, Copied};
use crate::hybrid::{HybridError, HybridListener};
use crate::resolve::Target;
use crate::state::StateDir;

pub use event::{ForwardError, ProxyError, ProxyEvent};

/// Connections served at the same time when nobody says otherwise (vsock-proxy's default).
pub const DEFAULT_WORKERS: usize = 4;

/// How long one address of the target may take to accept.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Addresses of the target that are tried for one connection.
pub const MAX_TRIES: usize = 4;

/// How long a worker rests when `accept` fails for want of descriptors or memory.
const REST: Duration = Duration::from_millis(100);

/// Stack of a worker, in bytes; the buffers are on the heap.
const STACK: usize = 256 * 1024;

/// Everything a proxy is told.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    state: StateDir,
    port: u32,
    target: Target,
    allowlist: Allowlist,
    workers: usize,
    idle: Duration,
}

impl ProxyConfig {
    /// Forwards the parent's vsock `port` to `target`, as far as `allowlist` has it.
    pub fn new(state: StateDir, port: u32, target: Target, allowlist: Allowlist) -> Self {
        Self {
            state,
            port,
            target,
            allowlist,
            workers: DEFAULT_WORKERS,
            idle: copy::IDLE,
        }
    }

    /// Connections served at the same time; further ones wait to be accepted. At least one.
    pub fn workers(self, workers: usize) -> Self {
        let workers = workers.max(1);
        Self { workers, ..self }
    }

    /// How long a connection may be silent, instead of [`copy::IDLE`].
    pub fn idle(self, idle: Duration) -> Self {
        Self { idle, ..self }
    }
}

/// A listening proxy. Its socket is removed when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    kernel_error: Option<io::Error>,
}

#[derive(Debug)]
struct Shared {
    config: ProxyConfig,
    hybrid: HybridListener,
    kernel: Option<VsockListener>,
}

impl Proxy {
    /// Listens at `<state>/vsock_<port>`, and on AF_VSOCK where the host has it.
    ///
    /// # Errors
    /// [`ProxyError::Listen`], also for a target that is not allowed to begin with.
    pub fn bind(config: ProxyConfig) -> Result<Self, ProxyError> {
        let hybrid = HybridListener::bind(&config.state, config.port)?;
        hybrid
            .set_nonblocking(true)
            .map_err(|source| HybridError::Io {
                path: hybrid.path().to_owned(),
                source,
            })?;
        let (kernel, kernel_error) = match kernel_listener(config.port) {
            Ok(listener) => (Some(listener), None),
            Err(error) => (None, Some(error)),
        };
        let shared = Arc::new(Shared {
            config,
            hybrid,
            kernel,
        });
        Ok(Self {
            shared,
            kernel_error,
        })
    }

    /// Where it listens: the socket's path, and `vsock:<port>` for AF_VSOCK.
    pub fn addresses(&self) -> Vec<String> {
        let path = self.shared.hybrid.path().to_string_lossy().into_owned();
        let kernel = self.shared.kernel.as_ref();
        let kernel = kernel.map(|_| format!("vsock:{}", self.shared.config.port));
        std::iter::once(path).chain(kernel).collect()
    }

    /// Serves until `stop` becomes readable, which also ends the connections that are open.
    ///
    /// # Errors
    /// [`ProxyError::Worker`].
    pub fn run(
        self,
        stop: OwnedFd,
        report: Arc<dyn Fn(ProxyEvent) + Send + Sync>,
    ) -> Result<(), ProxyError> {
        if let Some(error) = self.kernel_error {
            report(ProxyEvent::NoKernelVsock(error));
        }
        let stop = Arc::new(stop);
        let workers: Vec<_> = (0..self.shared.config.workers)
            .map(|_| {
                let (shared, stop, report) = (self.shared.clone(), stop.clone(), report.clone());
                thread::Builder::new()
                    .name("proxy".to_owned())
                    .stack_size(STACK)
                    .spawn(move || shared.work(stop.as_fd(), &*report))
                    .map_err(ProxyError::Worker)
            })
            .collect::<Result<_, _>>()?;
        drop(self.shared);
        for worker in workers {
            // A worker that panicked has said so; the others go on.
            let _ = worker.join();
        }
        Ok(())
    }
}

fn kernel_listener(port: u32) -> io::Result<VsockListener> {
    let listener = VsockListener::bind_with_cid_port(VMADDR_CID_ANY, port)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// A connection of an enclave's, of whichever kind.
enum Guest {
    Hybrid(UnixStream),
    Kernel(vsock::VsockStream),
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Hybrid(stream) => stream.as_fd(),
            Self::Kernel(stream) => stream.as_fd(),
        }
    }
}

impl Shared {
    /// One worker: takes a connection, serves it to its end, takes the next. That there are so many
    /// workers and no more is the bound on connections.
    fn work(&self, stop: BorrowedFd<'_>, report: &dyn Fn(ProxyEvent)) {
        while let Some(guest) = self.next(stop, report) {
            let event = match self.forward(&guest, stop) {
                Ok(copied) => ProxyEvent::Ended(copied),
                Err(error) => ProxyEvent::Failed(error),
            };
            report(event);
        }
    }

    /// The next connection; `None` when the proxy stops.
    fn next(&self, stop: BorrowedFd<'_>, report: &dyn Fn(ProxyEvent)) -> Option<Guest> {
        loop {
            let mut fds = vec![
                PollFd::new(stop, PollFlags::POLLIN),
                PollFd::new(self.hybrid.as_fd(), PollFlags::POLLIN),
            ];
            if let Some(kernel) = &self.kernel {
                fds.push(PollFd::new(kernel.as_fd(), PollFlags::POLLIN));
            }
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(_) => return None,
            }
            if fds.first().and_then(PollFd::any) == Some(true) {
                return None;
            }
            match self.accept(report) {
                Ok(Some(guest)) => return Some(guest),
                // Another worker was faster.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(REST),
            }
        }
    }

    fn accept(&self, report: &dyn Fn(ProxyEvent)) -> io::Result<Option<Guest>> {
        match self.hybrid.accept() {
            Ok(stream) => return Ok(Some(Guest::Hybrid(stream))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let Some(kernel) = &self.kernel else {
            return Ok(None);
        };
        let (stream, peer) = kernel.accept()?;
        let cid = peer.cid();
        // On a host that is itself a virtual machine, these are the machines below it.
        if cid == VMADDR_CID_HYPERVISOR || cid == VMADDR_CID_HOST {
            report(ProxyEvent::NotAnEnclave { cid });
            return Ok(None);
        }
        Ok(Some(Guest::Kernel(stream)))
    }

    fn forward(&self, guest: &Guest, stop: BorrowedFd<'_>) -> Result<Copied, ForwardError> {
        let target = &self.config.target;
        let stream = self.connect()?;
        copy::join(guest.as_fd(), stream.as_fd(), stop, self.config.idle).map_err(|source| {
            ForwardError::Copy {
                target: target.to_string(),
                source,
            }
        })
    }

    /// Resolves the target now, checks what it resolves to, and connects to the first address that
    /// accepts.
    fn connect(&self) -> Result<TcpStream, ForwardError> {
        let (target, allowlist) = (&self.config.target, &self.config.allowlist);
        let addresses = target.addresses().map_err(|source| ForwardError::Resolve {
            target: target.to_string(),
            source,
        })?;
        let addresses = allowlist.open(target, addresses)?;
        let is_listed = allowlist.check(target).is_ok();
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses.into_iter().take(MAX_TRIES) {
            if is_listed {
                allowlist.check_resolved(target, address)?;
            }
            match dial(address) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(ForwardError::Connect {
            target: target.to_string(),
            source: last,
        })
    }
}

fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests;
