//! The parent instance's agent: nitro-cli's commands, with nitro-cli's JSON on standard output.
//!
//! The agent is convenience, not trust. It starts the hypervisor and the image tool as processes of
//! their own, asks running hypervisors over their control sockets, and moves bytes. It decides
//! nothing about what an enclave is, and links neither the builder nor anything that signs,
//! verifies or encrypts: a hostile parent may replace it and gains nothing.
#![forbid(unsafe_code)]

pub mod args;
pub mod commands;
pub mod control;
pub mod enclaves;
pub mod error;
pub mod report;
mod signals;
pub mod tools;

pub use args::main;
