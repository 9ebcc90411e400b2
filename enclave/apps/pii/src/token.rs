//! Keyed tokens: the same value gives the same token under the same key, and nothing else tells.

use std::io::{self, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::column::ColumnType;

/// The length of a token key in bytes.
pub const KEY_LEN: usize = 32;
/// 128 bits of HMAC output: a collision among 2^40 values has a chance below 2^-48.
const TOKEN_LEN: usize = 16;
const DOMAIN: &[u8] = b"anchorhold.pii.token/1\0";

/// The second attested key. Zeroized when dropped; neither `Debug` nor `Display`.
pub struct TokenKey(Zeroizing<[u8; KEY_LEN]>);

/// Takes a token key while it is opened: what it keeps never moves in memory, and is zeroized when
/// dropped.
pub struct TokenKeySink {
    bytes: Zeroizing<Vec<u8>>,
    length: usize,
}

impl Default for TokenKeySink {
    fn default() -> Self {
        Self {
            bytes: Zeroizing::new(Vec::with_capacity(KEY_LEN)),
            length: 0,
        }
    }
}

impl TokenKeySink {
    /// The key.
    ///
    /// # Errors
    /// How many bytes came, where that is not [`KEY_LEN`].
    pub fn into_key(self) -> Result<TokenKey, usize> {
        let whole = self.length == self.bytes.len();
        let key = TokenKey::new(&self.bytes).filter(|_| whole);
        key.ok_or(self.length)
    }
}

impl Write for TokenKeySink {
    /// Keeps no more than a key has, and counts the rest.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = KEY_LEN.saturating_sub(self.bytes.len()).min(bytes.len());
        let kept = bytes.get(..room).unwrap_or_default();
        self.bytes.extend_from_slice(kept);
        self.length = self.length.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TokenKey {
    /// A key of exactly [`KEY_LEN`] bytes; `None` for another length.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    /// The token of a normalised value: HMAC-SHA-256 (RFC 2104) over domain, type and value, cut
    /// to 128 bits, in hex behind `tok_`. The column's name is no part of it, so that tokens join
    /// across data sets.
    pub fn token(&self, column: ColumnType, value: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.as_slice()) else {
            unreachable!("HMAC takes a key of any length (RFC 2104)");
        };
        mac.update(DOMAIN);
        mac.update(tag(column));
        mac.update(value.as_bytes());
        let tag = mac.finalize().into_bytes();
        format!("tok_{}", hex::encode(tag.get(..TOKEN_LEN).unwrap_or(&tag)))
    }
}

/// Ends with a zero byte, which no tag holds, so that type and value cannot run together.
fn tag(column: ColumnType) -> &'static [u8] {
    match column {
        ColumnType::Name => b"name\0",
        ColumnType::Email => b"email\0",
        ColumnType::Phone => b"phone\0",
        ColumnType::Ssn => b"ssn\0",
        ColumnType::Card => b"card\0",
        ColumnType::DateOfBirth => b"date-of-birth\0",
        ColumnType::Postcode => b"postcode\0",
        ColumnType::Identifier | ColumnType::PassThrough | ColumnType::Withheld => b"identifier\0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_length() {
        assert!(TokenKey::new(&[0; 31]).is_none());
        assert!(TokenKey::new(&[0; 33]).is_none());
        assert!(TokenKey::new(&[0; 32]).is_some());
    }

    #[test]
    fn a_sink_takes_a_whole_key_in_pieces_and_nothing_else() {
        for length in [0, 31, 33, 64, 100] {
            let mut sink = TokenKeySink::default();
            let at = sink.bytes.as_ptr();
            sink.write_all(&vec![7; length]).unwrap();
            assert_eq!(sink.bytes.as_ptr(), at, "what was kept has not moved");
            assert_eq!(sink.into_key().err(), Some(length));
        }
        let mut sink = TokenKeySink::default();
        sink.write_all(&[7; 16]).unwrap();
        sink.write_all(&[7; 16]).unwrap();
        let token = |key: TokenKey| key.token(ColumnType::Email, "a@b.example");
        let whole = TokenKey::new(&[7; 32]).unwrap();
        assert_eq!(token(sink.into_key().ok().unwrap()), token(whole));
    }

    #[test]
    fn hashes_forget_their_key_when_dropped() {
        fn zeroized<T: zeroize::ZeroizeOnDrop>() {}
        // An HMAC's key lives in the states of its two hashes. Without the `zeroize` features this
        // does not compile.
        zeroized::<Sha256>();
    }

    #[test]
    fn known_answer() {
        // printf 'anchorhold.pii.token/1\0email\0a@b.example' |
        //   openssl dgst -sha256 -mac hmac -macopt hexkey:$(printf '07%.0s' $(seq 32))
        let token = TokenKey::new(&[7; 32])
            .unwrap()
            .token(ColumnType::Email, "a@b.example");
        assert_eq!(token, "tok_c3a7a5f41c46bab002313e022db142d3");
    }

    #[test]
    fn another_key_another_token() {
        let one = TokenKey::new(&[1; 32])
            .unwrap()
            .token(ColumnType::Email, "a@b.example");
        let two = TokenKey::new(&[2; 32])
            .unwrap()
            .token(ColumnType::Email, "a@b.example");
        assert_ne!(one, two);
    }
}
