//! What crosses `/dev/nsm`: requests to the security module and its responses.
//!
//! Both are CBOR of externally tagged enums, as AWS's `aws-nitro-enclaves-nsm-api` writes them: a
//! message without fields is a text string, any other a map of one entry, its name to its fields.

mod error_code;
mod request;
mod response;

pub use error_code::ErrorCode;
pub use request::{AttestationRequest, Request};
pub use response::{DescribeNsm, Response};

/// Bytes that `GetRandom` answers with.
pub const RANDOM_BYTES: usize = 256;
