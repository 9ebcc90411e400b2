//! Joins several owners' sealed files inside an enclave and answers each owner by itself.
//!
//! What is agreed, computed and shown is in `anchorhold-joint`, which each owner's own program uses
//! too. Here is what an enclave adds: [`wire`] takes a submission from the host, [`session`] keeps
//! the order of its checks, [`pages`] hands rows that do not fit to the host, [`services`] joins it to the security module and to the owners' KMSs,
//! [`answer`] seals what each party may see. `main` joins all to vsock.
//!
#![doc = include_str!("manual.md")]
#![forbid(unsafe_code)]

pub mod answer;
pub mod pages;
pub mod random;
pub mod services;
pub mod session;
pub mod submission;
pub mod wire;
