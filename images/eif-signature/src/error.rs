//! Why a signature does not hold, or cannot be made.

use thiserror::Error;

/// A refusal: which check failed, what was expected and what came.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The signature section's values are not in the form they must have.
    #[error("the signature's {what} cannot be read: {reason}")]
    Form {
        /// Which part.
        what: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// The COSE header names no algorithm that AWS's tools sign with.
    #[error("the signature's algorithm is {got}, expected -7 (ES256), -35 (ES384) or -36 (ES512)")]
    Algorithm {
        /// What it names.
        got: String,
    },
    /// The certificate's key is of another curve than the algorithm needs.
    #[error("the certificate's key is {got}, but the algorithm needs {expected}")]
    Key {
        /// The curve that the algorithm needs.
        expected: &'static str,
        /// The certificate's key.
        got: String,
    },
    /// The certificate is not valid at the time of the check.
    #[error("the signing certificate is valid from {not_before} until {not_after}, but it is {at}")]
    Validity {
        /// First moment, RFC 3339.
        not_before: String,
        /// Last moment, RFC 3339.
        not_after: String,
        /// The time of the check, RFC 3339.
        at: String,
    },
    /// The signature is over another register than PCR0.
    #[error("the signature is over register {got}, expected 0")]
    Register {
        /// The register's index.
        got: String,
    },
    /// The signature is over another image's PCR0.
    #[error("the signature is over PCR0 {got}, but the image's is {expected}")]
    Pcr0 {
        /// The image's PCR0.
        expected: String,
        /// The signed one.
        got: String,
    },
    /// The certificate's key did not sign this.
    #[error("the signature was not made by the certificate's key")]
    Forged,
}

impl SignatureError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Form { .. } => "signature.form",
            Self::Algorithm { .. } => "signature.algorithm",
            Self::Key { .. } => "signature.key",
            Self::Validity { .. } => "signature.validity",
            Self::Register { .. } => "signature.register",
            Self::Pcr0 { .. } => "signature.pcr0",
            Self::Forged => "signature.forged",
        }
    }
}

/// Why an image was not signed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignError {
    /// The certificate is not exactly one PEM block of a certificate.
    #[error(transparent)]
    CertificateBlock(#[from] anchorhold_eif::SignatureError),
    /// The certificate cannot be read or is not valid at this time.
    #[error(transparent)]
    Certificate(#[from] SignatureError),
    /// The certificate's key is of a type that images are not signed with.
    #[error("the signing certificate's key is {got}, expected one on P-256, P-384 or P-521")]
    CertificateKey {
        /// The type, as an object identifier.
        got: String,
    },
    /// The private key cannot be read.
    #[error("the private key cannot be read: {reason}")]
    KeyForm {
        /// Why not; says nothing of the key.
        reason: String,
    },
    /// The private key needs a passphrase.
    #[error(
        "the private key is encrypted, expected one without a passphrase: `openssl pkey -in KEY` \
         takes it off"
    )]
    KeyEncrypted,
    /// The private key is of a type that images are not signed with.
    #[error("the private key is {got}, expected one on P-256, P-384 or P-521")]
    KeyType {
        /// The PEM block's label, or the type as an object identifier.
        got: String,
    },
    /// The private key is not the certificate's.
    #[error(
        "the private key, on {got}, is not the one of the signing certificate, which is on \
         {expected}"
    )]
    KeyMismatch {
        /// The curve of the certificate's key.
        expected: &'static str,
        /// The private key's curve.
        got: &'static str,
    },
    /// The image has a signature, and nobody asked to replace it.
    #[error("the image is signed already")]
    AlreadySigned,
}

impl SignError {
    /// A stable name of the rule that refused.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::CertificateBlock(error) => error.rule(),
            Self::Certificate(error) => error.rule(),
            Self::CertificateKey { .. } => "sign.certificate-key",
            Self::KeyForm { .. } => "sign.key-form",
            Self::KeyEncrypted => "sign.key-encrypted",
            Self::KeyType { .. } => "sign.key-type",
            Self::KeyMismatch { .. } => "sign.key-mismatch",
            Self::AlreadySigned => "sign.already-signed",
        }
    }
}
