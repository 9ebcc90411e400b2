//! The vsock switch: a vhost-user virtio-vsock device whose host side is Unix sockets.
//!
//! An enclave speaks vsock to its parent instance, CID 3 on AWS Nitro Enclaves. The kernel's own
//! vhost-vsock serves CID 2 only and needs a device node; this one is a library in the hypervisor's
//! process, serves both, and follows Firecracker's convention on the host:
//!
//! - guest → host: a connection to port `P` goes to the Unix socket `<prefix>_<P>`;
//! - host → guest: a client of the listening socket writes `CONNECT P\n`, reads `OK <port>\n`, and
//!   has the stream.
//!
//! [`Switch::start`] gives a [`SwitchHandle`] and the connected descriptor for QEMU.
//!
//! # What a hostile guest or client can do
//! Hurt itself. Each thing it can make the switch hold has a bound in [`Limits`]; every packet that
//! breaks a rule is dropped or answered with a reset, and no stream waits for another one's reader.
#![deny(unsafe_op_in_unsafe_fn)]

mod chain;
mod config;
mod device;
mod endpoint;
mod error;
mod handshake;
mod hub;
mod io;
mod listen;
mod pace;
mod poller;
pub mod protocol;
mod receive;
mod ring;
mod switch;
#[cfg(test)]
mod tests;
mod transmit;

pub use config::{
    ConsolePort, HOST_CID, HYPERVISOR_CID, Limits, MIN_GUEST_CID, PARENT_CID, SwitchConfig,
};
pub use error::SwitchError;
pub use switch::{Switch, SwitchHandle};
