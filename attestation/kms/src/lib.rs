//! Everything the KMS decides and computes, without I/O.
//!
//! Time, trusted roots and randomness are arguments, so that every decision can be repeated
//! from its inputs. The server on top stores, speaks HTTP and writes the audit trail; what it may
//! answer is decided here:
//!
//! * [`arn`] – identifiers as types: accounts, regions, keys, aliases, principals;
//! * [`operation`] – the API's operations and their IAM action names;
//! * [`policy`] – key policies and identity policies with IAM's semantics;
//! * [`attestation`] – from the bytes of an attestation document to claims a policy may ask for;
//! * [`key`] – key metadata, key states and what each state permits;
//! * [`encryption_context`] – the authenticated, unencrypted part of a ciphertext;
//! * [`material`] – key material, ciphertext blobs and wrapping at rest;
//! * [`recipient`] – the CMS envelope that only the attested enclave can open;
//! * [`error`] – every refusal as AWS words it.
//!
//! What this crate does not establish: that a caller is who it says (SigV4 is the server's), that
//! a principal named in a policy exists, and that the clock it is given is right.
#![forbid(unsafe_code)]

pub mod arn;
pub mod attestation;
pub mod encryption_context;
pub mod error;
pub mod key;
pub mod material;
pub mod operation;
pub mod policy;
pub mod recipient;

mod text;

pub use error::{Exception, KmsError};
