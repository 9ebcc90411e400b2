//! Exact decimals: no amount passes through a float.

use std::fmt;
use std::ops::Neg;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most digits before the point.
pub const INTEGER_DIGITS: usize = 15;
/// The most digits behind the point.
pub const FRACTION_DIGITS: usize = 12;
/// One, in units.
pub const ONE: i128 = 1_000_000_000_000;

/// A decimal of at most 15 digits before and 12 behind the point, in units of 10^-12: its
/// magnitude is below 10^27 units, so 10^9 of them sum to less than 10^36, and 1.7 × 10^11 to less
/// than the largest `i128`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal(i128);

/// A sum of decimals, in units of 10^-12. Shown as decimals are, with as many digits as it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sum(pub i128);

/// Why a text is no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DecimalError {
    /// Nothing there.
    #[error("a decimal has at least one digit")]
    Empty,
    /// Something other than a sign, digits and one point between digits.
    #[error("a decimal is written as -12.5: sign, digits, point, digits")]
    Syntax,
    /// More than [`INTEGER_DIGITS`].
    #[error("a decimal has at most {INTEGER_DIGITS} digits before the point")]
    IntegerDigits,
    /// More than [`FRACTION_DIGITS`].
    #[error("a decimal has at most {FRACTION_DIGITS} digits behind the point")]
    FractionDigits,
}

impl DecimalError {
    /// The rule that refused.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Empty => "decimal.empty",
            Self::Syntax => "decimal.syntax",
            Self::IntegerDigits => "decimal.integer-digits",
            Self::FractionDigits => "decimal.fraction-digits",
        }
    }
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self(0);
    /// 0.01.
    pub const HUNDREDTH: Self = Self(ONE / 100);

    /// Reads `-12.50`: an optional sign, 1 to 15 digits as they are written, and behind a point 1
    /// to 12 more. No exponent, no thousands separator, no `.5`. Blanks around it do not count.
    ///
    /// # Errors
    /// [`DecimalError`].
    pub fn parse(text: &[u8]) -> Result<Self, DecimalError> {
        let text = text.trim_ascii();
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            Some((b'+', rest)) => (false, rest),
            Some(_) => (false, text),
            None => return Err(DecimalError::Empty),
        };
        let point = digits.iter().position(|b| *b == b'.');
        let (integer, fraction) = match point {
            Some(at) => digits.split_at(at),
            None => (digits, [].as_slice()),
        };
        let fraction = fraction.get(1..).unwrap_or_default();
        let all_digits = integer.iter().chain(fraction).all(u8::is_ascii_digit);
        if !all_digits || integer.is_empty() || (point.is_some() && fraction.is_empty()) {
            return Err(DecimalError::Syntax);
        }
        if integer.len() > INTEGER_DIGITS {
            return Err(DecimalError::IntegerDigits);
        }
        if fraction.len() > FRACTION_DIGITS {
            return Err(DecimalError::FractionDigits);
        }
        // At most 15 + 12 digits: both parts are below 10^15.
        let number = |digits: &[u8]| {
            let digits = digits.iter().map(|b| u64::from(b.wrapping_sub(b'0')));
            digits.fold(0_u64, |n, d| n.wrapping_mul(10).wrapping_add(d))
        };
        let missing = u32::try_from(FRACTION_DIGITS.saturating_sub(fraction.len())).unwrap_or(0);
        let fraction = i128::from(number(fraction)) * 10_i128.pow(missing);
        let units = i128::from(number(integer)) * ONE + fraction;
        Ok(Self(if negative { -units } else { units }))
    }

    /// A whole number.
    pub(crate) const fn from_integer(n: i64) -> Self {
        Self(n as i128 * ONE)
    }

    /// In units of 10^-12.
    pub const fn units(self) -> i128 {
        self.0
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_units(self.0, f)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_units(self.0, f)
    }
}

/// All digits, none of them a trailing zero behind the point; zero is `0`.
fn write_units(units: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let magnitude = units.unsigned_abs();
    let one = ONE.unsigned_abs();
    let mut text = format!("{}.{:012}", magnitude / one, magnitude % one);
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    f.pad_integral(units >= 0, "", &text)
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Sum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_decimal() {
        let rule = |text: &str| Decimal::parse(text.as_bytes()).unwrap_err().rule();
        for empty in ["", "  "] {
            assert_eq!(rule(empty), "decimal.empty");
        }
        for bad in [
            "-", "+", ".", ".5", "5.", "1e3", "1,5", "1 000", "--1", "0x1", "NaN", "1.2.3", "٣",
        ] {
            assert_eq!(rule(bad), "decimal.syntax", "{bad}");
        }
        assert_eq!(rule("1000000000000000"), "decimal.integer-digits");
        assert_eq!(rule("0.0000000000001"), "decimal.fraction-digits");
    }

    #[test]
    fn one_spelling_out() {
        let shown = |text: &str| Decimal::parse(text.as_bytes()).unwrap().to_string();
        for (text, out) in [
            ("0", "0"),
            ("-0.000", "0"),
            ("+1.50", "1.5"),
            ("100", "100"),
            (" -007.100 ", "-7.1"),
            ("0.000000000001", "0.000000000001"),
            (
                "-999999999999999.999999999999",
                "-999999999999999.999999999999",
            ),
        ] {
            assert_eq!(shown(text), out);
        }
        assert_eq!(Sum(i128::MIN).to_string().len(), 1 + 27 + 1 + 12);
    }

    #[test]
    fn a_thousand_million_of_the_largest_fit() {
        let largest = Decimal::parse(b"999999999999999.999999999999").unwrap();
        let sum = largest.units().checked_mul(1_000_000_000).unwrap();
        assert_eq!(Sum(sum).to_string(), "999999999999999999999999.999");
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(decimal) = Decimal::parse(&bytes) {
                prop_assert_eq!(Decimal::parse(decimal.to_string().as_bytes()), Ok(decimal));
            }
        }

        #[test]
        fn sums_are_those_of_big_integers(
            numbers in proptest::collection::vec("-?[0-9]{1,15}(\\.[0-9]{1,12})?", 0..50))
        {
            let mut sum = 0_i128;
            let mut big = BigInt::ZERO;
            for text in &numbers {
                sum += Decimal::parse(text.as_bytes()).unwrap().units();
                let (int, frac) = text.split_once('.').unwrap_or((text, ""));
                big += format!("{int}{frac:0<12}").parse::<BigInt>().unwrap();
            }
            prop_assert_eq!(BigInt::from(sum), big);
        }
    }
}
