//! Join values: how they are compared, and the tags that stand for them.

use hmac::{Hmac, KeyInit, Mac};
use rand_core::TryCryptoRng;
use sha2::Sha256;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// The longest join value in bytes.
pub const MAX_VALUE: usize = 4096;
const DOMAIN: &[u8] = b"anchorhold.joint.key/1\0";

/// Stands for a join value within one run.
///
/// 128 bits of HMAC-SHA-256 under a key of the run. The chance that any two of n values share a
/// tag is below n² / 2^129: for 3 × 10^6 values 1.4 × 10^-26. The key is secret and of this run
/// only, so nobody can choose values that collide, or learn a value from a tag of another run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub(crate) u128);

/// The key of a run, with HMAC's first block done once. Neither `Debug` nor `Display`.
pub struct TagKey(Hmac<Sha256>);

const RUN: &[u8] = b"anchorhold.joint.run/1\0";

impl TagKey {
    /// A fresh key. It is the same for all parties of a run, and for nothing else.
    ///
    /// # Errors
    /// Those of the random source.
    pub fn generate<R: TryCryptoRng>(rng: &mut R) -> Result<Self, R::Error> {
        let mut key = Zeroizing::new([0_u8; 32]);
        rng.try_fill_bytes(key.as_mut_slice())?;
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(key.as_slice()) else {
            unreachable!("HMAC takes a key of any length (RFC 2104)");
        };
        Ok(Self(mac))
    }

    /// Names the run: tables with different names cannot be joined.
    pub(crate) fn run(&self) -> Tag {
        self.mac(RUN, b"")
    }

    /// The tag of a normalised value.
    pub fn tag(&self, normalised: &str) -> Tag {
        self.mac(DOMAIN, normalised.as_bytes())
    }

    fn mac(&self, domain: &[u8], message: &[u8]) -> Tag {
        let mut mac = self.0.clone();
        mac.update(domain);
        mac.update(message);
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let [high, ..] = bytes.as_chunks::<16>().0 else {
            unreachable!("32 bytes hold 16");
        };
        Tag(u128::from_be_bytes(*high))
    }
}

/// Why a join value cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not UTF-8.
    #[error("a join value is UTF-8")]
    NotUtf8,
    /// Longer than [`MAX_VALUE`].
    #[error("a join value has at most {MAX_VALUE} bytes")]
    TooLong,
}

/// Brings a join value into the form in which it is compared: NFKC (Unicode Standard Annex 15),
/// each character in lower case by itself (so that the result does not depend on its neighbours;
/// the final sigma ς counts as σ), NFKC again, and white space at both ends removed. `ß` and `ss`
/// stay different, as do letters with and without accents. An empty result is no join value.
///
/// # Errors
/// [`KeyError`].
pub fn normalise<'a>(value: &[u8], buffer: &'a mut String) -> Result<Option<&'a str>, KeyError> {
    if value.len() > MAX_VALUE {
        return Err(KeyError::TooLong);
    }
    let text = std::str::from_utf8(value).map_err(|_| KeyError::NotUtf8)?;
    buffer.clear();
    if text.is_ascii() {
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else {
        let lower = text.nfkc().flat_map(char::to_lowercase);
        buffer.extend(lower.map(|c| if c == 'ς' { 'σ' } else { c }).nfkc());
    }
    let trimmed = buffer.trim();
    Ok((!trimmed.is_empty()).then_some(trimmed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestRng;
    use proptest::prelude::*;

    fn normal(text: &str) -> Option<String> {
        let mut buffer = String::new();
        let value = normalise(text.as_bytes(), &mut buffer);
        value.unwrap().map(str::to_owned)
    }

    #[test]
    fn what_is_no_join_value() {
        let mut buffer = String::new();
        assert_eq!(normalise(b"\xFF", &mut buffer), Err(KeyError::NotUtf8));
        let long = [b'x'; MAX_VALUE + 1];
        assert_eq!(normalise(&long, &mut buffer), Err(KeyError::TooLong));
        for empty in ["", " ", "\t\r\n", "\u{A0}\u{2003}"] {
            assert_eq!(normal(empty), None);
        }
    }

    #[test]
    fn what_is_the_same() {
        for (a, b) in [
            (" Ann@Example.ORG\t", "ann@example.org"),
            ("\u{FF21}\u{FF22}", "ab"),
            ("É", "e\u{301}"),
            ("ΟΔΟΣ", "οδος"),
            ("\u{A0}x\u{2003}", "x"),
            ("ﬁ", "fi"),
        ] {
            assert_eq!(normal(a), normal(b), "{a:?} and {b:?}");
        }
        assert_ne!(normal("ß"), normal("ss"));
        assert_ne!(normal("é"), normal("e"));
    }

    #[test]
    fn tags_are_of_one_run() {
        let one = TagKey::generate(&mut TestRng(1)).unwrap();
        let two = TagKey::generate(&mut TestRng(2)).unwrap();
        assert_eq!(one.tag("x"), one.tag("x"));
        assert_ne!(one.tag("x"), one.tag("y"));
        assert_ne!(one.tag("x"), two.tag("x"));
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = String::new();
            let _ = normalise(&bytes, &mut buffer);
        }

        #[test]
        fn once_is_enough(text in any::<String>()) {
            if let Some(once) = normal(&text) {
                prop_assert_eq!(normal(&once), Some(once));
            }
        }
    }
}
