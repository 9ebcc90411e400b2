//! A request as the target reads it from one input. Shared with the test that makes the seeds.
//!
//! ```text
//! <operation> <Authorization header> LF <X-Amz-Date> LF <X-Amz-Target> LF <body>
//! ```
//!
//! The operation is one byte: `A` for the first of [`Operation::ALL`]. It chooses how the body is read,
//! beside what the target says, so that a body need not wait for a target that is spelled right.

use anchorhold_kms::sigv4::{Presented, Scope, SignatureError};
use anchorhold_kms_core::operation::Operation;
use http::{HeaderMap, HeaderValue};
use time::OffsetDateTime;

/// The parts of an input.
pub struct Parts<'a> {
    pub operation: Operation,
    pub authorization: &'a [u8],
    pub date: &'a [u8],
    pub target: &'a [u8],
    pub body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes an input apart; what is missing is empty.
    pub fn of(input: &'a [u8]) -> Self {
        let (first, rest) = input.split_first().unwrap_or((&b'A', &[]));
        let operation = usize::from(first.wrapping_sub(b'A')) % Operation::ALL.len();
        let mut parts = rest.splitn(4, |byte| *byte == b'\n');
        let mut next = || parts.next().unwrap_or_default();
        Self {
            operation: Operation::ALL[operation],
            authorization: next(),
            date: next(),
            target: next(),
            body: next(),
        }
    }

    /// Reads the headers as those of a request to a server in `us-east-1`, at 2027-01-15T08:00:00Z.
    pub fn presented(&self) -> Result<Presented, SignatureError> {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("kms.example"));
        for (name, value) in [
            ("authorization", self.authorization),
            ("x-amz-date", self.date),
            ("x-amz-target", self.target),
        ] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(name, value);
            }
        }
        let scope = Scope {
            region: "us-east-1",
            service: "kms",
        };
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time");
        Presented::read(&headers, &[0; 32], scope, now)
    }
}
