//! ES384 (ECDSA with P-384 and SHA-384, FIPS 186-5) behind one trait.
//!
//! Two libraries implement it. The aws-lc-rs one is about five times as fast and the default; the
//! p384 one shares no code with it. One vector suite runs over both.

use std::fmt;

use anchorhold_document::limits::SIGNATURE_BYTES;
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};

/// Bytes of an uncompressed P-384 point: 0x04 and two coordinates of 48 (SEC 1 §2.3.3).
pub const PUBLIC_KEY_BYTES: usize = 97;

/// Checks ES384 signatures.
///
/// Neither method establishes whose the key is, or that the message means anything.
pub trait Es384: fmt::Debug + Send + Sync {
    /// Checks `signature` (r ‖ s, raw) over `message` with an uncompressed P-384 point.
    fn verify(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), InvalidSignature>;

    /// Checks `signature` in the DER form that certificates carry (RFC 5480 Appendix A).
    fn verify_der(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature>;
}

/// Key, message and signature do not belong together, or one of them is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ECDSA equation does not hold")]
pub struct InvalidSignature;

impl InvalidSignature {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        "signature.invalid"
    }
}

/// ES384 by aws-lc-rs.
#[derive(Clone, Copy, Debug, Default)]
pub struct AwsLc;

impl Es384 for AwsLc {
    fn verify(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), InvalidSignature> {
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, uncompressed(public_key)?)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }

    fn verify_der(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, uncompressed(public_key)?)
            .verify(message, signature)
            .map_err(|_| InvalidSignature)
    }
}

/// ES384 by the p384 crate.
#[derive(Clone, Copy, Debug, Default)]
pub struct RustCrypto;

impl Es384 for RustCrypto {
    fn verify(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), InvalidSignature> {
        let signature =
            p384::ecdsa::Signature::from_slice(signature).map_err(|_| InvalidSignature)?;
        verify_with_p384(public_key, message, &signature)
    }

    fn verify_der(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let signature =
            p384::ecdsa::Signature::from_der(signature).map_err(|_| InvalidSignature)?;
        verify_with_p384(public_key, message, &signature)
    }
}

fn verify_with_p384(
    public_key: &[u8],
    message: &[u8],
    signature: &p384::ecdsa::Signature,
) -> Result<(), InvalidSignature> {
    use p384::ecdsa::signature::Verifier;
    p384::ecdsa::VerifyingKey::from_sec1_bytes(uncompressed(public_key)?)
        .and_then(|key| key.verify(message, signature))
        .map_err(|_| InvalidSignature)
}

/// Compressed and hybrid points are refused, whatever a library would make of them.
fn uncompressed(public_key: &[u8]) -> Result<&[u8], InvalidSignature> {
    match public_key {
        [0x04, ..] if public_key.len() == PUBLIC_KEY_BYTES => Ok(public_key),
        _ => Err(InvalidSignature),
    }
}

/// Lets webpki check certificate signatures with an [`Es384`]: P-384 keys and ecdsa-with-SHA384,
/// and nothing else.
#[derive(Debug)]
pub(crate) struct ForWebpki<'a>(pub(crate) &'a dyn Es384);

impl SignatureVerificationAlgorithm for ForWebpki<'_> {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), rustls_pki_types::InvalidSignature> {
        self.0
            .verify_der(public_key, message, signature)
            .map_err(|InvalidSignature| rustls_pki_types::InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P384
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA384
    }
}
