//! Whole numbers of 384 bits, for sums of products: exact, so the order of rows cannot matter and
//! nothing cancels.
//!
//! A key's value is below 2^120 (10^9 rows of 90 bits); a product of two is below 2^240, a sum over
//! 2^32 keys below 2^272, and times the number of keys below 2^304: no operation here can overflow.

use std::ops::{AddAssign, Sub, SubAssign};

const LIMBS: usize = 6;

/// A signed number of 384 bits, two's complement, lowest limb first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wide([u64; LIMBS]);

impl Wide {
    /// `a · b`.
    pub fn product(a: i128, b: i128) -> Self {
        let split = |n: u128| [n as u64, (n >> 64) as u64];
        let mut limbs = [0_u64; LIMBS];
        for (i, x) in split(a.unsigned_abs()).into_iter().enumerate() {
            let mut carry = 0_u128;
            for (limb, y) in limbs.iter_mut().skip(i).zip(split(b.unsigned_abs())) {
                // At most (2^64 - 1)^2 + 2 (2^64 - 1) = 2^128 - 1.
                let sum = u128::from(x) * u128::from(y) + u128::from(*limb) + carry;
                *limb = sum as u64;
                carry = sum >> 64;
            }
            if let Some(limb) = limbs.get_mut(i + 2) {
                *limb = carry as u64;
            }
        }
        let magnitude = Self(limbs);
        if (a < 0) != (b < 0) {
            magnitude.negated()
        } else {
            magnitude
        }
    }

    /// `self · n`.
    pub fn times(self, n: u64) -> Self {
        let negative = self.is_negative();
        let mut limbs = self.magnitude().0;
        let mut carry = 0_u128;
        for limb in &mut limbs {
            let sum = u128::from(*limb) * u128::from(n) + carry;
            *limb = sum as u64;
            carry = sum >> 64;
        }
        let magnitude = Self(limbs);
        if negative {
            magnitude.negated()
        } else {
            magnitude
        }
    }

    /// The nearest `f64`, to within 2 units in its last place.
    pub fn to_f64(self) -> f64 {
        let magnitude = self.magnitude().0;
        let two_64 = 18_446_744_073_709_551_616.0_f64;
        let from_top = magnitude.iter().rev();
        let value = from_top.fold(0.0, |sum: f64, limb| sum.mul_add(two_64, *limb as f64));
        if self.is_negative() { -value } else { value }
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0.last().is_some_and(|top| top >> 63 == 1)
    }

    fn plus(mut self, other: Self) -> Self {
        let mut carry = false;
        for (limb, more) in self.0.iter_mut().zip(other.0) {
            let (sum, one) = limb.overflowing_add(more);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            *limb = sum;
            carry = one || two;
        }
        self
    }

    fn magnitude(self) -> Self {
        if self.is_negative() {
            self.negated()
        } else {
            self
        }
    }

    fn negated(self) -> Self {
        let mut carry = true;
        Self(self.0.map(|limb| {
            let (limb, over) = (!limb).overflowing_add(u64::from(carry));
            carry = over;
            limb
        }))
    }
}

impl AddAssign for Wide {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

impl SubAssign for Wide {
    fn sub_assign(&mut self, other: Self) {
        // Two's complement.
        *self = self.plus(other.negated());
    }
}

impl Sub for Wide {
    type Output = Self;

    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::{BigInt, Sign};
    use proptest::prelude::*;

    fn big(n: Wide) -> BigInt {
        let bytes: Vec<u8> = n
            .magnitude()
            .0
            .iter()
            .flat_map(|l| l.to_le_bytes())
            .collect();
        let sign = if n.is_negative() {
            Sign::Minus
        } else {
            Sign::Plus
        };
        BigInt::from_bytes_le(sign, &bytes)
    }

    proptest! {
        #[test]
        fn as_big_integers(pairs in proptest::collection::vec(any::<(i128, i128)>(), 1..20),
                           times in any::<u32>())
        {
            let (mut sum, mut expected) = (Wide::default(), BigInt::ZERO);
            for (a, b) in &pairs {
                sum += Wide::product(*a, *b);
                expected += BigInt::from(*a) * BigInt::from(*b);
            }
            let (a, b) = pairs[0];
            let difference = sum.times(u64::from(times)) - Wide::product(b, a);
            let expected = expected * BigInt::from(times) - BigInt::from(a) * BigInt::from(b);
            prop_assert_eq!(big(difference), expected);
        }

        #[test]
        fn as_floats(a in any::<i64>(), b in any::<i64>()) {
            let exact = (i128::from(a) * i128::from(b)) as f64;
            let got = Wide::product(a.into(), b.into()).to_f64();
            prop_assert!((got - exact).abs() <= exact.abs() * 2.0 * f64::EPSILON);
        }
    }
}
