//! What the attestation document of an answer says: its `user_data`.

use ciborium::Value;
use sha2::{Digest, Sha384};

/// Names the statement and its version; no other CBOR of this system starts so.
pub const DOMAIN: &str = "anchorhold-pii-answer/1";

/// An answer bound to its job and its input. The enclave makes it, the owner makes it again from
/// what it received and compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// SHA-384 of the processed rows, as CSV.
    pub rows_sha384: [u8; 48],
    /// SHA-384 of the report, as JSON.
    pub report_sha384: [u8; 48],
    /// SHA-384 of the canonical job.
    pub job_sha384: [u8; 48],
    /// The message id of the sealed records (AWS Encryption SDK v2: 32 bytes).
    pub message_id: [u8; 32],
    /// SHA-384 of the sealed records' header.
    pub header_sha384: [u8; 48],
}

impl Statement {
    /// SHA-384 over rows and report together.
    pub fn answer_sha384(&self) -> [u8; 48] {
        Sha384::new()
            .chain_update(self.rows_sha384)
            .chain_update(self.report_sha384)
            .finalize()
            .into()
    }

    /// The document's `user_data`: SHA-384 of the deterministic CBOR (RFC 8949, section 4.2.1) of
    /// `{"job": bstr, "answer": bstr, "domain": tstr, "header": bstr, "message_id": bstr}`.
    pub fn user_data(&self) -> [u8; 48] {
        Sha384::digest(self.to_cbor()).into()
    }

    fn to_cbor(&self) -> Vec<u8> {
        let bytes = |value: &[u8]| Value::Bytes(value.to_vec());
        let entries = [
            ("job", bytes(&self.job_sha384)),
            ("answer", bytes(&self.answer_sha384())),
            ("domain", Value::Text(DOMAIN.to_owned())),
            ("header", bytes(&self.header_sha384)),
            ("message_id", bytes(&self.message_id)),
        ];
        let map = entries
            .into_iter()
            .map(|(k, v)| (Value::Text(k.to_owned()), v))
            .collect();
        let mut out = Vec::new();
        if ciborium::into_writer(&Value::Map(map), &mut out).is_err() {
            unreachable!("writing to a Vec does not fail");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        Statement {
            rows_sha384: [1; 48],
            report_sha384: [2; 48],
            job_sha384: [3; 48],
            message_id: [4; 32],
            header_sha384: [5; 48],
        }
    }

    #[test]
    fn each_field_counts() {
        let same = statement().user_data();
        let changes: [fn(&mut Statement); 5] = [
            |s| s.rows_sha384[0] ^= 1,
            |s| s.report_sha384[0] ^= 1,
            |s| s.job_sha384[0] ^= 1,
            |s| s.message_id[0] ^= 1,
            |s| s.header_sha384[0] ^= 1,
        ];
        for change in changes {
            let mut other = statement();
            change(&mut other);
            assert_ne!(other.user_data(), same);
        }
        let swapped = Statement {
            rows_sha384: [2; 48],
            report_sha384: [1; 48],
            ..statement()
        };
        assert_ne!(swapped.user_data(), same);
    }

    #[test]
    fn the_encoding_is_deterministic_cbor() {
        let cbor = statement().to_cbor();
        // map(5), text(3) "job", bytes(48)
        assert_eq!(&cbor[..7], b"\xA5\x63job\x58\x30");
        let keys: Vec<&[u8]> = vec![
            b"\x63job",
            b"\x66answer",
            b"\x66domain",
            b"\x66header",
            b"\x6Amessage_id",
        ];
        let positions: Vec<_> = keys
            .iter()
            .map(|k| cbor.windows(k.len()).position(|w| w == *k).unwrap())
            .collect();
        assert!(positions.is_sorted() && keys.is_sorted());
    }
}
