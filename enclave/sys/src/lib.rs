//! System calls of the measured zone.
//!
//! Everything inside an enclave that needs the kernel beyond what the standard
//! library offers stands here, and with it the zone's only `unsafe` code:
//!
//! - [`nsm`]: the client of `/dev/nsm`, with the ABI of AWS's driver;
//! - [`cuse`]: the server that makes `/dev/nsm` where no such hardware exists;
//! - [`channel`]: the private port over which that server asks the security module;
//! - [`virtio`]: which virtio devices and ports the machine has;
//! - [`vsock`]: streams to the parent and listeners for it;
//! - [`mounts`], [`modules`], [`entropy`], [`clock`], [`network`], [`process`] and
//!   [`power`]: what PID 1 does to the machine.
//!
//! Whatever parses bytes is separate from whatever moves them ([`cuse::wire`],
//! [`cuse::session`], [`channel`]), so that it is tested without a kernel and
//! without privileges.
#![warn(missing_docs)]

pub mod channel;
pub mod clock;
pub mod cuse;
pub mod entropy;
pub mod modules;
pub mod mounts;
pub mod network;
pub mod nsm;
pub mod power;
pub mod process;
pub mod virtio;
pub mod vsock;

mod wait;
