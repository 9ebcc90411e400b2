//! The enclave's private virtio-serial ports: socket pairs whose other end only its QEMU holds.

pub mod nsm;
pub mod status;
