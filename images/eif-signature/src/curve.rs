//! The three signature algorithms and their curves (RFC 9053 section 2.1).

use coset::{Algorithm, iana};
use p384::ecdsa::signature::Verifier;

use crate::certificate::Certificate;
use crate::error::SignatureError;

/// Each algorithm here hashes with the curve's own hash: ES256 on P-256, ES384 on P-384, ES512 on
/// P-521.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub fn of_algorithm(algorithm: Option<&Algorithm>) -> Result<Self, SignatureError> {
        match algorithm {
            Some(Algorithm::Assigned(iana::Algorithm::ES256)) => Ok(Self::P256),
            Some(Algorithm::Assigned(iana::Algorithm::ES384)) => Ok(Self::P384),
            Some(Algorithm::Assigned(iana::Algorithm::ES512)) => Ok(Self::P521),
            other => Err(SignatureError::Algorithm {
                got: other.map_or_else(|| "absent".into(), |other| format!("{other:?}")),
            }),
        }
    }

    /// The curve with this identifier.
    pub fn of_key(oid: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521]
            .into_iter()
            .find(|curve| curve.oid() == oid)
    }

    /// The algorithm that signs with keys on this curve.
    pub fn algorithm(self) -> iana::Algorithm {
        match self {
            Self::P256 => iana::Algorithm::ES256,
            Self::P384 => iana::Algorithm::ES384,
            Self::P521 => iana::Algorithm::ES512,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// RFC 5480 section 2.1.1.1.
    fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }

    /// Demands that the certificate's key is on this curve.
    pub fn check_key(self, certificate: &Certificate<'_>) -> Result<(), SignatureError> {
        let got = certificate.key_type();
        if got == self.oid() {
            Ok(())
        } else {
            let expected = self.name();
            Err(SignatureError::Key { expected, got })
        }
    }

    /// Whether `signature`, raw r‖s, is the key's over `message`. The key is an uncompressed
    /// point.
    pub fn verifies(self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(key).is_ok_and(|key| {
                p256::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }),
            Self::P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(key).is_ok_and(|key| {
                p384::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }),
            Self::P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(key).is_ok_and(|key| {
                p521::ecdsa::Signature::from_slice(signature)
                    .is_ok_and(|signature| key.verify(message, &signature).is_ok())
            }),
        }
    }
}
