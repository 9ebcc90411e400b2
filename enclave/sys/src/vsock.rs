//! Streams to the parent, and listeners for it, over `AF_VSOCK`.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, connect as socket_connect, socket};

pub use ::vsock::{VsockAddr, VsockListener, VsockStream};

/// The parent instance's CID on Nitro.
pub const PARENT_CID: u32 = 3;

/// The host's CID in the virtio specification (5.10.4). The kernel's own vhost-vsock
/// serves this one only, so it stands in for [`PARENT_CID`] there.
pub const HOST_CID: u32 = 2;

/// Any CID: what a listener binds to.
pub const ANY_CID: u32 = libc::VMADDR_CID_ANY;

/// `SO_VM_SOCKETS_CONNECT_TIMEOUT` of `linux/vm_sockets.h`, in the form that takes a
/// `struct timeval` on 64-bit machines.
const CONNECT_TIMEOUT_OPTION: libc::c_int = 6;

/// Why a stream could not be opened or a port not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum VsockError {
    /// The peer refused, did not answer in time, or cannot be reached.
    #[error("vsock.connect: CID {cid} port {port} cannot be connected to within {timeout:?}")]
    Connect {
        /// The peer's CID.
        cid: u32,
        /// The peer's port.
        port: u32,
        /// How long it was given to answer.
        timeout: Duration,
        /// What the kernel said.
        source: io::Error,
    },
    /// The port cannot be listened on.
    #[error("vsock.listen: port {port} cannot be listened on")]
    Listen {
        /// The port asked for.
        port: u32,
        /// What the kernel said.
        source: io::Error,
    },
}

impl VsockError {
    /// The rule that was broken, as a stable name.
    pub fn rule(&self) -> &'static str {
        match self {
            VsockError::Connect { .. } => "vsock.connect",
            VsockError::Listen { .. } => "vsock.listen",
        }
    }
}

/// Connects to `port` of `cid`, giving the peer `timeout` (which must not be zero) to
/// answer.
///
/// # Errors
/// [`VsockError::Connect`]: `ECONNRESET` when the peer refuses, `ETIMEDOUT` when nothing
/// answers, `ENODEV` or `EAFNOSUPPORT` without a vsock device or driver.
pub fn connect(cid: u32, port: u32, timeout: Duration) -> Result<VsockStream, VsockError> {
    open(cid, port, timeout).map_err(|source| VsockError::Connect {
        cid,
        port,
        timeout,
        source,
    })
}

/// Connects to `port` of the parent: [`PARENT_CID`] as on Nitro, and [`HOST_CID`] when that does
/// not answer, as with the Linux kernel's own vhost-vsock. Each is given `timeout`. Which of them
/// answered is remembered and tried first from then on, since one that does not answer costs the
/// whole time-out.
///
/// # Errors
/// The error of the second attempt, as [`connect`].
pub fn connect_parent(port: u32, timeout: Duration) -> Result<VsockStream, VsockError> {
    static ANSWERED: AtomicU32 = AtomicU32::new(PARENT_CID);
    either(&ANSWERED, |cid| connect(cid, port, timeout))
}

fn either<T, E>(answered: &AtomicU32, open: impl Fn(u32) -> Result<T, E>) -> Result<T, E> {
    let first = answered.load(Ordering::Relaxed);
    open(first).or_else(|_| {
        let second = if first == PARENT_CID {
            HOST_CID
        } else {
            PARENT_CID
        };
        let stream = open(second)?;
        answered.store(second, Ordering::Relaxed);
        Ok(stream)
    })
}

/// Listens on `port` for whoever connects; the kernel's backlog bounds who waits.
///
/// # Errors
/// [`VsockError::Listen`]: `EADDRINUSE` when the port is taken.
pub fn listen(port: u32) -> Result<VsockListener, VsockError> {
    VsockListener::bind_with_cid_port(ANY_CID, port)
        .map_err(|source| VsockError::Listen { port, source })
}

fn open(cid: u32, port: u32, timeout: Duration) -> io::Result<VsockStream> {
    let socket = socket(
        AddressFamily::Vsock,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let value = timeval(timeout);
    // SAFETY: the descriptor is open during the call. The kernel reads `size_of::<timeval>()`
    // bytes from `value`, which is alive for the call, and keeps no pointer to it.
    Errno::result(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::AF_VSOCK,
            CONNECT_TIMEOUT_OPTION,
            (&raw const value).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    })?;
    socket_connect(socket.as_raw_fd(), &VsockAddr::new(cid, port))?;
    Ok(VsockStream::from(socket))
}

/// Rounded up to at least a microsecond, because zero would mean the kernel's default.
fn timeval(timeout: Duration) -> libc::timeval {
    let timeout = timeout.max(Duration::from_micros(1));
    libc::timeval {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_usec: i64::from(timeout.subsec_micros()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_zero() {
        let value = timeval(Duration::ZERO);
        assert_eq!((value.tv_sec, value.tv_usec), (0, 1));
        let value = timeval(Duration::from_millis(2500));
        assert_eq!((value.tv_sec, value.tv_usec), (2, 500_000));
    }

    #[test]
    fn the_parents_cid_that_answered_is_tried_first() {
        let answered = AtomicU32::new(PARENT_CID);
        let tried = std::cell::RefCell::new(Vec::new());
        let open = |answering: &[u32]| {
            tried.borrow_mut().clear();
            let outcome = either(&answered, |cid| {
                tried.borrow_mut().push(cid);
                answering.contains(&cid).then_some(cid).ok_or(cid)
            });
            (outcome, tried.borrow().clone())
        };
        assert_eq!(open(&[]), (Err(HOST_CID), vec![PARENT_CID, HOST_CID]));
        assert_eq!(
            open(&[HOST_CID]),
            (Ok(HOST_CID), vec![PARENT_CID, HOST_CID])
        );
        assert_eq!(
            open(&[PARENT_CID, HOST_CID]),
            (Ok(HOST_CID), vec![HOST_CID])
        );
        assert_eq!(
            open(&[PARENT_CID]),
            (Ok(PARENT_CID), vec![HOST_CID, PARENT_CID])
        );
        assert_eq!(open(&[PARENT_CID]), (Ok(PARENT_CID), vec![PARENT_CID]));
    }

    #[test]
    fn errors_name_the_peer() {
        // No machine has a peer with this CID (VMADDR_CID_ANY - 1), if it has vsock at all.
        let error = connect(u32::MAX - 1, 1, Duration::from_millis(10)).unwrap_err();
        assert_eq!(error.rule(), "vsock.connect");
        assert!(
            error.to_string().contains("CID 4294967294 port 1"),
            "{error}"
        );
    }
}
