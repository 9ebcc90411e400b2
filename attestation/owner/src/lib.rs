//! The data owner's tool: keys and policies, sealing, and the check of answers.
#![forbid(unsafe_code)]

pub mod answer;
pub mod policy;
pub mod receipt;
pub mod seal;
pub mod threshold_policy;
pub mod tls;

pub use anchorhold_access as access;
