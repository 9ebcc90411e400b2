//! KMS keys as keyrings, against the real KMS and a security module of the test's.

#[path = "../common/module.rs"]
#[allow(dead_code, reason = "platforms here are the world's")]
mod module;

mod attested;
mod kms;
mod shared;
mod world;
