//! The program against a real KMS.

#[path = "../common/mod.rs"]
mod common;

mod files;
mod machine;
mod messages;
mod refusals;
mod sharing;
