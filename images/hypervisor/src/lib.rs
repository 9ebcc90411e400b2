//! Measures an enclave image, boots it in QEMU, serves its security module.
//!
//! One process runs one enclave. It copies the image into sealed memory, measures that copy, boots
//! that copy, and answers the enclave's security module with registers that say so. It ends
//! everything when any part ends, and leaves nothing behind.
//!
//! ```text
//! image file ──copy──► sealed memory ──measure──► PCRs ──► security module ── socket pair ─┐
//!                             └── kernel, ramdisks, command line ──► QEMU ── nsm.0 ────────┘
//!                                          vsock switch ── vhost-user ──┘
//! ```
//!
//! # What it protects, and what it does not
//! A guest cannot forge its measurement: registers and keys are here, outside it. Everything it
//! sends is bounded. But root, and every process of the hypervisor's own user on this host, can
//! read the platform's key and the guest's memory: the protection against the host is the
//! hardware's, on a host that has it. That is why policies pin the root as well as the registers.
#![deny(unsafe_code)]

mod accept;
pub mod boot;
pub mod console;
pub mod control;
mod enclave;
pub mod ended;
pub mod event;
pub mod heartbeat;
pub mod host;
pub mod image;
pub mod layout;
pub mod memfd;
pub mod platform;
pub mod ports;
pub mod qemu;
pub mod registry;
pub mod report;
pub mod run;
pub mod sockets;
pub mod vm;
pub mod watch;
