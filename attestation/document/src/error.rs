//! Why bytes are not a document or an NSM message.

use crate::pcr::PcrIndexError;

/// A refusal to decode. Always the sender's fault: the bytes are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More bytes than any well-formed value has; nothing was decoded.
    #[error("{item}: expected at most {limit} bytes, got {got}")]
    TooLarge {
        /// What was to be decoded.
        item: &'static str,
        /// The most bytes allowed.
        limit: usize,
        /// The bytes that came.
        got: usize,
    },
    /// The input ends inside an item, or declares more bytes than follow.
    #[error("{item}: expected more bytes after offset {at}, got the end of the input")]
    Truncated {
        /// The item being read.
        item: &'static str,
        /// Offset at which bytes were missing.
        at: usize,
    },
    /// A byte that begins no CBOR item (RFC 8949 §3).
    #[error("{item}: expected a CBOR item at offset {at}, got a reserved encoding")]
    Syntax {
        /// The item being read.
        item: &'static str,
        /// Offset of the byte.
        at: usize,
    },
    /// Bytes follow the value.
    #[error("{item}: expected the end of the input, got {count} more bytes")]
    TrailingBytes {
        /// The value that was complete.
        item: &'static str,
        /// Bytes left over.
        count: usize,
    },
    /// Another CBOR type than the schema has here.
    #[error("{item}: expected {expected}, got {got}")]
    WrongType {
        /// The item being read.
        item: &'static str,
        /// The type of the schema.
        expected: &'static str,
        /// The type that came.
        got: &'static str,
    },
    /// A string or list shorter or longer than allowed.
    #[error("{item}: expected a length of {min} to {max}, got {got}")]
    Length {
        /// The item being read.
        item: &'static str,
        /// Shortest allowed.
        min: usize,
        /// Longest allowed.
        max: usize,
        /// The length that came.
        got: usize,
    },
    /// A text string that is not UTF-8 (RFC 8949 §3.1).
    #[error("{item}: expected UTF-8, got other bytes")]
    NotUtf8 {
        /// The item being read.
        item: &'static str,
    },
    /// A number outside its range.
    #[error("{item}: expected {min} to {max}, got {got}")]
    OutOfRange {
        /// The item being read.
        item: &'static str,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
        /// The number that came.
        got: u64,
    },
    /// A key stands in a map twice (RFC 8949 §5.6: such a map is invalid).
    #[error("{map}: expected each key once, got {key} again")]
    DuplicateKey {
        /// The map.
        map: &'static str,
        /// The key that came again.
        key: String,
    },
    /// A key that the schema does not have.
    #[error("{map}: expected only known keys, got {key:?}")]
    UnknownKey {
        /// The map.
        map: &'static str,
        /// The key that came.
        key: String,
    },
    /// A key that the schema demands is absent.
    #[error("{map}: expected the key {key}, got a map without it")]
    MissingKey {
        /// The map.
        map: &'static str,
        /// The absent key.
        key: &'static str,
    },
    /// Another digest than SHA-384.
    #[error("digest: expected SHA384, got {got:?}")]
    Digest {
        /// The name that came.
        got: String,
    },
    /// A register number past 31.
    #[error("pcrs: {0}")]
    PcrIndex(PcrIndexError),
    /// A tag other than 18, COSE_Sign1 (RFC 9052 §2).
    #[error("COSE tag: expected 18 or none, got {got}")]
    Tag {
        /// The tag that came.
        got: u64,
    },
    /// The protected header is not exactly `{1: -35}`, ES384.
    #[error("COSE algorithm: expected ES384 (-35) alone in the protected header, got {}", Got(.got))]
    Algorithm {
        /// The algorithm that came, where the header could be read; none if it holds no integer
        /// algorithm or something besides.
        got: Option<i64>,
    },
    /// Something stands in the unprotected header, where nobody signed it.
    #[error("COSE unprotected header: expected an empty map, got {got} entries")]
    UnprotectedHeader {
        /// Entries declared; `usize::MAX` for a map of indefinite length.
        got: usize,
    },
    /// The envelope is not in preferred serialization (RFC 8949 §4.1), so that one document could
    /// be written in many ways.
    #[error("COSE envelope: expected the shortest encoding of every length, got a longer one")]
    Encoding,
    /// A message that names no NSM request, response or error code.
    #[error("{item}: expected a known name, got {got:?}")]
    UnknownName {
        /// What was to be named.
        item: &'static str,
        /// The name that came.
        got: String,
    },
}

impl DocumentError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "input.size",
            Self::Truncated { .. } => "cbor.truncated",
            Self::Syntax { .. } => "cbor.syntax",
            Self::TrailingBytes { .. } => "cbor.trailing-bytes",
            Self::WrongType { .. } => "cbor.type",
            Self::NotUtf8 { .. } => "cbor.utf8",
            Self::Length { .. } => "field.length",
            Self::OutOfRange { .. } => "field.range",
            Self::DuplicateKey { .. } => "map.duplicate-key",
            Self::UnknownKey { .. } => "map.unknown-key",
            Self::MissingKey { .. } => "map.missing-key",
            Self::Digest { .. } => "document.digest",
            Self::PcrIndex(_) => "document.pcr-index",
            Self::Tag { .. } => "cose.tag",
            Self::Algorithm { .. } => "cose.algorithm",
            Self::UnprotectedHeader { .. } => "cose.unprotected-header",
            Self::Encoding => "cose.encoding",
            Self::UnknownName { .. } => "nsm.unknown-name",
        }
    }
}

/// Shows what stood in place of the algorithm.
struct Got<'a>(&'a Option<i64>);

impl std::fmt::Display for Got<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(algorithm) => write!(f, "{algorithm}"),
            None => f.write_str("another header"),
        }
    }
}
