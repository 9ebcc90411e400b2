//! Secret access keys and the keys derived from them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::TERMINATOR;

/// A secret access key: 40 characters of the base64 alphabet, zeroized on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretAccessKey(String);

impl SecretAccessKey {
    /// Length in characters, as AWS's.
    pub const LENGTH: usize = 40;

    /// Takes the text of a secret access key.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. For storage under the root key, and for showing it once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `HMAC(HMAC(HMAC(HMAC("AWS4" + secret, day), region), service), "aws4_request")`.
    pub(super) fn signing_key(&self, scope: [&str; 3]) -> Zeroizing<[u8; 32]> {
        let start = Zeroizing::new(format!("AWS4{}", self.0));
        let [day, region, service] = scope;
        let mut key = Zeroizing::new(hmac_sha256(start.as_bytes(), day.as_bytes()));
        for part in [region, service, TERMINATOR] {
            key = Zeroizing::new(hmac_sha256(key.as_slice(), part.as_bytes()));
        }
        key
    }
}

/// HMAC-SHA-256 (RFC 2104).
pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // RFC 2104 takes keys of any length, so `new_from_slice` has no error to give.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        unreachable!("HMAC takes keys of every length")
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}
