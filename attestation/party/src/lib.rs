//! A party's own program for joint analysis: what it checks before it trusts, and what it keeps.
//!
//! A party trusts its own KMS, this program, and what it reads in the contract; neither the host
//! nor the other parties. Its key's policy names the image and the contract, so that nothing else
//! can have its file, and it believes an answer only by the document over it.
#![forbid(unsafe_code)]

pub mod answer;
pub mod image;
pub mod keys;
pub mod offer;
pub mod package;
pub mod policy;
pub mod receipt;
pub mod review;
