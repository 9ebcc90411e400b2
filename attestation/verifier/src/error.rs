//! Why a document is not believed.

use std::fmt;
use std::time::Duration;

use anchorhold_document::{DocumentError, Pcr, PcrIndex};

use crate::roots::RootSha256;
use crate::time::Timestamp;

/// A refusal: which rule, what was expected, what came.
///
/// All are the document's fault. [`VerifyError::rule`] gives each a stable name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bytes are no document.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The bundle begins with a root that the caller does not trust.
    #[error("root: expected one of the trusted roots ({}), got {got}", List(.trusted))]
    UntrustedRoot {
        /// The roots that are trusted.
        trusted: Vec<RootSha256>,
        /// SHA-256 of `cabundle[0]`.
        got: RootSha256,
    },
    /// A certificate that is not DER of X.509 version 3 (RFC 5280 §4.1), or says a thing twice.
    #[error("{position}: expected a DER certificate of X.509 version 3, got {got}")]
    Malformed {
        /// Which certificate.
        position: ChainPosition,
        /// What is wrong with it.
        got: &'static str,
    },
    /// A key of another kind than P-384 in uncompressed form (RFC 5480 §2).
    #[error("{position}: expected an uncompressed P-384 key, got another")]
    KeyAlgorithm {
        /// Which certificate.
        position: ChainPosition,
    },
    /// A certificate signed with another algorithm.
    #[error(
        "{position}: expected a signature by ecdsa-with-SHA384 (1.2.840.10045.4.3.3), got {got}"
    )]
    SignatureAlgorithm {
        /// Which certificate.
        position: ChainPosition,
        /// The object identifier that came.
        got: String,
    },
    /// The time to verify at lies before the certificate begins.
    #[error("{position}: expected a time from {not_before} on, got {at}")]
    NotYetValid {
        /// Which certificate.
        position: ChainPosition,
        /// Its beginning.
        not_before: Timestamp,
        /// The time that the caller passed.
        at: Timestamp,
    },
    /// The time to verify at lies after the certificate ends.
    #[error("{position}: expected a time up to {not_after}, got {at}")]
    Expired {
        /// Which certificate.
        position: ChainPosition,
        /// Its end.
        not_after: Timestamp,
        /// The time that the caller passed.
        at: Timestamp,
    },
    /// The certificate is not issued by the one that stands before it.
    #[error("{position}: expected issuer {expected:?}, the subject before it, got {got:?}")]
    Order {
        /// Which certificate.
        position: ChainPosition,
        /// Subject of the certificate before it.
        expected: String,
        /// Issuer that it names.
        got: String,
    },
    /// Two certificates with one subject, among which a path could be searched for instead of
    /// being followed.
    #[error("{position}: expected a subject that no certificate before it has, got {got:?} again")]
    SameName {
        /// Which certificate.
        position: ChainPosition,
        /// The subject.
        got: String,
    },
    /// An issuing certificate that is no CA, or a leaf that is one (RFC 5280 §4.2.1.9).
    #[error("{position}: expected basic constraints with CA:{expected}, got {got}")]
    BasicConstraints {
        /// Which certificate.
        position: ChainPosition,
        /// TRUE for an issuer, FALSE for the leaf.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// More issuers follow than the path length constraint allows (RFC 5280 §4.2.1.9).
    #[error("{position}: expected at most {allowed} issuing certificates below it, got {got}")]
    PathLength {
        /// Which certificate.
        position: ChainPosition,
        /// Its constraint.
        allowed: u32,
        /// Issuers between it and the leaf.
        got: usize,
    },
    /// The key may not be used for what it was used for (RFC 5280 §4.2.1.3).
    #[error("{position}: expected key usage {expected}, got {got}")]
    KeyUsage {
        /// Which certificate.
        position: ChainPosition,
        /// `keyCertSign` or `digitalSignature`.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// Path validation (RFC 5280 §6) failed: a certificate's signature, a name constraint, an
    /// unknown critical extension.
    #[error("chain: expected a valid path from the root to the leaf, got another")]
    Path(#[source] webpki::Error),
    /// The path that validates is not the bundle as it stands.
    #[error("chain: expected a path through all {expected} certificates of cabundle, got another")]
    PathDiffers {
        /// Certificates in the bundle.
        expected: usize,
    },
    /// Signature bytes that are all zero, as emulated devices write them that sign nothing.
    #[error("signature: expected an ES384 signature, got zero bytes")]
    ZeroSignature,
    /// The signature is not the leaf's over this payload.
    #[error("signature: expected one by the leaf certificate's key over this payload, got another")]
    Signature,
    /// The document is older than the policy allows.
    #[error(
        "freshness: expected an age of at most {}, got {} (signed {signed}, now {now})",
        Seconds(.max_age), Seconds(.age)
    )]
    TooOld {
        /// When the document was signed.
        signed: Timestamp,
        /// The policy's present.
        now: Timestamp,
        /// The policy's limit.
        max_age: Duration,
        /// The document's age.
        age: Duration,
    },
    /// The document is further in the future than the policy allows.
    #[error(
        "freshness: expected at most {} in the future, got {} (signed {signed}, now {now})",
        Seconds(.max_future), Seconds(.ahead)
    )]
    Future {
        /// When the document was signed.
        signed: Timestamp,
        /// The policy's present.
        now: Timestamp,
        /// The policy's limit.
        max_future: Duration,
        /// How far ahead it is.
        ahead: Duration,
    },
    /// The enclave runs in debug mode.
    #[error(
        "debug: expected a measured enclave, got one in debug mode (PCR0, PCR1 and PCR2 are zero)"
    )]
    Debug,
    /// A register has another value.
    #[error("PCR{index}: expected {expected}, got {got}")]
    PcrMismatch {
        /// Which register.
        index: PcrIndex,
        /// The policy's value.
        expected: Pcr,
        /// The document's value.
        got: Pcr,
    },
    /// A register is not in the document, since it is not locked.
    #[error("PCR{index}: expected {expected}, got a document without it")]
    PcrMissing {
        /// Which register.
        index: PcrIndex,
        /// The policy's value.
        expected: Pcr,
    },
    /// `nonce`, `user_data` or `public_key` is another than demanded.
    #[error("{field}: expected {}, got {}", Hex(Some(.expected)), Hex(.got.as_deref()))]
    FieldMismatch {
        /// The rule's name.
        rule: &'static str,
        /// The field.
        field: &'static str,
        /// The policy's value.
        expected: Vec<u8>,
        /// The document's value.
        got: Option<Vec<u8>>,
    },
}

impl VerifyError {
    /// The stable name of the rule that was broken. For bytes that are no document it is the
    /// codec's own ([`DocumentError::rule`]).
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Document(error) => error.rule(),
            Self::UntrustedRoot { .. } => "root.untrusted",
            Self::Malformed { .. } => "chain.certificate",
            Self::KeyAlgorithm { .. } => "chain.key-algorithm",
            Self::SignatureAlgorithm { .. } => "chain.signature-algorithm",
            Self::NotYetValid { .. } => "chain.not-yet-valid",
            Self::Expired { .. } => "chain.expired",
            Self::Order { .. } => "chain.order",
            Self::SameName { .. } => "chain.same-name",
            Self::BasicConstraints { .. } => "chain.basic-constraints",
            Self::PathLength { .. } => "chain.path-length",
            Self::KeyUsage { .. } => "chain.key-usage",
            Self::Path(_) => "chain.path",
            Self::PathDiffers { .. } => "chain.path-differs",
            Self::ZeroSignature => "document.signature-zero",
            Self::Signature => "document.signature",
            Self::TooOld { .. } => "freshness.too-old",
            Self::Future { .. } => "freshness.future",
            Self::Debug => "debug.refused",
            Self::PcrMismatch { .. } => "pcr.mismatch",
            Self::PcrMissing { .. } => "pcr.missing",
            Self::FieldMismatch { rule, .. } => rule,
        }
    }
}

/// A certificate's place in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainPosition {
    /// `cabundle[0]`.
    Root,
    /// `cabundle[n]`, n from 1 on.
    Intermediate(usize),
    /// `certificate`.
    Leaf,
}

impl fmt::Display for ChainPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("cabundle[0], the root"),
            Self::Intermediate(index) => write!(f, "cabundle[{index}]"),
            Self::Leaf => f.write_str("certificate, the leaf"),
        }
    }
}

/// Shows a duration in seconds, with milliseconds if there are any.
struct Seconds<'a>(&'a Duration);

impl fmt::Display for Seconds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            millis => write!(f, "{}.{millis:03} s", self.0.as_secs()),
        }
    }
}

/// Shows a list, or that it is empty.
struct List<'a>(&'a [RootSha256]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_first() {
            None => f.write_str("none"),
            Some((first, rest)) => {
                write!(f, "{first}")?;
                rest.iter().try_for_each(|root| write!(f, ", {root}"))
            }
        }
    }
}

/// Shows a field's bytes in hex, or that there are none; long ones by length and beginning.
struct Hex<'a>(Option<&'a [u8]>);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 64;
        match self.0 {
            None => f.write_str("none"),
            Some([]) => f.write_str("an empty one"),
            Some(bytes) => match bytes.get(..SHOWN) {
                Some(start) if bytes.len() > SHOWN => {
                    write!(f, "{}… ({} bytes)", hex::encode(start), bytes.len())
                }
                _ => f.write_str(&hex::encode(bytes)),
            },
        }
    }
}
