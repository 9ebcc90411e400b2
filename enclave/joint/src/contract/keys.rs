//! The public keys that a contract holds.

use aws_lc_rs::rsa::{OaepPublicEncryptingKey, PublicEncryptingKey};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// SubjectPublicKeyInfo of an uncompressed P-384 point (RFC 5480, section 2), up to its
/// coordinates: the one encoding that is taken, so that a key has one spelling.
const P384_SPKI: [u8; 24] = [
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x05, 0x2B,
    0x81, 0x04, 0x00, 0x22, 0x03, 0x62, 0x00, 0x04,
];
const P384_SPKI_LEN: usize = P384_SPKI.len() + 96;

/// A key that approvals verify under.
#[derive(Debug)]
pub struct ApprovalKey(ParsedPublicKey);

impl ApprovalKey {
    /// Reads base64 of a SubjectPublicKeyInfo in DER; `None` where it is no point of P-384.
    pub fn from_base64(text: &str) -> Option<Self> {
        let der = STANDARD.decode(text).ok()?;
        if der.len() != P384_SPKI_LEN || !der.starts_with(&P384_SPKI) {
            return None;
        }
        let point = der.get(P384_SPKI.len().checked_sub(1)?..)?;
        let key = ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point).ok()?;
        Some(Self(key))
    }

    /// Whether a signature (r ‖ s, 96 bytes) is this key's over a message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

/// Reads base64 of an RSA SubjectPublicKeyInfo in DER, 2048 to 8192 bits, as a key to seal an
/// answer to; `None` where it is none.
pub fn answer_key(text: &str) -> Option<OaepPublicEncryptingKey> {
    let der = STANDARD.decode(text).ok()?;
    OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(&der).ok()?).ok()
}
