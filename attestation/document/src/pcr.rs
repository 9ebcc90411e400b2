//! Platform configuration registers: index and value.

use std::fmt;
use std::str::FromStr;

use crate::limits::{PCR_BYTES, PCR_COUNT};

/// The number of a register: 0..=31.
///
/// 0–15 are the platform's and locked at boot; 16–31 belong to the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PcrIndex(u8);

impl PcrIndex {
    /// Everything that boots: kernel, command line, all ramdisks.
    pub const PCR0: Self = Self(0);
    /// Kernel, command line and the first ramdisk.
    pub const PCR1: Self = Self(1);
    /// The application's ramdisks.
    pub const PCR2: Self = Self(2);
    /// The role of the parent instance.
    pub const PCR3: Self = Self(3);
    /// The parent instance's id.
    pub const PCR4: Self = Self(4);
    /// The certificate that signed the image.
    pub const PCR8: Self = Self(8);

    /// The register `index`; fails from 32 on.
    pub const fn new(index: u8) -> Result<Self, PcrIndexError> {
        if index < PCR_COUNT {
            Ok(Self(index))
        } else {
            Err(PcrIndexError { got: index as u64 })
        }
    }

    /// The number itself, 0..=31.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// All 32 indices in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PCR_COUNT).map(Self)
    }
}

impl TryFrom<u64> for PcrIndex {
    type Error = PcrIndexError;

    fn try_from(index: u64) -> Result<Self, PcrIndexError> {
        u8::try_from(index)
            .ok()
            .and_then(|small| Self::new(small).ok())
            .ok_or(PcrIndexError { got: index })
    }
}

impl From<PcrIndex> for usize {
    fn from(index: PcrIndex) -> Self {
        usize::from(index.0)
    }
}

impl fmt::Display for PcrIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A register number that does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PCR index: expected 0 to 31, got {got}")]
pub struct PcrIndexError {
    /// The number that came.
    pub got: u64,
}

impl PcrIndexError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        "pcr.index"
    }
}

/// The value of a register: 48 bytes, a SHA-384 digest. Shown as 96 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pcr(pub [u8; PCR_BYTES]);

impl Pcr {
    /// A register that nothing was measured into.
    pub const ZERO: Self = Self([0; PCR_BYTES]);

    /// Whether all 48 bytes are zero: nothing was measured, or the enclave runs in debug mode.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    /// The 48 bytes.
    pub const fn as_bytes(&self) -> &[u8; PCR_BYTES] {
        &self.0
    }
}

impl From<[u8; PCR_BYTES]> for Pcr {
    fn from(bytes: [u8; PCR_BYTES]) -> Self {
        Self(bytes)
    }
}

impl FromStr for Pcr {
    type Err = ParsePcrError;

    /// Reads exactly 96 hex digits of either case.
    fn from_str(text: &str) -> Result<Self, ParsePcrError> {
        let mut bytes = [0; PCR_BYTES];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(hex::FromHexError::InvalidHexCharacter { index, .. }) => {
                Err(ParsePcrError::NotHex { position: index })
            }
            Err(_) => Err(ParsePcrError::Length { got: text.len() }),
        }
    }
}

impl fmt::Display for Pcr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pcr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pcr({self})")
    }
}

/// Text that is not a register's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePcrError {
    /// Too short or too long.
    #[error("PCR value: expected 96 hex digits, got {got} bytes of text")]
    Length {
        /// Bytes of the text that came.
        got: usize,
    },
    /// A character outside 0–9, a–f, A–F.
    #[error("PCR value: expected 96 hex digits, got another character at position {position}")]
    NotHex {
        /// Byte position of the first wrong character.
        position: usize,
    },
}

impl ParsePcrError {
    /// The stable name of the rule that was broken.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Length { .. } => "pcr.length",
            Self::NotHex { .. } => "pcr.hex",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_past_31_is_refused() {
        assert_eq!(PcrIndex::new(32), Err(PcrIndexError { got: 32 }));
        assert_eq!(PcrIndex::try_from(256), Err(PcrIndexError { got: 256 }));
        assert_eq!(
            PcrIndex::try_from(u64::MAX),
            Err(PcrIndexError { got: u64::MAX })
        );
        assert_eq!(PcrIndex::new(31).map(PcrIndex::value), Ok(31));
    }

    #[test]
    fn a_value_that_is_not_96_hex_digits_is_refused() {
        assert_eq!("".parse::<Pcr>(), Err(ParsePcrError::Length { got: 0 }));
        assert_eq!(
            "0".repeat(95).parse::<Pcr>(),
            Err(ParsePcrError::Length { got: 95 })
        );
        assert_eq!(
            "0".repeat(98).parse::<Pcr>(),
            Err(ParsePcrError::Length { got: 98 })
        );
        let spoiled = format!("{}g{}", "0".repeat(40), "0".repeat(55));
        assert_eq!(
            spoiled.parse::<Pcr>(),
            Err(ParsePcrError::NotHex { position: 40 })
        );
    }

    #[test]
    fn a_value_survives_text_in_either_case() {
        let pcr = Pcr([0xAB; PCR_BYTES]);
        assert_eq!(pcr.to_string(), "ab".repeat(48));
        assert_eq!(pcr.to_string().parse(), Ok(pcr));
        assert_eq!("AB".repeat(48).parse(), Ok(pcr));
        assert!(!pcr.is_zero() && Pcr::ZERO.is_zero());
    }
}
