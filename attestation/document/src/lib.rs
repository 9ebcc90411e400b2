//! Attestation documents and NSM messages: types and CBOR/COSE codec.
//!
//! This crate knows shapes and nothing else: it has no cryptography, no clock, no randomness and
//! no I/O. A value of one of its types is well-formed; whether anybody signed it, and whether that
//! signer is worth believing, is the verifier's question.
//!
//! ```text
//! bytes ──► SignedDocument (COSE_Sign1, RFC 9052 §4.2) ──► AttestationDocument (its payload)
//! bytes ──► nsm::Request, nsm::Response (what crosses /dev/nsm)
//! ```
//!
//! Decoding is driven by the schema, never by the input: no recursion, no allocation before a
//! declared length has been compared with its limit and with the bytes that are really there, no
//! trailing bytes, no duplicate or unknown keys. The limits stand in [`limits`], each with its
//! source.
//!
//! # Example
//!
//! ```
//! use anchorhold_document::{DocumentError, SignedDocument};
//!
//! let refused = SignedDocument::from_bytes(&[0x84, 0x44]).unwrap_err();
//! assert_eq!(refused.rule(), "cbor.truncated");
//! ```
#![forbid(unsafe_code)]

pub mod limits;
pub mod nsm;

mod attestation;
mod cbor;
mod error;
mod pcr;
mod signed;

pub use attestation::{AttestationDocument, DIGEST};
pub use error::DocumentError;
pub use pcr::{ParsePcrError, Pcr, PcrIndex, PcrIndexError};
pub use signed::{DocumentToSign, SignedDocument};
