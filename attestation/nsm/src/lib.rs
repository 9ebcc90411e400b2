//! The emulated Nitro security module: PCR bank, requests, platform PKI, signing.
//!
//! A [`SecurityModule`] is what answers behind `/dev/nsm`: bytes of a request in, bytes of a
//! response out. It has no sockets, files, clock or randomness of its own; whoever boots an
//! enclave holds one for it, outside the enclave, and passes time and randomness with each
//! request.
//!
//! A [`Platform`] is the identity of the host that runs enclaves: a P-384 root made on this host,
//! named so that nobody takes it for AWS's, under which the module mints the chain of its
//! documents with AWS's shape and lifetimes:
//!
//! ```text
//! root 30 y ─► regional 20 d, pathlen 2 ─► zonal 5.6 d, pathlen 1 ─► instance 24 h, pathlen 0
//!                                                                         └► leaf 3 h 3 s
//! ```
//!
//! What such a document proves is what the host that holds the platform's key says, and no more:
//! relying parties pin the root together with the registers.
//!
//! ```
//! use std::time::SystemTime;
//!
//! use anchorhold_document::nsm::{Request, Response};
//! use anchorhold_document::Pcr;
//! use anchorhold_nsm::{Boot, Platform, SecurityModule};
//! use getrandom::{SysRng, rand_core::UnwrapErr};
//!
//! let (now, mut rng) = (SystemTime::now(), UnwrapErr(SysRng));
//! let platform = Platform::generate(now, &mut rng)?;
//! let boot = Boot {
//!     module_id: platform.module_id(0x0193_27e6_f225_2716),
//!     pcr0: Pcr([1; 48]),
//!     pcr1: Pcr([2; 48]),
//!     pcr2: Pcr([3; 48]),
//!     pcr3: None,
//!     pcr8: None,
//!     debug: false,
//! };
//! let mut module = SecurityModule::new(platform, boot)?;
//! let answer = module.handle(&Request::DescribeNsm.to_cbor(), now, &mut rng);
//! assert!(matches!(Response::from_cbor(&answer)?, Response::DescribeNsm(_)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![forbid(unsafe_code)]

mod bank;
mod chain;
mod identity;
mod instance;
mod mint;
mod module;
mod platform;

pub use chain::lifetimes;
pub use instance::{InstanceId, InstanceIdError};
pub use mint::MintError;
pub use module::{Boot, BootError, SecurityModule, VERSION};
pub use platform::{Platform, PlatformError};
