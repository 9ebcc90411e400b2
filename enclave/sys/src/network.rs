//! The loopback interface: the only network an enclave has.

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

/// Brings `lo` up, so that processes of the enclave reach each other on 127.0.0.1 and,
/// where the kernel has IPv6, on `::1`. Needs `CAP_NET_ADMIN`.
///
/// # Errors
/// What the kernel answers; `EAFNOSUPPORT` when it was built without IPv4.
pub fn loopback_up() -> io::Result<()> {
    // Any IPv4 socket carries interface ioctls; binding to port 0 of the wildcard address
    // is what the standard library offers to make one.
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    // SAFETY: `ifreq` is plain data of the C library's, for which all zero bytes are a
    // valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
    // SAFETY: the descriptor is open during the call; the ioctl reads the name from
    // `request`, which is zero-terminated, and writes the flags into it.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request)
    })?;
    // SAFETY: `ifru_flags` is the member that SIOCGIFFLAGS has just filled in.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is open during the call; the ioctl reads name and flags from
    // `request` and keeps no pointer to it.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    })?;
    Ok(())
}
