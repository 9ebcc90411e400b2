//! Condition operators and keys, each row in an Allow and in a Deny statement; see
//! [`common::truth`]. Rows follow IAM's reference of condition operators; U is where this KMS is
//! stricter.

#[path = "../common/mod.rs"]
mod common;

mod keys;
mod operators;
mod variables;
