//! What programs that carry sealed data to an enclave and its answer back share.
//!
//! Untrusted: all that passes here is sealed for the enclave or for the answer's receivers, and
//! nothing here decides. A carrier keeps the order and the bounds of its protocol ([`frame`]),
//! reads what it hands over ([`input`]), sends while it receives ([`exchange`]), leaves a whole
//! answer or none ([`output`]), and says what came of it ([`report`]).
#![forbid(unsafe_code)]

pub mod error;
pub mod exchange;
pub mod frame;
pub mod input;
pub mod output;
pub mod report;

pub use error::{Refusal, SubmitError};
