//! Hands several owners' sealed files to the joint-analysis enclave and takes its answers.
//!
//! Untrusted: all that passes here is sealed for the enclave or for one owner, and nothing here
//! decides. What an owner believes is in the answers' attestation document.
#![forbid(unsafe_code)]

pub mod answers;
pub mod pages;
pub mod submit;
pub mod wire;
