//! A program for a guest: dials its parent's vsock ports 7001 and 7002, again and again.
//!
//! Whoever listens reads the port's number. It needs the standard library alone, so that a
//! compiler without cargo builds it.

use std::ffi::{c_int, c_uint};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::thread;
use std::time::Duration;

const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
const PARENT: c_uint = 3;

/// `struct sockaddr_vm` (vsock(7)).
#[repr(C)]
struct Address {
    family: u16,
    reserved: u16,
    port: c_uint,
    cid: c_uint,
    zero: [u8; 4],
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> RawFd;
    fn connect(socket: RawFd, address: *const Address, length: c_uint) -> c_int;
}

fn dial(port: c_uint) -> Option<File> {
    let address = Address {
        family: AF_VSOCK as u16,
        reserved: 0,
        port,
        cid: PARENT,
        zero: [0; 4],
    };
    // SAFETY: it takes numbers and gives a descriptor of ours alone, or -1.
    let stream = unsafe {
        let descriptor = socket(AF_VSOCK, SOCK_STREAM, 0);
        assert!(descriptor >= 0, "no vsock");
        File::from_raw_fd(descriptor)
    };
    let length = size_of::<Address>() as c_uint;
    // SAFETY: the address lives through the call and is as long as it says.
    let connected = unsafe { connect(stream.as_raw_fd(), &address, length) };
    (connected == 0).then_some(stream)
}

fn main() {
    loop {
        for port in [7001, 7002] {
            if let Some(mut stream) = dial(port) {
                let _ = write!(stream, "{port}");
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
}
