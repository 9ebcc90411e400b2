//! Moving bytes between a socket and guest memory without a buffer between: the crate's only
//! `unsafe` code.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;

/// Pieces of guest memory in one system call, at most. Linux allows 1024 (`UIO_MAXIOV`); this many
/// fit on the stack and already make the call's own cost small.
pub(crate) const MAX_PIECES: usize = 64;

/// Sends what it can of `pieces`, in order, without waiting and without SIGPIPE.
///
/// # Errors
/// The system's; `WouldBlock` when the socket takes nothing now.
pub(crate) fn send(socket: BorrowedFd<'_>, pieces: &[VolatileSlice<'_>]) -> io::Result<usize> {
    transfer(socket, pieces, |fd, message| {
        // SAFETY: `message` names iovecs over guest memory that `transfer` keeps mapped for the
        // duration of the call. The kernel only reads there. The guest may write at the same
        // time; then the kernel copies either value, and no Rust reference to the bytes exists.
        unsafe { libc::sendmsg(fd, message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
    })
}

/// Receives into `pieces`, in order, what is there, without waiting; 0 is the end of the stream.
///
/// # Errors
/// The system's; `WouldBlock` when nothing is there now.
pub(crate) fn receive(socket: BorrowedFd<'_>, pieces: &[VolatileSlice<'_>]) -> io::Result<usize> {
    transfer(socket, pieces, |fd, message| {
        // SAFETY: as in `send`, with the kernel writing: a `VolatileSlice` stands for memory that
        // may be written, and that others (the guest) write at any time.
        unsafe { libc::recvmsg(fd, message, libc::MSG_DONTWAIT) }
    })
}

/// Builds the message over at most [`MAX_PIECES`] pieces and repeats `call` when a signal
/// interrupts it.
fn transfer(
    socket: BorrowedFd<'_>,
    pieces: &[VolatileSlice<'_>],
    call: impl Fn(i32, *mut libc::msghdr) -> isize,
) -> io::Result<usize> {
    const NONE: libc::iovec = libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    };
    let mut vectors = [NONE; MAX_PIECES];
    let count = pieces.len().min(MAX_PIECES);
    for (vector, piece) in vectors.iter_mut().zip(pieces) {
        // The mapping lives as long as `pieces` does; the guard adds to that only where memory is
        // mapped on demand (Xen), which this crate does not build for.
        vector.iov_base = piece.ptr_guard_mut().as_ptr().cast();
        vector.iov_len = piece.len();
    }
    // SAFETY: a `msghdr` is integers and pointers, for which zero (null) means "none".
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = count;
    loop {
        let moved = call(socket.as_raw_fd(), &mut message);
        match usize::try_from(moved) {
            Ok(moved) => return Ok(moved),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_closed_peer_is_an_error_and_no_signal() {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let mut bytes = *b"lost";
        let piece = VolatileSlice::from(&mut bytes[..]);
        let error = send(near.as_fd(), &[piece]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(receive(near.as_fd(), &[piece]).unwrap(), 0);
    }

    #[test]
    fn nothing_there_does_not_wait() {
        let (near, _far) = UnixStream::pair().unwrap();
        let mut bytes = [0; 4];
        let error = receive(near.as_fd(), &[VolatileSlice::from(&mut bytes[..])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn pieces_go_and_come_in_order() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let (mut a, mut b) = (*b"an", *b"chor");
        let pieces = [
            VolatileSlice::from(&mut a[..]),
            VolatileSlice::from(&mut b[..]),
        ];
        assert_eq!(send(near.as_fd(), &pieces).unwrap(), 6);
        let mut got = [0; 6];
        far.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"anchor");

        far.write_all(b"hold").unwrap();
        assert_eq!(receive(near.as_fd(), &pieces).unwrap(), 4);
        assert_eq!((&a, &b), (b"ho", b"ldor"));
    }
}
