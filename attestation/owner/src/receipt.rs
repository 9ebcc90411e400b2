//! What the owner keeps of sealed records, to know an answer to them again.

use anchorhold_envelope::Sealed;
use serde::{Deserialize, Serialize};

/// The value of a receipt's `format` field.
pub const FORMAT: &str = "anchorhold-pii-receipt/1";

/// The identity of sealed records. It holds nothing secret; the owner keeps it from the parent
/// because an answer is checked against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// [`FORMAT`].
    pub format: String,
    /// SHA-384 of the job that the records were sealed under, in hex.
    pub job_sha384: String,
    /// The message id, in hex.
    pub message_id: String,
    /// SHA-384 of the header with its tag, in hex.
    pub header_sha384: String,
    /// Bytes of records, before sealing.
    pub plaintext_bytes: u64,
}

impl Receipt {
    /// The receipt of a message sealed under a job.
    pub fn of(sealed: &Sealed, job_sha384: &[u8; 48]) -> Self {
        Self {
            format: FORMAT.to_owned(),
            job_sha384: hex::encode(job_sha384),
            message_id: hex::encode(sealed.message_id().as_bytes()),
            header_sha384: hex::encode(sealed.header_sha384()),
            plaintext_bytes: sealed.plaintext_length(),
        }
    }

    /// Message id and header hash; `None` when the receipt is none.
    pub fn identity(&self) -> Option<([u8; 32], [u8; 48])> {
        let message_id = hex::decode(&self.message_id).ok()?.try_into().ok()?;
        let header = hex::decode(&self.header_sha384).ok()?.try_into().ok()?;
        (self.format == FORMAT).then_some((message_id, header))
    }
}
