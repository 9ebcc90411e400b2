// The system calls that the standard library has no functions for. The C library is there anyway.

use std::ffi::{c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

const AF_VSOCK: c_int = 40;
const CID_ANY: u32 = u32::MAX;
const SOCK_STREAM: c_int = 1;
const SYS_INIT_MODULE: c_long = 175;
const POWER_OFF: c_int = 0x4321_fedc;

/// `struct sockaddr_vm`.
#[repr(C)]
struct VsockAddress {
    family: u16,
    reserved: u16,
    port: u32,
    cid: u32,
    flags: u8,
    zero: [u8; 3],
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const VsockAddress, len: u32) -> c_int;
    fn bind(fd: c_int, address: *const VsockAddress, len: u32) -> c_int;
    #[link_name = "listen"]
    fn c_listen(fd: c_int, backlog: c_int) -> c_int;
    #[link_name = "accept"]
    fn c_accept(fd: c_int, address: *mut c_void, len: *mut u32) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn reboot(command: c_int) -> c_int;
    fn sync();
}

/// Loads a kernel module; one that is there already is no error.
pub fn load_module(image: &[u8]) -> io::Result<()> {
    let parameters: *const c_char = c"".as_ptr();
    // SAFETY: the kernel reads `image.len()` bytes at `image` and a terminated string.
    let result = unsafe { syscall(SYS_INIT_MODULE, image.as_ptr(), image.len(), parameters) };
    match check(result as c_int) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Connects to a vsock address. The stream is no Unix socket, but everything that the type does
/// works on any stream socket.
pub fn dial(cid: u32, port: u32) -> io::Result<UnixStream> {
    let fd = new_socket()?;
    let address = address(cid, port);
    // SAFETY: the kernel reads one `sockaddr_vm`.
    check(unsafe { connect(fd.as_raw_fd(), &address, size_of::<VsockAddress>() as u32) })?;
    Ok(fd.into())
}

/// Listens on a vsock port.
pub fn listen(port: u32) -> io::Result<OwnedFd> {
    let fd = new_socket()?;
    let address = address(CID_ANY, port);
    // SAFETY: the kernel reads one `sockaddr_vm`.
    check(unsafe { bind(fd.as_raw_fd(), &address, size_of::<VsockAddress>() as u32) })?;
    // SAFETY: two integers.
    check(unsafe { c_listen(fd.as_raw_fd(), 128) })?;
    Ok(fd)
}

/// Accepts a connection.
pub fn accept(listener: &OwnedFd) -> io::Result<UnixStream> {
    let no_address = std::ptr::null_mut();
    // SAFETY: null means that the peer's address is not wanted.
    let fd = check(unsafe { c_accept(listener.as_raw_fd(), no_address, std::ptr::null_mut()) })?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// Ends the machine.
pub fn power_off() {
    // SAFETY: no arguments.
    unsafe { sync() };
    // SAFETY: an integer; the call does not return when it succeeds.
    unsafe { reboot(POWER_OFF) };
}

fn new_socket() -> io::Result<OwnedFd> {
    // SAFETY: three integers.
    let fd = check(unsafe { socket(AF_VSOCK, SOCK_STREAM, 0) })?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn address(cid: u32, port: u32) -> VsockAddress {
    VsockAddress {
        family: AF_VSOCK as u16,
        reserved: 0,
        port,
        cid,
        flags: 0,
        zero: [0; 3],
    }
}

fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
