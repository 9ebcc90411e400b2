//! The signer's private key: PKCS#8 (RFC 5958) or SEC1 (RFC 5915), in PEM (RFC 7468).

use p384::ecdsa::signature::Signer;
use p384::pkcs8::der::Decode;
use p384::pkcs8::{PrivateKeyInfoRef, SecretDocument};

use crate::certificate::Certificate;
use crate::curve::Curve;
use crate::error::SignError;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

/// An ECDSA key on one of the three curves. It is wiped when it is dropped, and has no `Debug`.
pub(crate) enum PrivateKey {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl PrivateKey {
    /// Takes the one private key of a PEM text; parameters and certificates beside it do not
    /// matter.
    pub fn from_pem(text: &[u8]) -> Result<Self, SignError> {
        let text = std::str::from_utf8(text).map_err(|_| form("it is not text"))?;
        let (label, block) = the_private_key(text)?;
        // A passphrase is asked for in a label of PKCS#8 (RFC 5958) or a header of OpenSSL's own
        // format (RFC 1421).
        if label == "ENCRYPTED PRIVATE KEY" || block.contains("Proc-Type:") {
            return Err(SignError::KeyEncrypted);
        }
        let read = match label {
            "PRIVATE KEY" => from_pkcs8,
            "EC PRIVATE KEY" => from_sec1,
            other => return Err(SignError::KeyType { got: other.into() }),
        };
        let (_, der) = SecretDocument::from_pem(block).map_err(|error| form(&error.to_string()))?;
        read(der.as_bytes())
    }

    pub fn curve(&self) -> Curve {
        match self {
            Self::P256(_) => Curve::P256,
            Self::P384(_) => Curve::P384,
            Self::P521(_) => Curve::P521,
        }
    }

    /// Demands that the certificate is this key's.
    pub fn check_certificate(&self, certificate: &Certificate<'_>) -> Result<(), SignError> {
        let expected = Curve::of_key(&certificate.key_type())
            .ok_or_else(|| SignError::CertificateKey {
                got: certificate.key_type(),
            })?
            .name();
        let got = self.curve().name();
        let key = certificate.public_key();
        let is_same = match self {
            Self::P256(own) => p256::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .is_ok_and(|key| key == *own.verifying_key()),
            Self::P384(own) => p384::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .is_ok_and(|key| key == *own.verifying_key()),
            Self::P521(own) => p521::ecdsa::VerifyingKey::from_sec1_bytes(key)
                .is_ok_and(|key| key == *own.verifying_key()),
        };
        match got == expected && is_same {
            true => Ok(()),
            false => Err(SignError::KeyMismatch { expected, got }),
        }
    }

    /// The signature as raw r‖s. It is deterministic (RFC 6979): the same message gives the same.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
        }
    }
}

fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, SignError> {
    let refuse = |error: &dyn std::fmt::Display| form(&error.to_string());
    let key = PrivateKeyInfoRef::from_der(der).map_err(|error| refuse(&error))?;
    let algorithm = key.algorithm.oid.to_string();
    if algorithm != EC_PUBLIC_KEY {
        return Err(SignError::KeyType { got: algorithm });
    }
    let curve = key.algorithm.parameters_oid();
    let curve = curve.map_err(|_| form("its curve is not one with a name"))?;
    let curve = curve.to_string();
    match Curve::of_key(&curve) {
        Some(Curve::P256) => p256::SecretKey::try_from(key).map(|key| PrivateKey::P256(key.into())),
        Some(Curve::P384) => p384::SecretKey::try_from(key).map(|key| PrivateKey::P384(key.into())),
        Some(Curve::P521) => p521::SecretKey::try_from(key).map(|key| PrivateKey::P521(key.into())),
        None => return Err(SignError::KeyType { got: curve }),
    }
    .map_err(|error| refuse(&error))
}

/// The curve may stand in the key or not, so each is tried. A shorter key could be taken for one
/// of a larger curve, hence the order.
fn from_sec1(der: &[u8]) -> Result<PrivateKey, SignError> {
    let p256 = p256::SecretKey::from_sec1_der(der).map(|key| PrivateKey::P256(key.into()));
    p256.or_else(|_| p384::SecretKey::from_sec1_der(der).map(|key| PrivateKey::P384(key.into())))
        .or_else(|_| p521::SecretKey::from_sec1_der(der).map(|key| PrivateKey::P521(key.into())))
        .map_err(|_| form("it is not an EC key on P-256, P-384 or P-521"))
}

/// Label and text of the only block whose label ends with `PRIVATE KEY`.
fn the_private_key(text: &str) -> Result<(&str, &str), SignError> {
    let mut found = None;
    let mut rest = text;
    while let Some((_, from_label)) = rest.split_once(BEGIN) {
        let block = rest.get(rest.len() - from_label.len() - BEGIN.len()..);
        let block = block.unwrap_or_default();
        let (label, _) = from_label
            .split_once(DASHES)
            .ok_or_else(|| form("a block has no end"))?;
        let end = format!("{DASHES}END {label}{DASHES}");
        let (_, after) = from_label
            .split_once(&end)
            .ok_or_else(|| form("a block has no end"))?;
        let block = block.get(..block.len() - after.len()).unwrap_or_default();
        if label.ends_with("PRIVATE KEY") && found.replace((label, block)).is_some() {
            return Err(form("it holds several private keys"));
        }
        rest = after;
    }
    found.ok_or_else(|| form("it holds no block of a private key"))
}

fn form(reason: &str) -> SignError {
    SignError::KeyForm {
        reason: reason.into(),
    }
}
