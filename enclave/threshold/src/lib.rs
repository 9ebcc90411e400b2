//! Threshold signatures and secret-shared sums among enclaves whose owners trust neither each
//! other nor any host.
//!
//! Three organisations (or n) hold one Ed25519 key that exists nowhere. Each runs an enclave that
//! holds a [`Share`]; any t of them sign together ([`sign`]), and the signature is an ordinary one
//! (RFC 8032) that any verifier takes. The key is made without a dealer ([`dkg`]), its shares can be
//! exchanged for fresh ones under the same public key ([`refresh`]), and a lost share comes back
//! from t others without any of them learning it ([`repair`]). The signatures are FROST's
//! (RFC 9591), by the Zcash Foundation's crates; this crate adds what a protocol among hostile
//! hosts needs around them. Beside them stand sums over inputs that no enclave sees ([`sum`]).
//!
//! Everything is a state machine without I/O, clock or randomness of its own: bytes in, bytes out.
//! Each round is a type; what a later round needs, only the earlier one gives.
//!
//! # What a message must be
//!
//! [`wire`] holds the layout. A receiver is told by its channel which participant the bytes came
//! from, and takes a message only if version, group, key, session, epoch, sender, recipient and
//! kind are those that this round waits for, and only once per sender. Everything else is refused
//! by a named rule ([`ThresholdError::rule`]), and the state does not change.
//!
//! # What holds
//!
//! * Fewer than t shares of one sharing say nothing about the key, and shares of different sharings
//!   do not add up to anything. Whoever collects shares has to have t of one. An epoch has one
//!   sharing unless a refresh broke off when some had finished it and was tried again; then
//!   [`PublicShares::fingerprint`] tells them apart.
//! * Signing nonces live in a value that cannot be copied, stored or sent and that signing takes
//!   away ([`sign::Committed`]); whatever happens to the session, they are used at most once.
//! * A participant that deals wrong shares, proves nothing, or signs wrongly is named
//!   ([`ThresholdError::culprits`]). One that tells different things to different peers is caught
//!   before the key is used: peers compare what they were told, and confirm what they got.
//! * A share at rest ([`seal`]) opens only as what it is: this group, key, participant, epoch and
//!   sharing.
//!
//! # What does not
//!
//! * Nobody can be made to answer: one missing participant ends a ceremony, and is not always told
//!   from a slow host.
//! * The channel authenticates and hides; here nothing is signed or encrypted. Between enclaves of
//!   one measurement, under roots that are agreed, use `anchorhold-channel`.
//! * Which messages may be signed is the owners' business: a request carries an approval, and the
//!   application checks it before it commits ([`sign::Request::approval`]).
//! * t enclaves whose shares are of one sharing, and that are broken, are the key.
#![forbid(unsafe_code)]

pub mod dkg;
mod error;
mod group;
mod inbox;
pub mod limits;
pub mod refresh;
pub mod repair;
mod rng;
pub mod seal;
mod share;
pub mod sign;
pub mod sum;
pub mod wire;

pub use error::ThresholdError;
pub use group::{Epoch, Group, Participant, Session, SessionId};
pub use share::{GroupKey, PublicShares, Share};
pub use wire::Outgoing;
