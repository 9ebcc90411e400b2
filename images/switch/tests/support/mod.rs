//! What tests and bench have in common: a kernel, an initramfs with the guest program, and a
//! virtual machine with a vsock device.
#![allow(dead_code, reason = "each of them uses its part")]

pub mod control;
pub mod host;
pub mod image;
pub mod machine;

#[path = "../guest/pattern.rs"]
pub mod pattern;
