//! The parent's side of vsock: hybrid sockets, where they lie, and a proxy to TCP with an allowlist.
//!
//! An enclave reaches the world through vsock only. Where the host has no kernel vsock, the
//! hypervisor's switch maps it to Unix sockets in Firecracker's convention ([`hybrid`]): the parent
//! dials an enclave's `vsock.sock` and names the port, and an enclave's connection to port P of the
//! parent arrives at `vsock_P` in the state directory ([`state`]).
//!
//! [`proxy::Proxy`] forwards one such port to one TCP target that an [`allowlist::Allowlist`] names.
//! [`forward::Forwarder`] forwards one TCP port
//! to a vsock port of an enclave. Nothing here looks at what it carries: the parent sees ciphertext, and this crate holds no
//! cryptography.
#![forbid(unsafe_code)]

pub mod allowlist;
pub mod copy;
pub mod forward;
pub mod hybrid;
pub mod proxy;
pub mod resolve;
pub mod socket_path;
pub mod state;

pub use hybrid::{HybridError, HybridListener};
pub use state::{EnclaveId, StateDir, StateError, enclave_vsock_path, state_dir};
