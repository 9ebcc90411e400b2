//! A character device served from user space (CUSE, `fs/fuse/cuse.c`): `/dev/nsm` on a
//! machine without the hardware.
//!
//! - [`wire`] parses the kernel's messages and lays out replies, and does nothing else;
//! - [`session`] decides what each message is answered with, given somebody who answers
//!   requests to the security module;
//! - [`server`] moves the bytes.
//!
//! # How an ioctl with pointers in its argument works
//! The device asks for *unrestricted* ioctls, for which the kernel copies on the server's
//! word: the first message carries the bare argument, an address, and the server replies
//! "retry" with vectors of the caller's memory to copy in, or to make room for; the message
//! comes again with that memory, until the reply is final. Here it takes two retries: for
//! the 32 bytes that the argument points at, then for the request and the response buffer
//! that those point at. The kernel checks each address against the caller's memory, so a
//! wrong one is the caller's `EFAULT`.

pub mod server;
pub mod session;
pub mod wire;

pub use server::{CuseDevice, CuseError};
