//! Hands sealed records to the PII enclave and takes its answer.
//!
//! Untrusted: all that passes here is sealed for the enclave or for the answer's receivers, and
//! nothing here decides. What the owner believes is in the answer's attestation document.
#![forbid(unsafe_code)]

pub mod submit;
pub mod wire;
