//! Why a `Recipient` is refused.

use anchorhold_verifier::{PcrIndex, VerifyError};

use crate::error::Exception;
use crate::recipient::EnvelopeError;

/// Why an attestation document yields no claims.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RecipientError {
    /// No document, or one beyond the API model's limit.
    #[error("the document has {got} bytes; expected 1 to {max}")]
    Length {
        /// Its length in bytes.
        got: usize,
        /// The longest that is taken.
        max: usize,
    },
    /// The verifier refused it.
    #[error("the document does not verify")]
    Document(#[from] VerifyError),
    /// It does not say what was booted.
    #[error("the document has no {}", pcr(.index))]
    NotMeasured {
        /// The register that is missing.
        index: PcrIndex,
    },
    /// It says that nothing was measured.
    #[error("{} is zero, as in debug mode; expected the measurement of an image", pcr(.index))]
    ZeroMeasurement {
        /// The register that is zero.
        index: PcrIndex,
    },
    /// It names no key to encrypt to.
    #[error("the document carries no public_key; put the enclave's RSA key into its NSM request")]
    NoPublicKey,
    /// Its key cannot be encrypted to.
    #[error("the document's public_key cannot be used")]
    PublicKey(#[source] EnvelopeError),
    /// A nonce is required and the document has none.
    #[error(
        "the document carries no nonce, and this KMS requires one; ask GetAttestationNonce for it"
    )]
    NoNonce,
}

impl RecipientError {
    /// A stable name of the rule that refused; the verifier's own where it refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Length { .. } => "recipient.document-length",
            Self::Document(error) => error.rule(),
            Self::NotMeasured { .. } => "recipient.not-measured",
            Self::ZeroMeasurement { .. } => "recipient.zero-measurement",
            Self::NoPublicKey => "recipient.no-public-key",
            Self::PublicKey(error) => error.rule(),
            Self::NoNonce => "recipient.no-nonce",
        }
    }

    /// The exception on the wire: `ValidationException` for what is no document at all,
    /// `AccessDeniedException` for one that is not believed.
    pub fn exception(&self) -> Exception {
        match self {
            Self::Length { .. } | Self::Document(VerifyError::Document(_)) => Exception::Validation,
            _ => Exception::AccessDenied,
        }
    }
}

fn pcr(index: &PcrIndex) -> String {
    format!("PCR{index}")
}
