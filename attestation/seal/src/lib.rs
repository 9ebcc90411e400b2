//! `anchorhold-seal`: a data owner's files as AWS Encryption SDK messages.
//!
#![doc = include_str!("manual.md")]
#![forbid(unsafe_code)]

pub mod error;
pub mod inspect;
pub mod keys;
pub mod progress;
pub mod shown;
pub mod source;
pub mod work;

pub use error::ToolError;
