//! One participant of a threshold group, in an enclave of its owner's.
//!
//! Several owners, each with a host, a platform, a KMS and a key of its own, run this program from
//! one image. What they agreed on is one document, the [`agreement`]: who takes part, under which
//! platform root, with which KMS and key, and whose approval signs. Its hash is everywhere:
//!
//! * it is the session context of every channel ([`mesh`]): enclaves that were told different
//!   agreements get no channel to each other;
//! * it stands in the encryption context of every sealed share ([`vault`]), and each owner's key
//!   policy names it: an enclave that was told another one gets no key;
//! * it is signed in every approval ([`approval`]), and attested in every status.
//!
//! So a parent, which hands the agreement to its enclave, can swap nothing in it, neither a root
//! nor a KMS nor an approval key: what it gets is an enclave that belongs to no group.
//!
//! A ceremony needs the command of every taking part's own parent. Participants dial those with
//! higher numbers; the lowest opens the session. Parents relay and see ciphertext ([`ceremony`]).
//!
#![doc = include_str!("manual.md")]
#![forbid(unsafe_code)]

pub mod agreement;
pub mod approval;
pub mod ceremony;
mod error;
mod fields;
pub mod intake;
pub mod mesh;
pub mod opening;
pub mod server;
pub mod vault;
pub mod wire;
pub mod world;

pub use error::Refusal;
